"""The database servers of this machine, and what is asked of them: `servers.py up FACTS` starts, as root, those that
a release's settings name, and makes its databases; as a module, for the user `app`, it copies them and puts them back.

FACTS is a file of the project's: of its text only the line SERVERS counts, and in it only plain names.
"""

import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import time

ETC = "/etc/ec-deployer/"
KNOWN = ETC + "databases"  # Every database of ours on this machine: a line `SERVER NAME` each.
NAME = re.compile(r"(postgresql|mysql):(app(?:_[a-z0-9_]{1,40})?)")
STARTING = 60  # Seconds a server has to answer.
LONG = 500  # Seconds that a copy of a database may take.
NOT_OURS = "nspname !~ '^pg_' AND nspname <> 'information_schema'"

# A machine of a gigabyte has the project to run, too.
POSTGRESQL_CONF = [
    "listen_addresses = 'localhost'", "port = 5432", "shared_buffers = 32MB", "work_mem = 2MB",
    "maintenance_work_mem = 32MB", "max_connections = 40", "max_worker_processes = 2", "jit = off",
]
MYSQL_CONF = [
    "[mysqld]", "bind-address = 127.0.0.1", "port = 3306", "innodb_buffer_pool_size = 48M", "key_buffer_size = 1M",
    "aria_pagecache_buffer_size = 8M", "performance_schema = OFF", "max_connections = 40",
    "character-set-server = utf8mb4", "collation-server = utf8mb4_general_ci",
]


def password():
    with open(ETC + "database_password") as file:
        return file.read().strip()


def call(command, text=None, seconds=120, **more):
    """Runs a command with a text as its input and gives what it printed; what it complains of ends a failure."""
    more = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, **more)
    done = subprocess.run(command, input=(text or "").encode(), **more)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-2000:]
        raise OSError("%s failed: %s" % (os.path.basename(command[0]), said or done.returncode))
    return done.stdout.decode("utf-8", "replace")


def configure(path, lines):
    """Writes a server's settings, and says whether they were others."""
    text = "\n".join(lines) + "\n"
    try:
        with open(path) as file:
            if file.read() == text:
                return False
    except FileNotFoundError:
        pass
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)
    return True


def run(unit, changed):
    """Starts a server now and at every boot."""
    subprocess.run(["systemctl", "-q", "enable", unit], check=True, timeout=60)
    subprocess.run(["systemctl", "restart" if changed else "start", unit], check=True, timeout=180)


class Postgresql:
    title = "PostgreSQL"
    ending = "sql"

    def __init__(self):
        self.env = dict(os.environ, PGPASSWORD=password(), PGCONNECT_TIMEOUT="20", PGCLIENTENCODING="UTF8")
        self.way = ["-h", "127.0.0.1", "-p", "5432", "-U", "app"]

    def start(self):
        places = glob.glob("/etc/postgresql/*/main/conf.d")
        if not places:
            sys.exit("The image has no PostgreSQL: bake a new golden image, and launch this instance anew.")
        run("postgresql", any([configure(place + "/ec-deployer.conf", POSTGRESQL_CONF) for place in places]))
        end = time.monotonic() + STARTING
        while subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1"], timeout=30).returncode:
            if time.monotonic() > end:
                sys.exit("PostgreSQL does not start: see /var/log/postgresql on the machine.")
            time.sleep(0.1)

    def make(self, names):
        """The user and the databases, where they are not there yet. Version 15 gives the schema public to the owner."""
        sql = [
            "SELECT 'CREATE ROLE app LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') \\gexec",
            "ALTER ROLE app PASSWORD '%s';" % password(),
        ]
        for name in names:
            sql += [
                "SELECT 'CREATE DATABASE %s OWNER app TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE ''C.UTF-8'' "
                "LC_CTYPE ''C.UTF-8''' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '%s') \\gexec"
                % (name, name),
                "\\connect %s" % name,
                "SELECT 'ALTER SCHEMA public OWNER TO app' FROM pg_namespace WHERE nspname = 'public' \\gexec",
            ]
        psql = ["runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "postgres"]
        call(psql, "\n".join(sql) + "\n", cwd="/")

    def ask(self, name, sql, *options):
        psql = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, *self.way, "-d", name]
        return call(psql, sql, LONG, env=self.env)

    def size(self, name):
        return int(self.ask(name, "SELECT pg_database_size(current_database());"))

    def shape(self, name):
        """What migrate changes: tables, columns, indexes, constraints and the list of migrations."""
        return self.ask(name, "\n".join([
            "SELECT n.nspname, c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a "
            "ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE %s ORDER BY 1, 2, 3, 4;" % NOT_OURS,
            "SELECT n.nspname, c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c "
            "JOIN pg_namespace n ON n.oid = c.connamespace WHERE %s ORDER BY 1, 2, 3;" % NOT_OURS,
            "SELECT format('SELECT app, name FROM %I.django_migrations ORDER BY 1, 2', table_schema) "
            "FROM information_schema.tables WHERE table_name = 'django_migrations' ORDER BY 1 \\gexec",
        ]) + "\n")

    def save(self, name, target):
        call(["pg_dump", *self.way, "-Fc", "-Z1", "-f", target, name], None, LONG, env=self.env)

    def plain(self, name, target):
        """A copy that any server can read."""
        call(["pg_dump", *self.way, "--no-owner", "--no-privileges", "-f", target, name], None, LONG, env=self.env)

    def load(self, name, source):
        """Puts a copy in the place of all that is there: as one transaction, so that it is done or not."""
        sql = source + ".sql"
        call(["pg_restore", "--no-owner", "--no-privileges", "--no-comments", "-f", sql, source], None, LONG)
        with open(sql + ".all", "wb") as whole, open(sql, "rb") as copy:
            whole.write("\n".join([
                # What is idle holds nothing: the release that serves may keep its connections.
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND usename = current_user AND pid <> pg_backend_pid() AND state <> 'idle' "
                "AND xact_start < now() - interval '10 s';",
                "SET lock_timeout = '30s';",
                "SELECT format('DROP SCHEMA %%I CASCADE', nspname) FROM pg_namespace WHERE %s \\gexec" % NOT_OURS,
                "CREATE SCHEMA public;\n",
            ]).encode())
            shutil.copyfileobj(copy, whole)
        self.ask(name, None, "-1", "-o", "/dev/null", "-f", sql + ".all")
        os.remove(sql)
        os.remove(sql + ".all")


class Mysql:
    title = "MariaDB"
    ending = "sql"

    def __init__(self):
        self.env = dict(os.environ, MYSQL_PWD=password())
        self.way = ["--no-defaults", "-h", "127.0.0.1", "-P", "3306", "-u", "app"]

    def start(self):
        place = "/etc/mysql/mariadb.conf.d"
        if not os.path.isdir(place):
            sys.exit("The image has no MariaDB: bake a new golden image, and launch this instance anew.")
        run("mariadb", configure(place + "/90-ec-deployer.cnf", MYSQL_CONF))
        end = time.monotonic() + STARTING
        while subprocess.run(["mariadb-admin", "--no-defaults", "-s", "ping"], timeout=30).returncode:
            if time.monotonic() > end:
                sys.exit("MariaDB does not start: see its journal on the machine.")
            time.sleep(0.1)

    def make(self, names):
        sql = []
        for name in names:
            sql.append("CREATE DATABASE IF NOT EXISTS %s CHARACTER SET utf8mb4;" % name)
        for host in ("localhost", "127.0.0.1"):
            sql.append("CREATE USER IF NOT EXISTS 'app'@'%s';" % host)
            sql.append("ALTER USER 'app'@'%s' IDENTIFIED BY '%s';" % (host, password()))
            for name in names:
                sql.append("GRANT ALL ON `%s`.* TO 'app'@'%s';" % (name.replace("_", "\\_"), host))
        call(["mariadb", "--no-defaults"], "\n".join(sql) + "\n")
        self.know_time_zones()

    def know_time_zones(self):
        """Brings the names of the time zones, by which Django groups times."""
        if call(["mariadb", "--no-defaults", "-N", "-B"], "SELECT COUNT(*) FROM mysql.time_zone_name;").strip() != "0":
            return
        program = shutil.which("mariadb-tzinfo-to-sql") or "mysql_tzinfo_to_sql"
        zones = subprocess.run([program, "/usr/share/zoneinfo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        call(["mariadb", "--no-defaults", "mysql"], zones.stdout.decode())

    def ask(self, name, sql, *options):
        return call(["mariadb", *self.way, "-N", "-B", *options, *([name] if name else [])], sql, LONG, env=self.env)

    def size(self, name):
        total = "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables WHERE table_schema = '%s';"
        return int(float(self.ask(name, total % name)))

    def shape(self, name):
        found = self.ask(name, "\n".join([
            "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns "
            "WHERE table_schema = '%s' ORDER BY 1, 2;" % name,
            "SELECT table_name, index_name, column_name FROM information_schema.statistics "
            "WHERE table_schema = '%s' ORDER BY 1, 2, seq_in_index;" % name,
            "SELECT table_name, constraint_name, constraint_type FROM information_schema.table_constraints "
            "WHERE table_schema = '%s' ORDER BY 1, 2;" % name,
        ]))
        if "\ndjango_migrations\t" in "\n" + found:
            found += self.ask(name, "SELECT app, name FROM django_migrations ORDER BY app, name;")
        return found

    def save(self, name, target):
        dump = ["mariadb-dump", *self.way, "--single-transaction", "--skip-lock-tables", "--no-tablespaces", "--routines"]
        with gzip.open(target, "wb", 1) as packed:
            with subprocess.Popen([*dump, name], stdout=subprocess.PIPE, env=self.env) as process:
                shutil.copyfileobj(process.stdout, packed)
        if process.returncode:
            raise OSError("mariadb-dump failed with code %d" % process.returncode)

    def plain(self, name, target):
        self.save(name, target + ".gz")
        with gzip.open(target + ".gz", "rb") as packed, open(target, "wb") as file:
            shutil.copyfileobj(packed, file)
        os.remove(target + ".gz")

    def load(self, name, source):
        """Puts a copy in the place of all that is there. It may break off, and is then to be done again."""
        empty = "SET lock_wait_timeout = 20; DROP DATABASE IF EXISTS %s; CREATE DATABASE %s CHARACTER SET utf8mb4;"
        try:
            self.ask("", empty % (name, name))
        except OSError:
            others = "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '%s' " % name
            self.ask("", self.ask("", others + "AND id <> CONNECTION_ID();"), "--force")
            self.ask("", empty % (name, name))
        with gzip.open(source, "rb") as packed:
            command = ["mariadb", *self.way, name]
            with subprocess.Popen(command, stdin=subprocess.PIPE, env=self.env) as process:
                shutil.copyfileobj(packed, process.stdin)
        if process.returncode:
            raise OSError("mariadb failed with code %d" % process.returncode)


def server(kind):
    return {"postgresql": Postgresql, "mysql": Mysql}[kind]()


def named(line):
    """The databases that a line of facts names, `SERVER:NAME` each, as pairs."""
    return [found.groups() for found in map(NAME.fullmatch, line.strip().split(",")) if found]


def known():
    """Every database of ours on this machine, as pairs of server and name."""
    try:
        with open(KNOWN) as file:
            return [tuple(line.split()) for line in file]
    except FileNotFoundError:
        return []


def up(facts):
    fd = os.open(facts, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, errors="replace") as file:
        lines = [line[len("SERVERS="):] for line in file.read(1 << 20).split("\n") if line.startswith("SERVERS=")]
    wanted = named(lines[-1] if lines else "")[:20]
    for kind in sorted({kind for kind, _ in wanted}):
        begun = time.monotonic()
        of_kind = server(kind)
        of_kind.start()
        of_kind.make([name for other, name in wanted if other == kind])
        print("%s runs on this machine, and has the project's database (%.1f s)." % (
            of_kind.title, time.monotonic() - begun))
    listed = list(dict.fromkeys([*known(), *wanted]))
    with open(KNOWN + ".new", "w") as file:
        os.fchmod(file.fileno(), 0o644)
        file.writelines("%s %s\n" % pair for pair in listed)
    os.rename(KNOWN + ".new", KNOWN)


if __name__ == "__main__":
    try:
        up(sys.argv[2])
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit("The database server of this machine is not ready: %s" % error)
