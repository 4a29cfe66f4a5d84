"""Loads a release's project as gunicorn will, writes what the next steps must know to the file given, as NAME=VALUE
lines, and then runs the management commands that it is asked for.

A command comes on standard input: seconds, name and arguments, each ended by a NUL, and an empty one; an empty name
is the end. Each answer, a line on standard output, is an exit code. What is printed goes to standard error.
"""

import os
import signal
import sys
import threading
from ast import literal_eval

LOADING = 120  # Seconds a project has to load.


def patterns(entries, prefix=""):
    """Every route with its view, but those that are there for development."""
    for entry in entries:
        route = prefix + str(entry.pattern)
        if hasattr(entry, "url_patterns"):
            if getattr(entry, "app_name", None) not in ("djdt", "silk"):
                yield from patterns(entry.url_patterns, route)
        elif entry.callback.__module__ not in ("django.views.static", "django.contrib.staticfiles.views"):
            yield route


def routes():
    """The project's routes, and whether something answers at `/`; None where its URLs do not load."""
    from django.urls import Resolver404, get_resolver

    try:
        found = set(patterns(get_resolver().url_patterns))
    except Exception as error:
        print("The project's URLs do not load: %s: %s" % (type(error).__name__, error))
        return None
    try:
        get_resolver().resolve("/")
        return found, True
    except Resolver404:
        return found, False


def routes_with_debug(settings):
    """The same, asked in a copy of this process where DEBUG is as the project has it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LOADING)
        answers.close()
        settings.DEBUG = True
        try:
            with os.fdopen(writer, "w") as pipe, open(os.devnull, "w") as sys.stdout:
                print(repr(routes()), file=pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = literal_eval(pipe.read().strip() or "None")
    os.waitpid(child, 0)
    return answer


def needs_debug(plain, debug):
    """Whether without DEBUG the page at `/` or most of the project's URLs are gone."""
    if not plain:
        return False
    lost = debug[0] - plain[0]
    return (debug[1] and not plain[1]) or 2 * len(lost) > len(debug[0])


def unmigrated():
    """Labels of apps that have models and no migration files: migrate would make no tables for them."""
    from django.apps import apps
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    with_files = {label for label, _ in loader.disk_migrations}
    return sorted(
        app.label for app in apps.get_app_configs()
        if app.label not in with_files and any(m._meta.managed and not m._meta.proxy for m in app.get_models())
    )


def write(target):
    """Writes the facts, and says whether the settings stay as they are loaded."""
    from django.conf import settings

    own = settings.EC_OWN
    debug = routes_with_debug(settings) if own.get("DEBUG") else None
    facts = {
        "STATIC_URL": settings.STATIC_URL,
        "MEDIA_URL": settings.MEDIA_URL,
        "STATICFILES": int("django.contrib.staticfiles" in settings.INSTALLED_APPS),
        "ADMIN": int("django.contrib.admin" in settings.INSTALLED_APPS),
        "DEBUG": "keep" if debug and needs_debug(routes(), debug) else "",
        "UNMIGRATED": ",".join(unmigrated()),
        "DATABASES": ",".join(
            alias for alias, database in settings.DATABASES.items()
            if database.get("NAME") in settings.EC_SQLITE.values()
            or alias == "default" and not database.get("ENGINE", "dummy").endswith("dummy")
        ),
        "OWN_STATIC": own.get("STATIC_ROOT") or "",
        "OWN_MEDIA": own.get("MEDIA_ROOT") or "",
        "SQLITE": "\t".join(part for pair in settings.EC_SQLITE.items() for part in pair),
    }
    with open(target, "w") as file:
        for name, value in facts.items():
            file.write("%s=%s\n" % (name, str(value).replace("\n", " ")))
    os.environ.update(EC_DEBUG=facts["DEBUG"], EC_UNMIGRATED=facts["UNMIGRATED"])
    return not facts["DEBUG"] and not facts["UNMIGRATED"]


def words():
    """The next command's."""
    found, word = [], b""
    while True:
        byte = os.read(0, 1)
        if byte not in (b"\0", b""):
            word += byte
        elif not word:
            return found
        else:
            found.append(word.decode())
            word = b""


def run(seconds, command, loaded):
    """Runs a command in a copy of this process, or, where that would have other settings, in one of its own."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == -signal.SIGALRM:
            print("It took longer than %d seconds." % seconds, file=sys.stderr)
        try:
            os.killpg(child, signal.SIGKILL)
        except OSError:
            pass
        return code
    code = 1
    try:
        os.setpgid(0, 0)
        answers.close()
        signal.alarm(seconds)
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        if not loaded:
            os.execv(sys.executable, [sys.executable, "-m", "django", *command])
        from django.core.management import execute_from_command_line

        execute_from_command_line(["manage.py", *command])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code != end.code and code:
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(target):
    os.dup2(2, 1)
    signal.alarm(LOADING)
    # Our own programs are not what the project imports.
    sys.path[0] = os.getcwd()
    import django

    django.setup()
    # A copy of this process would be without its other threads.
    loaded = write(target) and threading.active_count() == 1
    from django.db import connections

    connections.close_all()
    signal.alarm(0)
    code = 0
    while True:
        print(code, file=answers, flush=True)
        command = words()
        if not command:
            os._exit(0)
        code = run(int(command[0]), command[1:], loaded) & 255


# Nothing that a command starts may answer in its place.
answers = os.fdopen(os.dup(1), "w")
main(sys.argv[1])
