//! Tests of what a release's settings get, away from a machine and from Django.

use std::process::Command;

/// Runs a program with those of a machine at hand.
fn python(program: &str) {
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/user_data");
    let start = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1])\n";
    let ended = Command::new("python3")
        .args(["-I", "-X", "utf8", "-c", &format!("{start}{program}"), programs])
        .status()
        .expect("python3 runs");
    assert!(ended.success());
}

const VARIABLES: &str = r#"
import variables as v

kept = {"secret_key": b"key", "database_password": b"pw\n", "hosts": b"203.0.113.7\n10.0.0.7\n"}
v._read = lambda name: kept[name]
lines = "SECRET_KEY secret\nJWT_KEY secret\nSITE address\nDEBUG text False\nGREETING text two words\nEMPTY text \n"
lines += "DATABASE_URL database url\nDB_ENGINE database engine\nDB_PASSWORD database password\nDB_PORT database port\n"

def filled(given={}, **values):
    values = {"EC_VARIABLES": lines, **values}
    found = v.filled(values, given, "/nowhere")
    assert "EC_VARIABLES" not in values
    return found, values["EC_OWN_DATABASE"]

found, own = filled(EC_DATABASE_LIKELY="postgresql")
assert (found["SECRET_KEY"], found["SITE"], found["DEBUG"], found["GREETING"], found["EMPTY"]) == (
    "key", "203.0.113.7", "False", "two words", ""), found
assert found["DATABASE_URL"] == "postgres://app:pw@127.0.0.1:5432/app" and found["DB_PASSWORD"] == "pw"
assert found["DB_ENGINE"] == "django.db.backends.postgresql" and found["DB_PORT"] == "5432"
# Each secret is another, always the same, and would do as a key of Fernet's.
import base64
assert len(base64.urlsafe_b64decode(found["JWT_KEY"])) == 32
assert found["JWT_KEY"] == filled()[0]["JWT_KEY"] != filled(EC_VARIABLES="OTHER secret")[0]["OTHER"]
# What the owner gave stays; an empty value is none.
found, own = filled({"DEBUG": "1", "SECRET_KEY": "own", "DB_PORT": ""}, EC_DATABASE_LIKELY="mysql")
assert not {"DEBUG", "SECRET_KEY"} & set(found) and found["DB_PORT"] == "3306", found
# What the owner chose goes over what is likely, also where nothing demands it; else nothing is told unasked.
assert filled(EC_VARIABLES="", EC_DATABASE="sqlite", EC_DATABASE_LIKELY="mysql")[0] == {
    "SECRET_KEY": "key", "DATABASE_URL": "sqlite:////srv/app/shared/db.sqlite3"}
assert filled(EC_VARIABLES="", EC_DATABASE_LIKELY="mysql")[0] == {"SECRET_KEY": "key"}
assert filled()[0]["DATABASE_URL"].startswith("sqlite:")
assert filled({"DB_HOST": "db.example.com"})[1] == "db.example.com=DB_HOST"
assert "DB_PASSWORD" not in filled({"DB_HOST": "db.example.com"})[0]
assert filled({"DB_HOST": "db.example.com"}, EC_DATABASE="postgresql")[1] == ""

for name, value, host in [
    ("DATABASE_URL", "postgres://u:p@x@Shop.rds.amazonaws.com:5432/shop", "shop.rds.amazonaws.com"),
    ("DATABASE_URL", "postgres://u:p@db:5432/shop", None), ("DATABASE_URL", "sqlite:///a.b/c.db", None),
    ("DATABASE_URL", "mysql://127.0.0.1/shop", None), ("POSTGRES_HOST", "10.0.0.5", "10.0.0.5"),
    ("POSTGRES_HOST", "postgres", None), ("PGHOST", "/run/postgresql/.s", None), ("DB_HOST", "localhost", None),
    ("RDS_HOSTNAME", "a.b", "a.b"), ("MONGODB_HOST", "a.b", None), ("EMAIL_HOST", "smtp.example.com", None),
]:
    assert v.elsewhere({name: value}) == ({host: name} if host else {}), (name, value)
"#;

#[test]
fn what_the_settings_demand_is_filled_in_and_what_the_owner_gave_stays() {
    python(VARIABLES);
}

const DATABASES: &str = r#"
import os, types
django = types.ModuleType("django")
django.VERSION = (5, 2)
sys.modules["django"] = django
import ec_databases as d

installed = {"psycopg2", "pymysql"}
d.has = lambda name: name in installed or name in d.ENGINES.values()
d._password = lambda: "pw"

def placed(settings, **environ):
    for name in ("EC_DATABASE", "EC_DATABASE_LIKELY", "EC_OWN_DATABASE"):
        os.environ[name] = environ.get(name, "")
    return d.Databases(settings)

ours = {"NAME": "app", "USER": "app", "PASSWORD": "pw", "HOST": "127.0.0.1", "PORT": "5432"}
server = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "root", "HOST": "db", "CONN_MAX_AGE": 60,
          "OPTIONS": {"sslmode": "require", "service": "x", "connect_timeout": 3}}
found = placed({"default": server, "replica": dict(server, HOST="db2"), "logs": dict(server, NAME="logs")})
assert found.settings["default"] == dict(server, OPTIONS={"connect_timeout": 3}, **ours), found.settings
# What was one database is one; the project's own dictionaries stay as they are.
assert found.settings["replica"]["NAME"] == "app" and found.settings["logs"]["NAME"] == "app_logs"
assert found.servers == [("postgresql", "app"), ("postgresql", "app_logs")] and found.driver == ""
assert found.kept == ["default", "replica", "logs"] and server["HOST"] == "db"

mysql = {"ENGINE": "django.db.backends.mysql", "OPTIONS": {
    "init_command": "SET x", "ssl": {}, "read_default_file": "/etc/my.cnf"}}
found = placed({"default": mysql})
assert found.settings["default"]["OPTIONS"] == {"init_command": "SET x", "charset": "utf8mb4"}, found.settings
assert found.settings["default"]["PORT"] == "3306" and found.driver == ""
installed.clear()
assert placed({"default": mysql}).driver == "mysql" and placed({"default": server}).driver == "postgresql"
installed.add("psycopg")
assert placed({"default": server}).driver == ""
django.VERSION = (4, 1)
assert placed({"default": server}).driver == "postgresql"
for engine in ("django.db.backends.postgresql_psycopg2", "mysql.connector.django"):
    assert placed({"default": {"ENGINE": engine}}).settings["default"]["ENGINE"] in d.ENGINES.values()
for engine in ("django_tenants.postgresql_backend", "django_prometheus.db.backends.postgresql", "psqlextra.backend"):
    assert placed({"default": {"ENGINE": engine}}).settings["default"]["ENGINE"] == engine

# The owner's choice, and the owner's own server.
found = placed({"default": server, "other": {"ENGINE": "djongo"}}, EC_DATABASE="sqlite")
assert found.settings["default"] == {"ENGINE": d.ENGINES["sqlite"], "NAME": "/srv/app/shared/db.sqlite3"}
assert found.settings["other"]["NAME"] == "/srv/app/shared/other.sqlite3" and not found.servers and not found.driver
found = placed({"default": {"ENGINE": d.ENGINES["sqlite"], "NAME": "x", "OPTIONS": {"timeout": 3}}}, EC_DATABASE="mysql")
assert found.servers == [("mysql", "app")] and "timeout" not in found.settings["default"]["OPTIONS"]
found = placed({"default": dict(server, HOST="A.b"), "logs": server}, EC_OWN_DATABASE="a.b=DB_HOST")
assert found.settings["default"] == dict(server, HOST="A.b") and found.settings["logs"]["NAME"] == "app_logs"
assert found.kept == ["logs"] and "DB_HOST" in found.said[0]

# SQLite is kept beside the releases, a file for each.
lite = {"ENGINE": d.ENGINES["sqlite"], "NAME": "/repo/db.sqlite3", "OPTIONS": {"sslmode": "require", "timeout": 3}}
found = placed({"default": lite, "same": lite, "more": dict(lite, NAME="/repo/more.db"), "no": {}})
assert found.sqlite == {"/repo/db.sqlite3": "/srv/app/shared/db.sqlite3", "/repo/more.db": "/srv/app/shared/more.sqlite3"}
assert found.settings["same"]["NAME"] == "/srv/app/shared/db.sqlite3" and found.settings["no"] == {}
assert found.settings["default"]["OPTIONS"] == {"timeout": 3}
# Settings that name none without a variable get what they seemed to say.
assert placed({"default": {}}, EC_DATABASE_LIKELY="mysql").servers == [("mysql", "app")]
assert placed({"default": {}}).servers == [("postgresql", "app")]

for engine in ("djongo", "django.db.backends.oracle", "django.contrib.gis.db.backends.postgis"):
    try:
        placed({"default": {"ENGINE": engine}})
        raise AssertionError(engine)
    except d.Unsupported as refused:
        assert '"default"' in str(refused) and engine in str(refused), refused
"#;

/// Root reads these names from a file of the project's.
const NAMES: &str = r#"
import os, tempfile
import servers

hostile = "postgresql:app,mysql:app_x,postgresql:shop,mysql:app_../x,postgresql:app;DROP,oracle:app,mysql:app_X, mysql:app"
assert servers.named(hostile) == [("postgresql", "app"), ("mysql", "app_x")], servers.named(hostile)
with tempfile.TemporaryDirectory() as here:
    os.symlink("/etc/passwd", here + "/facts")
    try:
        servers.up(here + "/facts")
        raise AssertionError("a link is followed")
    except OSError:
        pass
"#;

#[test]
fn root_takes_only_plain_names_of_databases_and_follows_no_link() {
    python(NAMES);
}

#[test]
fn each_database_of_the_settings_is_on_the_machine_or_refused_by_its_name() {
    python(DATABASES);
}

const SERVICES: &str = r#"
import os, socket, tempfile
import ec_notes, ec_services as s

here = tempfile.TemporaryDirectory()
os.environ.update(HOME=here.name, EC_NOTES=here.name + "/notes")
redis = lambda place: {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": place, "TIMEOUT": 5}
listening = socket.create_server(("127.0.0.1", 0))
there = "redis://:pw@localhost:%d/1" % listening.getsockname()[1]
listening_no_more = socket.create_server(("127.0.0.1", 0))
gone = listening_no_more.getsockname()[1]
listening_no_more.close()
own = {"a": redis(there), "b": redis("redis://:pw@127.0.0.1:%d/1" % gone), "c": redis("redis://cache:6379"),
       "d": redis("rediss://x.cache.amazonaws.com:6379/0"), "e": redis(["unix:/nowhere.sock", there]),
       "f": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
       "g": dict(redis("127.0.0.1:%d" % gone), BACKEND="django.core.cache.backends.memcached.PyMemcacheCache")}
found = s.caches(own)
kept = {alias for alias in own if found[alias] == own[alias]}
assert kept == {"a", "d", "e", "f"}, kept
assert found["b"]["TIMEOUT"] == 5 and found["b"]["LOCATION"] == here.name + "/cache/b"
assert "pw" not in open(here.name + "/notes").read()

log = {"version": 1, "handlers": {
    "no": {"class": "logging.FileHandler", "filename": "/proc/no/x.log", "level": "INFO", "mode": "w"},
    "new": {"class": "logging.FileHandler", "filename": here.name + "/logs/x.log"}, "out": {"class": "logging.StreamHandler"}}}
found = s.logging(log)["handlers"]
assert found["no"] == {"class": "logging.StreamHandler", "level": "INFO"} and found["new"] == log["handlers"]["new"]
assert os.path.exists(here.name + "/logs/x.log") and log["handlers"]["no"]["class"] == "logging.FileHandler"

manifest = "whitenoise.storage.CompressedManifestStaticFilesStorage"
os.environ["EC_STATIC"] = ""
found = s.Storages({"STATICFILES_STORAGE": manifest}, (4, 1))
assert found.settings == {"STATICFILES_STORAGE": "ec_storage.Storage", "EC_STATIC_STORAGE": manifest} and found.own_static
assert s.Storages({"STATICFILES_STORAGE": manifest}, (5, 2)).settings == {}
found = s.Storages({"STORAGES": {"staticfiles": {"BACKEND": manifest, "OPTIONS": {"x": 1}}}}, (5, 2)).settings["STORAGES"]
assert found == {"default": {"BACKEND": s.ON_DISK}, "staticfiles": {"BACKEND": "ec_storage.Storage", "OPTIONS": {"x": 1}}}
s3 = {"STATICFILES_STORAGE": "shop.storages.Static", "STATIC_URL": "https://x.s3.amazonaws.com/",
      "DEFAULT_FILE_STORAGE": "storages.backends.s3boto3.S3Boto3Storage"}
found = s.Storages(s3, (3, 2))
assert found.settings == {"STATICFILES_STORAGE": s.PLAIN, "DEFAULT_FILE_STORAGE": s.ON_DISK} and not found.static
found = s.Storages(dict(s3, AWS_ACCESS_KEY_ID="AKIA"), (3, 2))
assert found.static and found.media and found.settings["EC_STATIC_STORAGE"] == "shop.storages.Static"
os.environ["EC_STATIC"] = "plain"
assert s.Storages({"STATICFILES_STORAGE": manifest}, (4, 1)).settings == {"STATICFILES_STORAGE": s.PLAIN}
assert s.as_list("one") == ["one"] and s.as_list(("a", "b")) == ["a", "b"] and s.as_list(None) == []
"#;

#[test]
fn caches_logs_and_storages_that_are_not_there_give_way_to_what_is() {
    python(SERVICES);
}
