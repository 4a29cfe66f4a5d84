"""SQLite files of the project, beside its releases: `database.py prepare|restore RELEASE`.

prepare copies them before migrate, and takes those that the repository brings; restore puts back those whose schema or list of migrations has changed since, and
only those: what visitors wrote to the others in the meantime stays.
"""

import os
import shutil
import sqlite3
import sys
from glob import glob

SHARED = "/srv/app/shared"


def copy(source, target):
    """Copies a database that may be in use into one that may be."""
    with sqlite3.connect(source, timeout=30) as old, sqlite3.connect(target, timeout=30) as new:
        old.backup(new)
    old.close()
    new.close()


def shape(path):
    """What migrate changes: the schema and the list of migrations."""
    db = sqlite3.connect(path, timeout=30)
    try:
        rows = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        if any(name == "django_migrations" for _, name, _ in rows):
            rows += db.execute("SELECT app, name FROM django_migrations ORDER BY app, name").fetchall()
        return rows
    finally:
        db.close()


def seed(facts):
    """Takes databases and media that the repository brings, where there are none yet."""
    pair = facts["SQLITE"].split("\t")
    for source, kept in zip(pair[::2], pair[1::2]):
        if not os.path.exists(kept) and os.path.isfile(source) and os.path.getsize(source):
            copy(source, kept)
            print("Took %s of the repository as the first database." % os.path.basename(source))
    media = SHARED + "/media"
    own = facts["OWN_MEDIA"]
    if not os.path.isdir(media):
        if own and os.path.isdir(own):
            shutil.copytree(own, media, symlinks=True)
            print("Took the repository's media as the first.")
        else:
            os.mkdir(media)


def save(release):
    for path in glob(SHARED + "/*.sqlite3"):
        copy(path, os.path.join(release, "before", os.path.basename(path)))
    open(release + "/before/saved", "w").close()


def restore(release):
    if not os.path.exists(release + "/before/saved"):
        return
    for path in glob(SHARED + "/*.sqlite3"):
        saved = os.path.join(release, "before", os.path.basename(path))
        if not os.path.exists(saved):
            for extra in ("", "-journal", "-wal", "-shm"):
                if os.path.exists(path + extra):
                    os.remove(path + extra)
        elif shape(saved) != shape(path):
            copy(saved, path)
            print("Put the database back as it was before migrate.")


command, release = sys.argv[1:]
if command == "prepare":
    save(release)
    with open(release + "/before/facts") as file:
        seed(dict(line.rstrip("\n").split("=", 1) for line in file))
else:
    restore(release)
