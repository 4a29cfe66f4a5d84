"""Settings of a release: the project's own, and what hosting needs added to them.

Values come in the environment: EC_SETTINGS, EC_RELEASE, EC_DEBUG (`keep` where the project's URLs go away without
DEBUG), EC_UNMIGRATED (labels of apps without migrations).
"""

import importlib
import os
import re
import sys

SHARED = "/srv/app/shared"
_release = os.environ["EC_RELEASE"]

# While the project's settings load, they are the settings: some ask for them at once.
os.environ["DJANGO_SETTINGS_MODULE"] = os.environ["EC_SETTINGS"]
_project = importlib.import_module(os.environ["EC_SETTINGS"])
os.environ["DJANGO_SETTINGS_MODULE"] = __name__
_own = {name: getattr(_project, name) for name in dir(_project) if name.isupper()}
globals().update(_own)

# Settings that call django.setup() have bound the connections to the databases as they were.
_db = sys.modules.get("django.db")
if _db:
    for _name in ("settings", "databases"):
        _db.connections.__dict__.pop(_name, None)
    _db.connections._settings = _db.connections._databases = None


def _slashes(url, fallback):
    """A URL that nginx can serve: one with a host is left alone, a path gets both slashes."""
    url = str(url or "")
    if re.match(r"([a-z]+:)?//", url):
        return url
    return "/%s/" % url.strip("/") if url.strip("/") else fallback


def _names():
    """Every name and address of the machine now."""
    with open("/etc/ec-deployer/hosts") as file:
        return ["[%s]" % host if ":" in host else host for host in file.read().split()]


class _Hosts(list):
    """Hosts, and the machine's names at the moment somebody asks: on EC2 it may get another address while the
    project runs, which is no reason to start it anew."""

    def __init__(self, hosts):
        super().__init__([*hosts, *_names()])
        self._hosts = hosts

    def __iter__(self):
        yield from self._hosts
        yield from _names()

    def __contains__(self, host):
        return any(host == known for known in self)


# Where it is reached. What comes from a page of the same address needs no word in the second.
ALLOWED_HOSTS = _Hosts([*_own.get("ALLOWED_HOSTS", []), "localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [
    *_own.get("CSRF_TRUSTED_ORIGINS", []),
    *(scheme + name for name in _names() for scheme in ("http://", "https://")),
]
# nginx sets this header whatever a visitor sends, and passes the visitor's Host on.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = USE_X_FORWARDED_PORT = False

# There is only http as yet: what insists on https would lock visitors out.
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = False
SECURE_HSTS_SECONDS = 0
PREPEND_WWW = False
SESSION_COOKIE_DOMAIN = CSRF_COOKIE_DOMAIN = None
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = (
    re.sub("^__(Secure|Host)-", "", _own.get(name, default))
    for name, default in (("SESSION_COOKIE_NAME", "sessionid"), ("CSRF_COOKIE_NAME", "csrftoken"))
)

if os.environ.get("EC_DEBUG") != "keep":
    DEBUG = False

# Without DEBUG and without a word of the project, the reason of an error page would be told to nobody.
if not _own.get("LOGGING"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }

# A key that is in a public repository is no secret; startproject marks its own so.
if not _own.get("SECRET_KEY") or str(_own["SECRET_KEY"]).startswith("django-insecure-"):
    SECRET_KEY = os.environ["SECRET_KEY"]

# Files: gathered into the release, and kept beside it.
STATIC_ROOT = _release + "/static"
STATIC_URL = _slashes(_own.get("STATIC_URL"), "/static/")
STATICFILES_DIRS = [
    entry for entry in _own.get("STATICFILES_DIRS", [])
    if os.path.isdir(entry[1] if isinstance(entry, (list, tuple)) else entry)
]
MEDIA_ROOT = SHARED + "/media"
MEDIA_URL = _slashes(_own.get("MEDIA_URL"), "/media/")

# SQLite files are kept beside the releases: one for each file that the project names.
DATABASES = {alias: dict(database) for alias, database in _own.get("DATABASES", {}).items()}
EC_SQLITE = {}
for _alias, _database in DATABASES.items():
    _file = str(_database.get("NAME") or "db.sqlite3")
    if not str(_database.get("ENGINE", "")).rpartition(".")[2] in ("sqlite3", "spatialite"):
        continue
    if ":memory:" in _file or "mode=memory" in _file:
        continue
    _file = os.path.abspath(re.sub(r"^file:|\?.*", "", _file))
    if _file not in EC_SQLITE:
        _kept = "db" if _alias == "default" else re.sub(r"\W", "_", _alias)
        EC_SQLITE[_file] = "%s/%s.sqlite3" % (SHARED, _kept)
    _database["NAME"] = EC_SQLITE[_file]

# An app without migration files gets its tables by migrate --run-syncdb.
MIGRATION_MODULES = dict(_own.get("MIGRATION_MODULES", {}))
MIGRATION_MODULES.update((label, None) for label in os.environ.get("EC_UNMIGRATED", "").split(",") if label)
EC_OWN = _own
