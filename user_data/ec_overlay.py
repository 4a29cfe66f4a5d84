"""Settings of a release: the project's own, and what hosting needs added to them.

Values come in the environment: EC_SETTINGS, EC_RELEASE, EC_DEBUG (`keep` where the project's URLs go away without
DEBUG), EC_UNMIGRATED (labels of apps without migrations), and what ec_databases.py and ec_services.py ask for.
"""

import importlib
import os
import re
import sys

import django

import ec_databases
import ec_services
from ec_notes import note
from ec_services import as_list

_release = os.environ["EC_RELEASE"]


def _load():
    """The project's settings. While they load, they are the settings: some ask for them at once."""
    os.environ["DJANGO_SETTINGS_MODULE"] = os.environ["EC_SETTINGS"]
    before = set(sys.modules)
    for _ in range(3):
        try:
            return importlib.import_module(os.environ["EC_SETTINGS"])
        except FileNotFoundError as error:
            # Some readers of a .env insist that there is one; its variables are in the environment.
            missing = os.path.abspath(str(error.filename or ""))
            ours = missing.startswith(_release + "/repo/") and os.path.isdir(os.path.dirname(missing))
            if not ours or not re.search(r"(^|/)\.env[\w.]*$", missing) or os.path.lexists(missing):
                raise
            open(missing, "w").close()
            # What was read of the settings is read anew: lists would be added to twice.
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(_release + "/repo/"):
                    del sys.modules[name]
            note("repaired", "The settings insist on a file %s: an empty one was made." % missing[len(_release) + 6:])
    return importlib.import_module(os.environ["EC_SETTINGS"])


# Some projects import from the repository's root as well. Scripts that lie there are often called as Python's own modules
# are, and come last.
if _release + "/repo" not in sys.path:
    sys.path.append(_release + "/repo")
_project = _load()
os.environ["DJANGO_SETTINGS_MODULE"] = __name__
_own = {name: getattr(_project, name) for name in dir(_project) if name.isupper()}
globals().update(_own)


def _slashes(url, fallback, elsewhere):
    """A URL that nginx can serve: one with a host is left alone where the files are there, a path gets both slashes."""
    url = str(url or "")
    if re.match(r"([a-z]+:)?//", url):
        return url if elsewhere else fallback
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


def _entries(name):
    """A list of hosts or origins, which some write as one text."""
    value = _own.get(name)
    return re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else [str(entry) for entry in as_list(value)]


def _host(entry):
    """The host of an entry that has more than that, a URL for one."""
    found = re.match(r"(?:[a-z]+://)?(\[[^]]*\]|[^/:]+)(?::\d+)?(?:/.*)?$", entry)
    return found.group(1) if found else entry


def _origin(entry):
    """An origin as Django 4 and later want it, with its scheme, of which an entry without one says nothing."""
    if "://" in entry or django.VERSION < (4, 0):
        return [entry]
    note("repaired", "CSRF_TRUSTED_ORIGINS has %s, without http:// or https://: both are meant." % entry)
    return ["http://" + entry, "https://" + entry]


# Where it is reached. What comes from a page of the same address needs no word in the second.
_hosts = [entry for entry in _entries("ALLOWED_HOSTS") if entry]
_hosts += [_host(entry) for entry in _hosts if _host(entry) not in _hosts]
ALLOWED_HOSTS = _Hosts([*_hosts, "localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [
    *(origin for entry in _entries("CSRF_TRUSTED_ORIGINS") if entry for origin in _origin(entry)),
    *(scheme + name for name in _names() for scheme in ("http://", "https://")),
]
# nginx sets this header whatever a visitor sends, and passes the visitor's Host on.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = USE_X_FORWARDED_PORT = False

# There is only http as yet: what insists on https would lock visitors out.
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = False
SECURE_HSTS_SECONDS = 0
SSLIFY_DISABLE = True
CSP_UPGRADE_INSECURE_REQUESTS = False
PREPEND_WWW = False
SESSION_COOKIE_DOMAIN = CSRF_COOKIE_DOMAIN = None
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = (
    re.sub("^__(Secure|Host)-", "", _own.get(name, default))
    for name, default in (("SESSION_COOKIE_NAME", "sessionid"), ("CSRF_COOKIE_NAME", "csrftoken"))
)
# Browsers take a cookie for every site only where it is secure.
SESSION_COOKIE_SAMESITE, CSRF_COOKIE_SAMESITE = (
    "Lax" if str(_own.get(name, "Lax")).lower() == "none" and _own.get(name) else _own.get(name, "Lax")
    for name in ("SESSION_COOKIE_SAMESITE", "CSRF_COOKIE_SAMESITE")
)
for _name in ("CONTENT_SECURITY_POLICY", "SECURE_CSP"):
    _policy = _own.get(_name)
    if isinstance(_policy, dict):
        globals()[_name] = _policy = dict(_policy)
        _policy.pop("upgrade-insecure-requests", None)
        if isinstance(_policy.get("DIRECTIVES"), dict):
            _policy["DIRECTIVES"] = dict(_policy["DIRECTIVES"])
            _policy["DIRECTIVES"].pop("upgrade-insecure-requests", None)

if os.environ.get("EC_DEBUG") != "keep":
    DEBUG = False
# What helps beside runserver shows its author's tools to every visitor, or waits for a program that is not there.
for _name in ("MIDDLEWARE", "MIDDLEWARE_CLASSES"):
    if _own.get(_name):
        globals()[_name] = [
            entry for entry in _own[_name] if not re.match("(debug_toolbar|livereload|django_browser_reload)[.]", entry)
        ]

# Without DEBUG and without a word of the project, the reason of an error page would be told to nobody.
if _own.get("LOGGING"):
    LOGGING = ec_services.logging(_own["LOGGING"], _own.get("LOGGING_CONFIG", ""))
else:
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }
if _own.get("CACHES"):
    CACHES = ec_services.caches(_own["CACHES"])
    if CACHES != _own["CACHES"]:
        # Its checks refuse caches in files, which count well enough.
        SILENCED_SYSTEM_CHECKS = [
            *as_list(_own.get("SILENCED_SYSTEM_CHECKS")), "django_ratelimit.E003", "django_ratelimit.W001"]

# A key that is in a public repository is no secret; startproject marks its own so.
if not _own.get("SECRET_KEY") or str(_own["SECRET_KEY"]).startswith("django-insecure-"):
    SECRET_KEY = os.environ["SECRET_KEY"]

# Files: gathered into the release, and kept beside it.
_storages = ec_services.Storages(_own, django.VERSION)
globals().update(_storages.settings)
STATIC_ROOT = _release + "/static"
STATIC_URL = _slashes(_own.get("STATIC_URL"), "/static/", _storages.static)
EC_LOCAL_STATIC_URL = _slashes(_own.get("STATIC_URL"), "/static/", False)
EC_PLAIN_STATIC = not _storages.own_static
STATICFILES_DIRS = [
    entry for entry in as_list(_own.get("STATICFILES_DIRS"))
    if os.path.isdir(entry[1] if isinstance(entry, (list, tuple)) else entry)
]
if "compressor" in _own.get("INSTALLED_APPS", ()):
    # Nobody has compressed beforehand: it does so when a page is asked for, into what nginx serves.
    COMPRESS_OFFLINE, COMPRESS_ROOT, COMPRESS_URL = False, STATIC_ROOT, STATIC_URL
MEDIA_ROOT = ec_databases.SHARED + "/media"
MEDIA_URL = _slashes(_own.get("MEDIA_URL"), "/media/", _storages.media)

# Some name one only where its variables are set, and have apps that cannot do without.
_kept = {"django.contrib." + app for app in ("admin", "auth", "contenttypes", "sessions")} & set(as_list(_own.get("INSTALLED_APPS")))
EC_DATABASES = ec_databases.Databases(_own.get("DATABASES") or ({"default": {}} if _kept else {}))
DATABASES = EC_DATABASES.settings
ec_databases.fit_drivers(EC_DATABASES.servers)
ec_services.forget_bound([*DATABASES, *_own.get("CACHES", ())])

# An app without migration files gets its tables by migrate --run-syncdb.
MIGRATION_MODULES = dict(_own.get("MIGRATION_MODULES") or {})
MIGRATION_MODULES.update((label, None) for label in os.environ.get("EC_UNMIGRATED", "").split(",") if label)
EC_OWN = _own
