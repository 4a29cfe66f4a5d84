"""Where a release's databases are: SQLite files beside the releases, PostgreSQL and MySQL on this machine.

Values come in the environment: EC_DATABASE (what the owner chose in place of what the settings say), EC_DATABASE_LIKELY
(what they seemed to say), EC_OWN_DATABASE (servers elsewhere that the owner's variables name, `HOST=VARIABLE` each).
"""

import os
import re
import sys
from importlib.util import find_spec

from ec_notes import note

SHARED = "/srv/app/shared"
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}
ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgresql": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
}
PORTS = {"postgresql": "5432", "mysql": "3306"}
# Options that say where a server is, who asks it, and how the way to it is kept safe: all of that is ours.
NOT_KEPT = re.compile(
    "ssl|tls|service$|passfile|host|port|user|pass|db$|dbname|database|unix_socket|read_default|target_session"
    "|channel_binding|gss|krb|auth_plugin|require_auth",
    re.I,
)
KEPT_OF_ANOTHER = ("ATOMIC_REQUESTS", "AUTOCOMMIT", "TIME_ZONE")


class Unsupported(Exception):
    """A database that this machine has no server for, in a sentence for the owner."""

    pass


def kind(engine):
    """What an engine speaks to: a name of ours, "" for nothing, None for what is not on this machine."""
    if not engine or engine.endswith("dummy"):
        return ""
    if "sqlite" in engine or "spatialite" in engine:
        return "sqlite"
    if re.search("mysql|mariadb", engine):
        return "mysql"
    if re.search("postg|psql|tenant", engine):
        return "postgresql"
    return None


def has(name):
    """Whether a module can be imported."""
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def likely():
    """The database of settings that name none without a variable."""
    found = os.environ.get("EC_DATABASE") or os.environ.get("EC_DATABASE_LIKELY")
    if found:
        return found
    if has("psycopg") or has("psycopg2"):
        return "postgresql"
    return "mysql" if has("MySQLdb") or has("pymysql") else "sqlite"


def known_engine(engine, of):
    """The engine, or Django's own where it is one that is not there any more."""
    # https://docs.djangoproject.com/en/3.0/releases/3.0/#features-removed-in-3-0
    if engine.startswith(("django.db.backends.", "mysql.connector")) and not has(engine):
        note("repaired", "The database engine %s is not in the Django that is installed: %s is used."
             % (engine, ENGINES[of]))
        return ENGINES[of]
    return engine


class Databases:
    """The settings' databases where they are on this machine.

    `settings` is what Django is told; `sqlite` leads from each file that the project names to the one that is kept;
    `kept` are the aliases that are ours to migrate; `servers` are pairs of a server and a database's name, and
    `driver` is the server whose driver is missing.
    """

    def __init__(self, own):
        self.settings, self.sqlite, self.kept, self.servers, self.said = {}, {}, [], [], []
        self.driver, self._names = "", {}
        for alias, database in own.items():
            self.settings[alias] = self._place(str(alias), dict(database or {}))

    def _place(self, alias, database):
        chosen = os.environ.get("EC_DATABASE")
        owners = dict(pair.split("=", 1) for pair in os.environ.get("EC_OWN_DATABASE", "").split())
        elsewhere = owners.get(str(database.get("HOST") or "").lower())
        engine = str(database.get("ENGINE") or "")
        found = kind(engine)
        if chosen and found != chosen and (alias == "default" or found != "sqlite"):
            self.said.append("The database %s is %s, as the owner chose, in place of %s."
                             % (alias, TITLES[chosen], engine or "none"))
            return self._another(alias, database, chosen)
        # Django itself completes what is empty, where settings ask for a connection while they load.
        if alias == "default" and (not engine or found == "" and "CONN_MAX_AGE" in database):
            note("repaired", "The settings name no database without variables that are not set: it is %s." % TITLES[likely()])
            return self._another(alias, database, likely())
        if found == "":
            return database
        if "gis" in engine or "spatialite" in engine:
            raise Unsupported('The database "%s" is GeoDjango\'s (%s), which needs GDAL and PostGIS: they are not on this '
                              "machine. Use %s without GIS fields." % (alias, engine, " or ".join(ENGINES.values())))
        if found == "sqlite":
            return self._sqlite(alias, database)
        if found:
            database["ENGINE"] = known_engine(engine, found)
            self._want_driver(found)
        if elsewhere:
            self.said.append("The owner's variable %s names a server elsewhere: the database %s stays as the settings "
                             "have it." % (elsewhere, alias))
            return database
        if found is None:
            raise Unsupported('The database "%s" has the engine %s. On this machine there are SQLite, PostgreSQL and MySQL: '
                              "name one of them, or choose one for this instance." % (alias, engine))
        return self._served(alias, database, found)

    def _another(self, alias, database, chosen):
        """A database of another kind than the settings have: of theirs there is little that it understands."""
        known_as = database.get("NAME")
        database = {name: database[name] for name in KEPT_OF_ANOTHER if name in database}
        database.update(ENGINE=ENGINES[chosen], NAME=known_as)
        if chosen == "sqlite":
            database["NAME"] = self._names.setdefault(str(known_as or alias), self._file(alias))
            self.kept.append(alias)
            return database
        self._want_driver(chosen)
        return self._served(alias, database, chosen)

    @staticmethod
    def _file(alias):
        return "%s/%s.sqlite3" % (SHARED, "db" if alias == "default" else re.sub(r"\W", "_", alias))

    def _sqlite(self, alias, database):
        """One file for each that the project names, beside the releases."""
        options = database.get("OPTIONS")
        if isinstance(options, dict):
            # django_heroku and others give every database the options of a server.
            database["OPTIONS"] = {name: options[name] for name in options if not re.match("ssl|pool", name)}
        file = str(database.get("NAME") or "db.sqlite3")
        if ":memory:" in file or "mode=memory" in file:
            return database
        file = os.path.abspath(re.sub(r"^file:|\?.*", "", file))
        self.sqlite.setdefault(file, self._file(alias))
        database["NAME"] = self.sqlite[file]
        self.kept.append(alias)
        return database

    def _served(self, alias, database, of):
        """A database of ours on this machine; what was one in the settings is one."""
        same = (of, str(database.get("NAME") or alias))
        if same not in self._names:
            name = "app" if alias == "default" else "app_" + re.sub(r"[^a-z0-9_]", "_", alias.lower())[:40]
            self._names[same] = name
            self.servers.append((of, name))
        options = dict(database.get("OPTIONS") or {})
        database["OPTIONS"] = {name: options[name] for name in options if not NOT_KEPT.match(name)}
        if of == "mysql":
            # Django before 5.2 would speak utf8mb3, which has no emoji.
            database["OPTIONS"].setdefault("charset", "utf8mb4")
        database.update(NAME=self._names[same], USER="app", PASSWORD=_password(), HOST="127.0.0.1", PORT=PORTS[of])
        self.kept.append(alias)
        return database

    def _want_driver(self, of):
        """Notes a driver that is missing. psycopg 3 is one for Django 4.2 and later."""
        import django

        if of == "postgresql" and not has("psycopg2") and not (has("psycopg") and django.VERSION >= (4, 2)):
            self.driver = "postgresql"
        if of == "mysql" and not has("MySQLdb") and not has("pymysql"):
            self.driver = "mysql"


def _password():
    try:
        with open("/etc/ec-deployer/database_password") as file:
            return file.read().strip()
    except OSError:
        return ""


def fit_drivers(servers):
    """Makes the drivers that are there fit the Django that is there."""
    import django

    kinds = {of for of, _ in servers}
    if "mysql" in kinds:
        if not has("MySQLdb") and has("pymysql"):
            import pymysql

            pymysql.install_as_MySQLdb()
        driver = sys.modules.get("MySQLdb")
        # Django asks for the version of mysqlclient, PyMySQL gives that of one of years ago.
        if driver is not None and driver is sys.modules.get("pymysql"):
            driver.version_info = max(tuple(driver.version_info), (2, 2, 8, "final", 0))
            driver.__version__ = "2.2.8"
    if "postgresql" in kinds and django.VERSION < (3, 1) and has("psycopg2"):
        from django.db.backends.postgresql import utils

        # psycopg2 2.9 gives the offset as a span of time: https://github.com/psycopg/psycopg2/issues/1293
        given = utils.utc_tzinfo_factory
        for module in (utils, sys.modules.get("django.db.backends.postgresql.base")):
            if module is not None:
                module.utc_tzinfo_factory = lambda offset: given(offset or 0)
