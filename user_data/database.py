"""The project's databases, beside its releases: `database.py prepare|restore RELEASE`.

prepare copies them before migrate, and takes the SQLite files that the repository brings; restore puts back those whose schema or list of migrations has changed since, and
only those: what visitors wrote to the others in the meantime stays. A line that it prints may begin with `warning`.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from glob import glob

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import servers  # noqa: E402

SHARED = "/srv/app/shared"
MOST = 1 << 30  # Bytes of a server's database that are copied before migrate.
RESTORING = "/before/restoring"  # Is there while databases are being put back.


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
            try:
                copy(source, kept)
            except sqlite3.DatabaseError:
                os.remove(kept)
                print("warning The repository's %s is no SQLite database, perhaps only Git LFS's word for one: the project "
                      "starts with an empty one." % os.path.basename(source))
                continue
            print("Took %s of the repository as the first database." % os.path.basename(source))
    media = SHARED + "/media"
    own = facts["OWN_MEDIA"]
    if not os.path.isdir(media):
        if own and os.path.isdir(own):
            shutil.copytree(own, media, symlinks=True)
            print("Took the repository's media as the first.")
        else:
            os.mkdir(media)


def save_served(release, facts):
    """Copies what the machine's servers hold for the project, as far as that is not much."""
    for kind, name in servers.named(facts.get("SERVERS", "")):
        server = servers.server(kind)
        target = "%s/before/%s-%s" % (release, kind, name)
        size = server.size(name)
        if size > MOST or shutil.disk_usage(release).free < 2 * size:
            print("warning The database %s has %d MB and was not copied before migrate: after a failure it stays as "
                  "migrate left it." % (name, size >> 20))
            continue
        try:
            server.save(name, target + ".new")
        except (OSError, subprocess.SubprocessError) as error:
            sys.exit("The database %s could not be copied before migrate: %s" % (name, error))
        with open(target + ".shape", "w") as file:
            file.write(server.shape(name))
        os.rename(target + ".new", target)


def save(release, facts):
    for path in glob(SHARED + "/*.sqlite3"):
        copy(path, os.path.join(release, "before", os.path.basename(path)))
    save_served(release, facts)
    open(release + "/before/saved", "w").close()


def restore_served(release, facts):
    for kind, name in servers.named(facts.get("SERVERS", "")):
        saved = "%s/before/%s-%s" % (release, kind, name)
        if not os.path.exists(saved):
            continue
        server = servers.server(kind)
        with open(saved + ".shape") as file:
            before = file.read()
        # One that was cut off while it was put back has neither shape.
        if os.path.exists(release + RESTORING) or server.shape(name) != before:
            open(release + RESTORING, "w").close()
            server.load(name, saved)
            print("Put the database %s back as it was before migrate." % name)
    if os.path.exists(release + RESTORING):
        os.remove(release + RESTORING)


def restore(release, facts):
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
    restore_served(release, facts)


def main(command, release):
    os.umask(0o077)
    try:
        with open(release + "/before/facts") as file:
            facts = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    except FileNotFoundError:
        facts = {}
    if command == "prepare":
        save(release, facts)
        os.umask(0o022)
        seed(facts)
    else:
        restore(release, facts)


if __name__ == "__main__":
    main(*sys.argv[1:])
