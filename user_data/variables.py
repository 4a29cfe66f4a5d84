"""What the variables get that a release's settings demand, and that its owner gave no value."""

import base64
import glob
import hashlib
import hmac
import re


def _read(name):
    try:
        with open("/etc/ec-deployer/" + name, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def engine_of(values, root):
    """The database that the settings are told of before they are loaded: chosen, likely, or by the driver there is."""
    found = values.get("EC_DATABASE") or values.get("EC_DATABASE_LIKELY")
    if found:
        return found
    for name, engine in (("psycopg", "postgresql"), ("MySQLdb", "mysql"), ("pymysql", "mysql")):
        if glob.glob(root + "/venv/lib/python*/site-packages/%s*" % name):
            return engine
    return "sqlite"


def database_parts(engine):
    """How the database on this machine is reached, by the parts that a variable may ask for."""
    password = _read("database_password").decode().strip()
    if engine == "sqlite":
        file = "/srv/app/shared/db.sqlite3"
        return {"engine": "django.db.backends.sqlite3", "name": file, "url": "sqlite:///" + file, "user": "app",
                "password": password, "host": "127.0.0.1", "port": "5432"}
    port, scheme = {"postgresql": ("5432", "postgres"), "mysql": ("3306", "mysql")}[engine]
    return {"engine": "django.db.backends." + engine, "name": "app", "user": "app", "password": password,
            "host": "127.0.0.1", "port": port, "url": "%s://app:%s@127.0.0.1:%s/app" % (scheme, password, port)}


def elsewhere(given):
    """The owner's variables that name a database server which is not this machine, by the server's host."""
    found = {}
    for name, value in given.items():
        wide = re.search("DATABASE|DB|POSTGRES|PG|MYSQL|MARIADB|RDS", name, re.I)
        if not wide or re.search("MONGO|REDIS|CACHE", name, re.I):
            continue
        if re.search("(URL|URI)$", name, re.I):
            url = re.match(r"(?:postg|mysql|mariadb|psql|pgsql)[\w+]*://(?:[^/]*@)?([^/:?]*)", value.strip())
            host = url.group(1) if url else ""
        elif re.search("(HOST|HOSTNAME|SERVER|ADDRESS)$", name, re.I):
            host = value.strip().partition(":")[0]
        else:
            continue
        # A name without a dot is that of a container beside the project's, a path that of a socket.
        if "." in host and "/" not in host and not re.match(r"127\.|0\.0\.0\.0$|host\.docker\.internal$", host):
            found.setdefault(host.lower(), name)
    return found


def filled(values, given, root):
    """What the settings demand and the owner has not given: EC_VARIABLES has a line for each, `NAME secret`,
    `NAME address`, `NAME text TEXT` or `NAME database PART`. Tells the settings where the owner has a server."""
    secret = _read("secret_key")
    own = {} if values.get("EC_DATABASE") else elsewhere(given)
    parts = database_parts(engine_of(values, root))
    found = {"SECRET_KEY": secret.decode()}
    if values.get("EC_DATABASE"):
        found["DATABASE_URL"] = parts["url"]
    for line in values.pop("EC_VARIABLES", "").split("\n"):
        name, kind, text = (line.split(" ", 2) + ["", ""])[:3]
        if kind == "secret" and name != "SECRET_KEY":
            # 32 bytes in base64 will do for anything, a key of Fernet's too.
            made = hmac.new(secret, name.encode(), hashlib.sha256).digest()
            found[name] = base64.urlsafe_b64encode(made).decode()
        elif kind == "address":
            found[name] = _read("hosts").decode().split("\n")[0]
        elif kind == "text":
            found[name] = text
        elif kind == "database" and text in parts and not own:
            found[name] = parts[text]
    values["EC_OWN_DATABASE"] = " ".join(sorted("%s=%s" % pair for pair in own.items()))
    return {name: value for name, value in found.items() if not given.get(name)}
