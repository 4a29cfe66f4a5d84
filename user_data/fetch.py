"""Sends the site what it asked of this machine.

`fetch.py send log|database|media|command URL`, as root, reads the fetch's token from standard input and sends the bytes
by PUT, or the reason why there are none by POST. Of a command, the second line is its words as JSON; it is run once, as
the user `app` and by no shell, however often this is begun, and what came of it is kept until the site has it.
The project's files are never opened by root: `fetch.py pack
database|media` runs as the user `app` and writes to standard output, first a line that says what follows.
"""

import fcntl
import gzip
import http.client
import json
import os
import re
import select
import shutil
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from urllib.parse import urlsplit

SHARED = "/srv/app/shared"
HOME = "/srv/app/home"
LOGS = "/var/log/ec-deployer/"
LIB = "/opt/ec-deployer"
AS_APP = ["/usr/bin/python3", "-I", "/opt/ec-deployer/run.py"]
RUN = AS_APP + ["/usr/bin/python3", "-I", os.path.abspath(__file__)]
STATE = "/var/lib/ec-deployer/"
SECONDS = 300  # that a command has
KEPT = 512 << 10  # Bytes of what it prints, of its beginning and of its end
LINES = 500  # of each log
BYTES = 160 << 10  # of each log: three of them stay below what the site takes
PIECE = 256 << 10
WAITS = (1, 2, 4, 8, 16, 60, 120, None)  # seconds between tries; longer in all than the site waits for a silent one


class Refused(Exception):
    """What cannot be sent, in a sentence for the owner."""

    pass


def plain(path):
    """Opens a regular file and nothing else, and waits for nothing."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a plain file")
    return os.fdopen(fd, "rb")


def tail(path):
    """The last lines of a log, together with the one before it where it was put aside lately."""
    data, cut = b"", False
    for name in (path, path + ".1"):
        try:
            with plain(name) as file:
                size = os.fstat(file.fileno()).st_size
                cut = size > BYTES - len(data)
                file.seek(max(0, size - (BYTES - len(data))))
                data = file.read(BYTES - len(data)) + data
        except OSError:
            continue
        if cut or data.count(b"\n") >= LINES:
            break
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if cut:
        lines = lines[1:]
    return b"".join(line + b"\n" for line in lines[-LINES:])


def release():
    """The number of the release that serves; of the newest that tried to, where none does."""
    try:
        return str(int(os.path.basename(os.readlink("/srv/app/current"))))
    except (OSError, ValueError):
        numbers = [int(found[1]) for found in (re.match(r"app-(\d+)\.log$", name) for name in os.listdir(LOGS)) if found]
        return str(max(numbers, default=0))


def log():
    """The three logs, each after a line of its name and its size."""
    parts = {
        "gunicorn": LOGS + "app-%s.log" % release(),
        "nginx-error": "/var/log/nginx/error.log",
        "nginx-access": "/var/log/nginx/access.log",
    }
    for name, path in parts.items():
        data = tail(path)
        yield b"%s %d\n" % (name.encode(), len(data)) + data


def databases():
    """The project's SQLite files that hold something."""
    found = []
    for name in sorted(os.listdir(SHARED)):
        path = os.path.join(SHARED, name)
        if name.endswith(".sqlite3") and os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path):
            found.append(path)
    return found


def served(directory):
    """Copies of what the machine's database servers hold for the project, as text."""
    try:
        sys.path.append(LIB)
        import servers
    except ImportError:
        return []  # the machine's last deployment was before there were any
    copies = []
    for kind, name in servers.known():
        server = servers.server(kind)
        if server.size(name) > shutil.disk_usage(directory).free // 3:
            raise Refused("There is no room on the machine for a copy of its database.")
        copies.append(os.path.join(directory, "%s-%s.%s" % (kind, name, server.ending)))
        server.plain(name, copies[-1])
    return copies


def pack_database(out):
    """Copies the databases as they are at one moment, while the project goes on using them."""
    paths = databases()
    for name in os.listdir(HOME):
        if name.startswith(".fetch-") and time.time() - os.stat(os.path.join(HOME, name)).st_mtime > 3600:
            shutil.rmtree(os.path.join(HOME, name), ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=HOME) as directory:
        copies = served(directory)
        if not paths and not copies:
            raise Refused("The project has no database on this machine.")
        for path in paths:
            copy = os.path.join(directory, os.path.basename(path))
            old, new = sqlite3.connect(path, timeout=30), sqlite3.connect(copy)
            try:
                old.backup(new)
                # A copy of a database that keeps a write-ahead log would want one as well.
                new.execute("PRAGMA journal_mode=DELETE")
            finally:
                old.close()
                new.close()
            copies.append(copy)
        if len(copies) > 1 or not paths:
            out.write(b"tar.gz\n")
            pack(out, ((copy, os.path.basename(copy)) for copy in copies))
            return
        with plain(copies[0]) as file:
            out.write(b"sqlite3\n")
            shutil.copyfileobj(file, out, PIECE)


def uploads():
    """The files below media/ and their names in the archive. Links are left out: they may lead anywhere."""
    for directory, inner, names in os.walk(SHARED + "/media", followlinks=False):
        inner.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            try:
                is_file = stat.S_ISREG(os.lstat(path).st_mode)
            except OSError:
                continue  # removed meanwhile
            if is_file:
                yield path, os.path.relpath(path, SHARED)


def pack_media(out):
    if next(uploads(), None) is None:
        raise Refused("There are no media files on this machine.")
    out.write(b"tar.gz\n")
    pack(out, uploads())


class Exactly:
    """As many bytes of a file as the archive was told, should it become shorter meanwhile."""

    def __init__(self, file):
        self.file = file

    def read(self, size):
        data = self.file.read(size)
        return data + bytes(size - len(data))


def pack(out, files):
    """Writes an archive as it is made; nothing of it is kept here."""
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w|", bufsize=PIECE) as archive:
            for path, name in files:
                try:
                    file = plain(path)
                except OSError:
                    continue  # it was removed meanwhile, or is not ours to read
                with file:
                    about = os.fstat(file.fileno())
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mtime, entry.mode = about.st_size, int(about.st_mtime), 0o644
                    archive.addfile(entry, Exactly(file))


def packed(kind):
    """Starts packing as the user `app`; gives the format and the bytes as they come."""
    process = subprocess.Popen(RUN + ["pack", kind], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    head = process.stdout.readline(600).decode("utf-8", "replace").strip()
    if head not in ("sqlite3", "tar.gz"):
        process.kill()
        process.wait()
        raise Refused(head if head.startswith(("The ", "There ")) else "The files could not be packed on the machine.")

    def pieces():
        try:
            while True:
                piece = process.stdout.read(PIECE)
                if not piece:
                    break
                yield piece
            if process.wait() != 0:
                raise Refused("The files could not be packed on the machine.")
        finally:
            process.kill()
            process.wait()

    return head, pieces()


def serving():
    """The number of the release that serves."""
    try:
        return str(int(os.path.basename(os.readlink("/srv/app/current"))))
    except (OSError, ValueError):
        raise Refused("The project is not live on this machine.") from None


def locked(path):
    """The file, locked for as long as it is open; None where somebody has the lock."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except OSError:
        os.close(fd)
        return None


def command(words, number):
    """What came of a command that is run once: as it was kept, where it was run before."""
    os.makedirs(STATE + "commands", mode=0o700, exist_ok=True)
    path = STATE + "commands/" + number
    began = locked(path)
    if began is None:
        print("The command is under way.")
        sys.exit(0)
    if os.fstat(began).st_size == 0:
        # A deployment and a command wait for each other, as two deployments do.
        free = locked(STATE + "lock")
        if free is None:
            raise Refused("The machine is busy with a deployment. Run the command when it has ended.")
        of = serving()
        os.write(began, b"begun\n")
        os.fsync(began)
        with open(path + ".new", "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(run(AS_APP + ["--release", of, "python", "-m", "django", *words]))
        os.rename(path + ".new", path + ".out")
        os.close(free)
    try:
        with plain(path + ".out") as file:
            return file.read()
    except OSError:
        raise Refused("The machine was restarted while the command ran: it may be half done.") from None


class Ends:
    """The beginning and the end of a long text."""

    def __init__(self):
        self.head, self.tail, self.dropped = b"", b"", 0

    def add(self, data):
        room = KEPT - len(self.head)
        self.head, self.tail = self.head + data[:room], self.tail + data[room:]
        if len(self.tail) > 2 * KEPT:
            self.cut()

    def cut(self):
        extra = max(0, len(self.tail) - KEPT)
        self.dropped, self.tail = self.dropped + extra, self.tail[extra:]

    def text(self):
        self.cut()
        middle = b"\n[%d bytes left out here]\n" % self.dropped if self.dropped else b""
        return self.head + middle + self.tail


def run(line):
    """Runs a command in a process group of its own; gives its exit code in a line, and what it printed."""
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    ends, deadline, late, drained = Ends(), time.monotonic() + SECONDS, False, None
    pipe = process.stdout.fileno()
    while True:
        gone = process.poll() is not None
        if gone and drained is None:
            drained = time.monotonic() + 2
        ready = select.select([pipe], [], [], 0 if gone else 0.2)[0]
        data = os.read(pipe, PIECE) if ready else b""
        ends.add(data)
        # What it left running in the background may hold the pipe for ever.
        if gone and (not data or time.monotonic() > drained):
            break
        if ready and not data and not gone:
            time.sleep(0.05)
        if not gone and time.monotonic() > deadline:
            late = True
            kill(process, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                kill(process, signal.SIGKILL)
                process.wait()
    kill(process, signal.SIGKILL)
    if late:
        ends.add(b"\nIt took longer than %d seconds and was ended.\n" % SECONDS)
    return b"exit %d\n" % (124 if late else process.returncode) + ends.text()


def kill(process, how):
    try:
        os.killpg(process.pid, how)
    except OSError:
        pass


def ask(method, url, token, body, kind):
    """One request; a body that breaks off reaches the site as one."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        line = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=120, context=ssl.create_default_context())
    else:
        line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/octet-stream", "Fetch-Format": kind}
    try:
        if isinstance(body, bytes):
            line.request(method, parts.path, body, headers)
        else:
            line.request(method, parts.path, body, headers | {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        return line.getresponse().status
    finally:
        line.close()


def send(kind, url, token, words):
    """Sends until the site has answered; whatever it answers, it knows."""
    number, made = str(int(url.rpartition("/")[2])), None
    for wait in WAITS:
        try:
            if kind == "log":
                status = ask("PUT", url, token, b"".join(log()), "text")
            elif kind == "command":
                made = made or command(words, number)
                status = ask("PUT", url, token, made, "text")
            else:
                head, pieces = packed(kind)
                status = ask("PUT", url, token, pieces, head)
        except Refused as refused:
            status = tell(url, token, str(refused))
        except (OSError, http.client.HTTPException) as error:
            print("The site was not reached: %s" % error, file=sys.stderr)
            status = 0
        # One that broke off, or whose end the site has not seen yet, is tried again.
        if 200 <= status < 500 and status not in (400, 409) or status == 507:
            print("The site answered %d." % status)
            if kind == "command" and os.path.exists(STATE + "commands/%s.out" % number):
                os.remove(STATE + "commands/%s.out" % number)
            return
        if wait is None:
            sys.exit("The site does not take it.")
        time.sleep(wait)


def tell(url, token, sentence):
    try:
        return ask("POST", url + "/failed", token, sentence.encode()[:500], "text")
    except (OSError, http.client.HTTPException):
        return 0


def main(verb, kind, url=None):
    if verb == "send":
        token, words = sys.stdin.readline().strip(), sys.stdin.readline().strip()
        send(kind, url, token, json.loads(words) if words else None)
        return
    out = sys.stdout.buffer
    try:
        {"database": pack_database, "media": pack_media}[kind](out)
        out.flush()
    except Refused as refused:
        out.write(str(refused).encode() + b"\n")
    except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        # Behind the first line of what is sent this is no sentence any more, but the code says that it broke off.
        out.write(("The files could not be packed on the machine: %s\n" % error).encode())
        out.flush()
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
