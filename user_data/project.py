"""Loads a release's project as gunicorn will, writes what the next steps must know to the file given, as NAME=VALUE
lines, and then runs the management commands that it is asked for.

First it loads the settings alone and says in the facts which database servers and which driver they want; once it
gets a line, these are there. Then a command comes on standard input: seconds, name and arguments, each ended by a
NUL, and an empty one; an empty name is the end. Each answer is a line on standard output, an exit code, after a line
for each thing that was put right: `repaired TEXT` or `warning TEXT`. What is printed goes to standard error.
"""

import importlib
import os
import re
import signal
import sys
import threading
from ast import literal_eval

from ec_notes import note

LOADING = 120  # Seconds a project has to load.
PAGES = 20  # Routes that are told to whoever looks for a page, and as many of the admin.
UNSOUND = 3  # What checks answer that found fault with a project that loads.


def text_of(entry):
    """An entry's pattern; Django 1.11 has regular expressions alone."""
    return str(entry.pattern) if hasattr(entry, "pattern") else entry.regex.pattern


def entries_of(entries, prefix=(), apps=()):
    """Every entry that leads to a view, with the texts of the patterns on the way and the apps' namespaces; but those
    that are there for development."""
    for entry in entries:
        texts = (*prefix, text_of(entry))
        if hasattr(entry, "url_patterns"):
            name = getattr(entry, "app_name", None)
            if name not in ("djdt", "silk"):
                yield from entries_of(entry.url_patterns, texts, (*apps, name))
        elif entry.callback.__module__ not in ("django.views.static", "django.contrib.staticfiles.views"):
            yield texts, entry, apps


def patterns(entries):
    """Every route."""
    return ("".join(texts) for texts, _, _ in entries_of(entries))


def path_of(texts):
    """A route as visitors see it, or None where it takes a parameter."""
    path = "/"
    for text in texts:
        text = re.sub(r"\\[./_-]", lambda escaped: escaped.group()[1], re.sub(r"^\^|(\$|\\Z|\\z)$", "", text))
        path += text
    path = re.sub(r"/\?$", "/", path)
    return path if re.match(r"/[\w./~-]*$", path, re.A) and "//" not in path else None


def takes_get(view):
    """Whether a view may answer GET: one of a class says so, of the others nobody knows."""
    actions = getattr(view, "actions", None)
    if isinstance(actions, dict):
        return "get" in actions
    kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return kind is None or hasattr(kind, "get")


def pages():
    """Some of the project's own pages, those of its admin last."""
    from django.urls import get_resolver

    found = {}
    try:
        for texts, entry, apps in entries_of(get_resolver().url_patterns):
            path = path_of(texts)
            if path and len(path) < 100 and takes_get(entry.callback):
                if not re.search(r"log-?_?out|delete|jsi18n|autocomplete|set-?_?lang", path):
                    found.setdefault(path, "admin" in apps)
    except Exception as error:
        # Settings without DEBUG may have URLs that do not load; that was said before.
        print("No pages were found: %s" % type(error).__name__)
    own = sorted((path for path in found if not found[path]), key=lambda path: path != "/")
    return own[:PAGES] + [path for path in found if found[path]][:PAGES]


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
    """The same, and the pages, asked in a copy of this process where DEBUG is as the project has it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LOADING)
        answers.close()
        settings.DEBUG = True
        try:
            with os.fdopen(writer, "w") as pipe, open(os.devnull, "w") as sys.stdout:
                print(repr((routes(), pages())), file=pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = literal_eval(pipe.read().strip() or "(None, [])")
    os.waitpid(child, 0)
    return answer


def needs_debug(plain, debug):
    """Whether without DEBUG the URLs do not load, or the page at `/` or most of them are gone."""
    if plain is None:
        return True
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


def of_repository(path):
    """A directory that the repository brings, or nothing where it is elsewhere or all of the repository."""
    path = os.path.realpath(str(path)) if path else ""
    return path if path.startswith(os.path.realpath(os.environ["EC_RELEASE"]) + "/repo/") else ""


def put(target, facts):
    with open(target + ".new", "w") as file:
        for name, value in facts.items():
            file.write("%s=%s\n" % (name, str(value).replace("\n", " ")))
    os.rename(target + ".new", target)


def wanted(settings):
    """What the settings want of the machine, as facts."""
    databases = settings.EC_DATABASES
    for line in databases.said:
        print(line)
    return {
        "SERVERS": ",".join("%s:%s" % pair for pair in databases.servers),
        "DRIVER": databases.driver,
    }


def write(target):
    """Writes the facts, and says whether the settings stay as they are loaded."""
    from django.conf import settings

    own = settings.EC_OWN
    debug, found = routes_with_debug(settings) if own.get("DEBUG") else (None, [])
    keep = debug and needs_debug(routes(), debug)
    facts = {
        "STATIC_URL": settings.STATIC_URL,
        "MEDIA_URL": settings.MEDIA_URL,
        "STATICFILES": int("django.contrib.staticfiles" in settings.INSTALLED_APPS),
        "ADMIN": int("django.contrib.admin" in settings.INSTALLED_APPS),
        "AUTH": int("django.contrib.auth" in settings.INSTALLED_APPS),
        "DEBUG": "keep" if keep else "",
        "UNMIGRATED": ",".join(unmigrated()),
        "DATABASES": ",".join(
            alias for alias, database in settings.DATABASES.items()
            if alias in settings.EC_DATABASES.kept
            or alias == "default" and not database.get("ENGINE", "dummy").endswith("dummy")
        ),
        "OWN_STATIC": of_repository(own.get("STATIC_ROOT")),
        "OWN_MEDIA": of_repository(own.get("MEDIA_ROOT")),
        "SQLITE": "\t".join(part for pair in settings.EC_DATABASES.sqlite.items() for part in pair),
        "ROUTES": "\t".join(found if keep else pages()),
    }
    facts.update(wanted(settings))
    put(target, facts)
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


def execute(command):
    """Runs a management command in this process, and gives its code."""
    import django
    from django.core.management import BaseCommand, call_command, execute_from_command_line
    from django.core.management.base import SystemCheckError
    from django.db import Error

    if command == ["check"]:
        django.setup()
        try:
            call_command("check")
        except (SystemCheckError, Error) as error:
            print("%s: %s" % (type(error).__name__, error), file=sys.stderr)
            return UNSOUND
        return 0
    if "--skip-checks" in command:
        # Django 2 and earlier have no such option.
        BaseCommand.check = lambda *_, **__: None
        command = [word for word in command if word != "--skip-checks"]
    execute_from_command_line(["manage.py", *command])
    return 0


def try_wsgi():
    """Loads the project's WSGI entry in a copy of this process, which notes where that does not go."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        answers.close()
        signal.alarm(LOADING)
        import ec_wsgi  # noqa: F401
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def run(seconds, command, loaded):
    """Runs a command in a copy of this process, or, where that would have other settings, in one of its own."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
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
            os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), "--command", *command])
        code = execute(command)
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


def gather(seconds, command, loaded, target):
    """Gathers static files: where the project's storage of them fails, by Django's plain one."""
    from django.conf import settings

    code = run(seconds, command, loaded)
    if code == 0 or settings.EC_PLAIN_STATIC:
        return code
    print("The project's storage of static files failed: once more with Django's own.", file=sys.stderr)
    os.environ["EC_STATIC"] = "plain"
    code = run(seconds, command, False)
    if code == 0:
        put(target, dict(facts_of(target), STATIC="plain", STATIC_URL=settings.EC_LOCAL_STATIC_URL))
        note("warning", "The project's storage of static files failed, see the log: they are kept by Django's plain one.")
    return code


def facts_of(target):
    with open(target) as file:
        return dict(line.rstrip("\n").split("=", 1) for line in file)


def notes(path, told=set()):
    """What was put right since this was asked before."""
    try:
        with open(path, errors="replace") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return []
    fresh = [line for line in dict.fromkeys(lines) if line.startswith(("repaired ", "warning ")) and line not in told]
    told.update(fresh)
    return fresh[:20]


def answer(code):
    for line in notes(os.environ["EC_NOTES"]):
        print(line[:500], file=answers)
    print(code, file=answers, flush=True)


def main(target):
    os.dup2(2, 1)
    signal.alarm(LOADING)
    # Our own programs are not what the project imports.
    sys.path[0] = os.getcwd()
    os.environ["EC_NOTES"] = os.path.dirname(target) + "/notes"
    import django
    from django.conf import settings

    try:
        settings.INSTALLED_APPS
    except Exception as error:
        if type(error).__name__ != "Unsupported":
            raise
        sys.exit(str(error))
    put(target, wanted(settings))
    answer(0)
    signal.alarm(0)
    if os.read(0, 1) != b"\n":
        sys.exit(0)

    signal.alarm(LOADING)
    if settings.EC_DATABASES.driver:
        importlib.invalidate_caches()
        importlib.import_module("ec_databases").fit_drivers(settings.EC_DATABASES.servers)
    django.setup()
    try_wsgi()
    # A copy of this process would be without its other threads.
    loaded = write(target) and threading.active_count() == 1
    from django.db import connections

    connections.close_all()
    signal.alarm(0)
    code = 0
    while True:
        answer(code)
        command = words()
        if not command:
            os._exit(0)
        seconds, command = int(command[0]), command[1:]
        if command[0] == "collectstatic":
            code = gather(seconds, command, loaded, target) & 255
        else:
            code = run(seconds, command, loaded) & 255


# Nothing that a command starts may answer in its place.
answers = os.fdopen(os.dup(1), "w")
if sys.argv[1] == "--command":
    sys.path[0] = os.getcwd()
    sys.exit(execute(sys.argv[2:]))
main(sys.argv[1])
