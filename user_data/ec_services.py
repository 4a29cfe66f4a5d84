"""What settings name beside the database, and this machine does not have: caches, places for logs, storages elsewhere."""

import os
import re
import socket
import sys

from ec_notes import note

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
ON_DISK = "django.core.files.storage.FileSystemStorage"
ELSEWHERE = re.compile("(storages|django_s3_storage|cloudinary_storage|minio_storage|google|azure|s3)[._]", re.I)
# One of these, as a setting or as a variable, is how a storage elsewhere is opened.
KEYS = (
    "AWS_ACCESS_KEY_ID AWS_S3_ACCESS_KEY_ID AWS_SESSION_PROFILE AWS_S3_SESSION_PROFILE AWS_PROFILE GS_CREDENTIALS "
    "GOOGLE_APPLICATION_CREDENTIALS AZURE_ACCOUNT_KEY AZURE_CONNECTION_STRING AZURE_SAS_TOKEN CLOUDINARY_URL "
    "CLOUDINARY_STORAGE MINIO_STORAGE_ACCESS_KEY DROPBOX_OAUTH2_TOKEN DROPBOX_OAUTH2_REFRESH_TOKEN SFTP_STORAGE_HOST "
    "FTP_STORAGE_LOCATION"
).split()


def as_list(value):
    """A setting that is to be a list: a single text or path is one entry of it."""
    if value is None:
        return []
    return [value] if isinstance(value, (str, os.PathLike)) else list(value)


def _answers(location, port):
    """Whether something answers where a cache is said to be; what is elsewhere is not asked."""
    if location.startswith(("unix:", "/")):
        return os.path.exists(re.sub(r"^unix:(//)?|\?.*", "", location))
    place = re.split(r"[/?]", re.sub(r"^[a-z+]+://([^@/]*@)?", "", location))[0]
    host, _, given = place.partition(":")
    if host not in ("localhost", "127.0.0.1", "") and not host.startswith("["):
        # A name without a dot is that of a container beside the project's.
        return "." in host
    try:
        socket.create_connection(("127.0.0.1", int(given) if given.isdigit() else port), 1).close()
        return True
    except OSError:
        return False


def caches(own):
    """Caches; one that nothing answers for is kept in files, which all processes of the project share."""
    found = {}
    for alias, cache in (own or {}).items():
        backend = str(cache.get("BACKEND", ""))
        found[alias] = cache
        speaks = re.search("redis|valkey|memcached", backend, re.I)
        if not speaks:
            continue
        port = 6379 if re.search("redis|valkey", speaks.group(), re.I) else 11211
        places = cache.get("LOCATION") or "localhost"
        places = [place for entry in as_list(places) for place in re.split("[;,]", str(entry))]
        if any(_answers(place.strip(), port) for place in places):
            continue
        kept = {name: cache[name] for name in ("TIMEOUT", "KEY_PREFIX", "VERSION", "KEY_FUNCTION") if name in cache}
        found[alias] = dict(
            kept, BACKEND="django.core.cache.backends.filebased.FileBasedCache", OPTIONS={"MAX_ENTRIES": 10000},
            LOCATION=os.path.join(os.environ.get("HOME", "/tmp"), "cache", re.sub(r"\W", "_", str(alias))),
        )
        note("warning", "Nothing answers for the cache %s (%s) on this machine: it is kept in files." % (alias, backend))
    return found


def _shows_errors(own, handlers):
    """Whether an error of a page comes to a stream, by the handlers of those whom Django tells."""
    loggers = own.get("loggers") or {}
    told = [loggers.get("django.request"), loggers.get("django"), own.get("root"), loggers.get("")]
    named = [handlers.get(name) for entry in told if entry for name in entry.get("handlers") or ()]
    return any("StreamHandler" in str(entry.get("class")) and not entry.get("filters") for entry in named if entry)


def logging(own, configured=""):
    """The project's logging; a file that cannot be written gives way to what gunicorn logs, where the reason of an error
    page is always told: by Django's default it goes to the project's admins alone."""
    if not isinstance(own, dict) or configured is None or own.get("incremental"):
        return own
    handlers = dict(own.get("handlers") or {})
    for name, handler in handlers.items():
        file = handler.get("filename") if isinstance(handler, dict) else None
        if not file:
            continue
        try:
            os.makedirs(os.path.dirname(os.path.abspath(str(file))), exist_ok=True)
            open(str(file), "a").close()
        except OSError as error:
            kept = {key: handler[key] for key in ("level", "formatter", "filters") if key in handler}
            handlers[name] = dict(kept, **{"class": "logging.StreamHandler"})
            note("warning", "The log handler %s cannot write to %s (%s): it writes to the project's log."
                 % (name, file, error.strerror))
    if _shows_errors(own, handlers):
        return dict(own, handlers=handlers)
    handlers["ec_errors"] = {"class": "logging.StreamHandler", "level": "ERROR"}
    loggers = dict(own.get("loggers") or {})
    request = dict(loggers.get("django.request") or {"level": "ERROR"})
    request["handlers"] = [*(request.get("handlers") or []), "ec_errors"]
    return dict(own, handlers=handlers, loggers=dict(loggers, **{"django.request": request}))


def _has_keys(own, options):
    given = any(own.get(name) or os.environ.get(name) for name in KEYS)
    return given or any(re.search("key|credentials|token|profile|host", str(name)) for name in options or {})


class Storages:
    """The storages of static files and of media.

    `settings` is what replaces the project's settings; `static` and `media` say whether these files are elsewhere,
    `own_static` whether static files have another storage than Django's plain one.
    """

    def __init__(self, own, version):
        self._own, self._version = own, version
        self._new = version >= (4, 2) and isinstance(own.get("STORAGES"), dict)
        self.settings, self.own_static = {}, False
        if self._new:
            # One that is not named is Django's own, as it is where no storage is named.
            self.settings["STORAGES"] = dict({"default": {"BACKEND": ON_DISK}, "staticfiles": {"BACKEND": PLAIN}},
                                             **own["STORAGES"])
        self.media = self._choose("default", "DEFAULT_FILE_STORAGE", "MEDIA_URL", ON_DISK)
        self.static = self._choose("staticfiles", "STATICFILES_STORAGE", "STATIC_URL", PLAIN)

    def _named(self, alias, old):
        if self._new:
            entry = self.settings["STORAGES"].get(alias) or {}
            return str(entry.get("BACKEND") or ""), entry.get("OPTIONS")
        return (str(self._own.get(old) or "") if self._version < (5, 1) else ""), None

    def _set(self, alias, old, backend, **more):
        if self._new:
            self.settings["STORAGES"][alias] = dict(more, BACKEND=backend)
        else:
            self.settings[old] = backend

    def _choose(self, alias, old, url, plain):
        backend, options = self._named(alias, old)
        if backend in ("", plain):
            return False
        away = not backend.startswith(("django.", "whitenoise.")) and (
            ELSEWHERE.match(backend) or re.match(r"([a-z]+:)?//", str(self._own.get(url) or "")))
        if alias == "staticfiles" and os.environ.get("EC_STATIC") == "plain":
            self._set(alias, old, plain)
            return False
        if away and not _has_keys(self._own, options):
            self._set(alias, old, plain)
            note("warning", "%s keeps %s elsewhere, and no key for that is given: they are kept on this machine."
                 % (backend, "static files" if alias == "staticfiles" else "media files"))
            return False
        if alias == "staticfiles":
            self.own_static = True
            self.settings["EC_STATIC_STORAGE"] = backend
            self._set(alias, old, "ec_storage.Storage", **({"OPTIONS": options} if options else {}))
        return bool(away)


def forget_bound(aliases):
    """Settings that call django.setup() have bound connections, caches and storages to what was there then."""
    for module, name in (
        ("django.db", "connections"), ("django.core.cache", "caches"), ("django.core.files.storage", "storages"),
    ):
        handler = getattr(sys.modules.get(module), name, None)
        if handler is None:
            continue
        for cached in ("settings", "databases", "backends"):
            handler.__dict__.pop(cached, None)
        handler._settings = handler._databases = handler._backends = None
        if hasattr(handler, "_storages"):
            handler._storages = {}
        bound = getattr(handler, "_connections", None) or getattr(handler, "_caches", None)
        if bound is not None:
            for alias in ("default", "caches", *aliases):
                if hasattr(bound, alias):
                    delattr(bound, alias)
    for module, name in (("django.core.files.storage", "default_storage"),
                         ("django.contrib.staticfiles.storage", "staticfiles_storage")):
        lazy = getattr(sys.modules.get(module), name, None)
        if lazy is not None:
            from django.utils.functional import empty

            lazy._wrapped = empty
