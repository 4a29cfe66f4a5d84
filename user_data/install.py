"""The Python environment of a release: which Python, what is installed, and what is changed where that does not go.

`install.py environment|gunicorn|dependencies|loading|postgresql|mysql`. Runs as root, which
decides and remembers; whatever asks the network or runs code of a package runs as the user app. The deployment's
values come in the environment. What its owner is to be told goes to the file `told` of the release, `repaired TEXT` or
`warning TEXT` a line.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
from copy import deepcopy

LIB = os.path.dirname(os.path.abspath(__file__))
sys.path.append(LIB)

from command import FREE, Full, as_app, put, read, say, value
from loading import cure
from repair import DJANGO, NETWORK, Wish
from sources import Sources, name_of, normal

APP = "/srv/app"
SYSTEM = "/usr/bin/python3"
DAYS = 7  # Until what a project does not pin is looked for anew, security releases among it.
MINUTES, TRIES = 15, 30  # Most that an installation takes, with all its repairs.
LOADING_MINUTES, LOADINGS = 8, 7  # Most that the repairs after it take.
TOLD = 4000  # Characters of an error that are told again.
SERIES = re.compile(r"\d+\.\d+$")


class Release:
    def __init__(self):
        self.number = value("DEPLOYMENT")
        self.path = "%s/releases/%s" % (APP, self.number)
        self.repo = self.path + "/repo"
        self.environments = APP + "/environments"
        self.sources = Sources(self.repo)
        self.told = []
        self.end = time.monotonic() + MINUTES * 60

    def tell(self, kind, text):
        line = "%s %s\n" % (kind, re.sub(r"\s+", " ", text))
        if line not in self.told:
            self.told.append(line)
            with open(self.path + "/told", "a") as file:
                file.write(line)

    def left(self):
        return self.end - time.monotonic()

    # Pythons

    def python(self):
        return read(self.path + "/python") or SYSTEM

    def series(self):
        return re.search(r"python(\d+\.\d+)$", os.path.realpath(self.python()))[1]

    def choose_python(self):
        """The machine's own Python where it will do, else the first of the wanted that can be had."""
        wanted = [series for series in value("PYTHON").split() if SERIES.match(series)]
        own = re.search(r"(\d+\.\d+)$", os.path.realpath(SYSTEM))[1]
        if not wanted or own in wanted:
            return
        for series in wanted[:4]:
            path, reached = self.get_python(series)
            if path:
                put(self.path + "/python", path)
                say("Python %s is used, for %s." % (series, value("PYTHON_FROM")))
                return
            if not reached:
                break
        self.tell("warning", "%s asks for Python %s, which this machine could not download: it runs on Python %s." % (
            value("PYTHON_FROM") or "The project", " or ".join(wanted), own))

    def get_python(self, series):
        """A Python of that series, and whether there was somebody to ask for it."""
        code, text = as_app(
            150, "env", "UV_PYTHON_DOWNLOADS=manual", "UV_HTTP_RETRIES=2", "uv", "python", "install", "--no-bin", series)
        if code == 0:
            code, found = as_app(20, "uv", "python", "find", "--managed-python", series, show=False)
            path = found.strip().splitlines()[-1] if found.strip() else ""
            # It is a program of the user app's, and runs as that user alone.
            if code == 0 and re.fullmatch(re.escape(APP) + r"/home/[\w./+-]+/python\d+\.\d+", path):
                return path, True
        return None, not NETWORK.search(text)

    # Environments

    def environment(self):
        """An empty environment, the release's own."""
        mine = "%s/%s" % (self.environments, self.number)
        shutil.rmtree(mine, ignore_errors=True)
        if os.path.exists(mine + ".made"):
            os.remove(mine + ".made")
        os.mkdir(mine, 0o755)
        shutil.chown(mine, "app", "app")
        self.serve_from(mine)
        self.must(as_app(60, "uv", "venv", "--allow-existing", "--python", self.python(), mine))

    def serve_from(self, environment):
        if os.path.islink(self.path + "/venv"):
            os.remove(self.path + "/venv")
        os.symlink(environment, self.path + "/venv")

    def venv(self):
        link = self.path + "/venv"
        return os.readlink(link) if os.path.islink(link) else None

    def is_own(self):
        return os.path.basename(self.venv()) == self.number

    def made(self):
        """Environments of finished installations, the newest first: the number and what is known of each."""
        found = glob.glob(self.environments + "/*.made")
        for path in sorted(found, key=lambda path: -int(os.path.basename(path)[:-5])):
            if time.time() - os.path.getmtime(path) < DAYS * 86400 and os.path.exists(path[:-5] + "/bin/python"):
                made = json.loads(read(path))
                if not made.get("broken"):
                    yield path[:-5], made

    def like_this(self, made_of):
        if re.search(r"^(?!\s*(?:$|#|--hash=|[A-Za-z0-9][^/@]*$))", "\n".join(made_of), re.M):
            # What a path, a URL or an included file leads to may have changed.
            return None, None
        return next(((path, made) for path, made in self.made() if made["of"] == made_of), (None, None))

    def installed(self):
        """The distributions in the environment and their versions."""
        found = glob.glob(self.venv() + "/lib/python3*/site-packages/*.dist-info")
        pairs = (os.path.basename(path)[:-10].partition("-") for path in found)
        return {normal(name): version for name, _, version in pairs}

    def must(self, ended):
        if ended[0]:
            sys.exit(ended[0])

    def uv(self, *options, where="/", seconds=None):
        """Installs; what the network did not give is asked for again."""
        python = self.venv() + "/bin/python"
        for wait in (3, 8, 0):
            code, text = as_app(
                min(seconds or MINUTES * 60, self.left()), "uv", "pip", "install", "--python", python, *options, where=where)
            if code == 0 or not wait or self.left() < 60 or not NETWORK.search(text):
                return code, text
            say("The package index did not answer well; asking again in %d seconds." % wait)
            time.sleep(wait)

    def basics(self):
        """The golden image brings them along, so that no index need be asked."""
        wanted = value("BASICS_LIST").split()
        if self.uv("--offline", *wanted, seconds=60)[0]:
            self.must(self.uv(*wanted, seconds=300))

    # What is installed

    def lines(self):
        """What the project asks for, each as a line of a requirements file, and the directory that it is read in."""
        django = value("DJANGO")
        if re.match(r"\d+\.\d+\.\d+", django):
            django = "Django==" + django
        elif django:
            django = "Django==%s.*" % django if django[0].isdigit() else "Django" + django
        project = "%s/%s" % (self.repo, value("PROJECT"))
        if value("UV_LOCK"):
            file, where = self.exported()
        elif value("LIST"):
            file, where = self.path + "/listed", project
        elif value("REQUIREMENTS"):
            file = "%s/%s" % (self.repo, value("REQUIREMENTS"))
            where = os.path.dirname(file)
        else:
            django = django or value("DJANGO_LTS")
            say("No dependencies are declared: installing %s." % django)
            return [django], project
        lines = self.requirements(file, where)
        if django and not value("NAMES_DJANGO") and not any(name_of(line) == DJANGO for line in lines):
            lines.append(django)
        return lines, where

    def requirements(self, file, where):
        root = self.repo if file.startswith(self.repo + "/") else self.path
        command = ["timeout", "60", SYSTEM, "-IS", LIB + "/run.py", SYSTEM, "-IS", LIB + "/requirements.py", file, root, where]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(done.returncode)
        found = json.loads(done.stdout)
        for warning in found["warnings"]:
            self.tell("warning", warning)
        lines, names = found["lines"], found["names"]
        if names:
            needed = [name for name in names if name_of(name) == DJANGO or self.sources.needs(name_of(name))]
            self.tell("warning", "The requirements name %d files of the computer that wrote them. %s" % (
                len(names), "Of these, from the package index: %s." % ", ".join(needed) if needed else "None is needed here."))
            lines += needed
        return lines

    def exported(self):
        """The lock's packages for a server, as a requirements file."""
        lock = "%s/%s" % (self.repo, value("UV_LOCK"))
        where, file = os.path.dirname(lock), self.path + "/exported"
        export = ["uv", "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project", "--no-editable",
                  "--no-hashes", "--no-annotate", "--no-header"]
        for more in ((), ("--all-packages",), ("--all-extras",)):
            code, text = as_app(120, *export, *more, where=where, show=False)
            if code:
                say(text)
                sys.exit(code)
            # In a workspace the root need not be what asks for Django.
            if re.search(r"^django(?:\[|==|$)", text, re.I | re.M):
                break
        put(file, text)
        return file, where

    def try_wish(self, wish):
        """One try to install all that is wished."""
        for name, lines in wish.files().items():
            put("%s/%s" % (self.path, name), "".join(line + "\n" for line in lines))
        return self.uv(*wish.options(self.path), where=wish.where)

    def install(self, wish):
        """Installs, and repairs what does not go; 0, or the code and the words of the first failure."""
        code, text = first = self.try_wish(wish)
        for _ in range(TRIES):
            if code == 0 or self.left() < 30 or NETWORK.search(text) and "Failed to build" not in text:
                break
            if not wish.after(text):
                code = self.as_of_the_commit(wish)
                break
            say("That does not go: trying otherwise.")
            code, text = self.try_wish(wish)
        if code and text is not first[1]:
            say("\nNothing that was tried instead helped. What came of the project's own list:\n" + first[1])
        if code:
            self.explain(first[1])
        return code

    def as_of_the_commit(self, wish):
        """The last resort: everything as the index had it when the commit was made."""
        if not value("COMMITTED") or wish.before:
            return 1
        say("Trying everything as it was on the package index at the commit's date, %s." % value("COMMITTED"))
        wish.before, wish.overrides, wish.wheels, wish.rungs = value("COMMITTED"), {}, [], {}
        kept = {name: reason for name, reason in wish.reasons.items() if reason[0] in ("replaced", "dropped", "absent") and name in wish.excludes}
        wish.reasons = kept | {"date": "The newest packages do not go with this project: all that it does not pin is as of "
                                       "its commit's date, %s." % value("COMMITTED")[:10]}
        code, text = self.try_wish(wish)
        for _ in range(6):
            if code == 0 or self.left() < 30 or not wish.after(text):
                break
            code, text = self.try_wish(wish)
        return code

    def explain(self, text):
        """A sentence on what no repair can change."""
        refused = re.search(r"does not satisfy Python(\S+) and (?:all of: )?django\S* depends", re.sub(r"\s+", " ", text))
        if refused:
            wish = value("PYTHON").split()
            say("This release of Django needs Python %s, and this machine has %s.%s" % (
                refused[1].rstrip(","), self.series(),
                " Python %s could not be downloaded." % " or ".join(wish) if wish else ""))

    def finished(self, wish, made_of, broken=False):
        """Tells what was repaired and remembers the environment; a broken one is nobody else's."""
        installed = self.installed()
        for sentence in wish.sentences(installed):
            self.tell("repaired", sentence)
        say("%d packages: %s" % (len(installed), ", ".join("%s %s" % pair for pair in sorted(installed.items()))))
        known = {"of": made_of, "wish": wish.saved(), "told": self.told, "broken": broken}
        put("%s/%s.made" % (self.environments, self.number), json.dumps(known))

    # The steps

    def dependencies(self):
        lines, where = self.lines()
        python = self.python()
        version = python if python != SYSTEM else sys.version
        made_of = [version.replace("\n", " ").replace("/", "|"), *value("BASICS_LIST").split(), *lines]
        put(self.path + "/asked", json.dumps({"lines": lines, "where": where, "of": made_of}))
        if not self.venv():
            made, known = self.like_this(made_of)
            if made:
                self.serve_from(made)
                say("The dependencies are those of a deployment before: its environment serves this one too.")
                for line in known["told"]:
                    self.tell(*line.rstrip("\n").split(" ", 1))
                return
            self.environment()
            self.basics()
        wish = Wish(lines, where, self.sources, self.series())
        if self.install(wish):
            sys.exit(1)
        self.finished(wish, made_of)

    def wish(self):
        """What was wished for the environment that the release has."""
        asked = json.loads(read(self.path + "/asked"))
        known = json.loads(read(self.venv() + ".made"))
        self.told = known["told"]
        return Wish(asked["lines"], asked["where"], self.sources, self.series(), known["wish"]), asked["of"]

    def loading(self):
        """Repairs until the project loads and its own checks find nothing missing; fails where nothing was changed."""
        self.end = time.monotonic() + LOADING_MINUTES * 60
        wish, made_of = self.wish()
        changed, code, seen = False, 1, set()
        for _ in range(LOADINGS):
            code, text = as_app(
                min(240, self.left()), "python", "-m", "django", "check", show=False, release=self.number)
            if code == 0:
                break
            step = cure(text, self.venv(), self.sources)
            if step is None or step in seen or self.left() < 30:
                break
            seen.add(step)
            if not self.repair(wish, *step):
                # What was printed meanwhile is not why.
                say("\n" + text.strip()[-TOLD:])
                break
            changed = True
        if not changed:
            sys.exit(1)
        self.finished(wish, made_of, broken=code != 0)

    def driver(self, server, *packages):
        """Brings what speaks to a database server, where nothing that the project asks for does."""
        self.end = time.monotonic() + LOADING_MINUTES * 60
        wish, made_of = self.wish()
        why = "nothing that the project asks for speaks to " + server
        if not any(self.repair(wish, "missing", package, why) for package in packages):
            sys.exit(1)
        self.finished(wish, made_of)

    def own_environment(self, wish):
        """What an earlier release serves from is not changed: the release gets its own."""
        if self.is_own():
            return True
        self.environment()
        self.basics()
        return self.try_wish(wish)[0] == 0

    def repair(self, wish, kind, what, why):
        """One change to what is installed, told; whether it went well."""
        whose = {"broken": what, "another": name_of(what)}.get(kind, "")
        say("The project does not load: %s." % ("%s %s" % (whose, why)).strip())
        if kind in ("old", "another"):
            return kind == "another" and self.another(wish, what, why) or self.settled_otherwise(wish) or self.of_its_time(wish)
        if not self.own_environment(wish):
            return False
        if kind == "broken":
            changed = wish.newer(what, self.installed().get(what, ""), why)
            if what in wish.excludes:
                # Both have the same files: what is installed would take the other's with it.
                self.environment()
                self.basics()
            while changed and self.left() > 30:
                code, text = self.try_wish(wish)
                if code == 0:
                    return True
                changed = wish.after(text)
            return False
        for tight in (True, False):
            held = self.installed() if tight else {DJANGO: self.installed().get(DJANGO, "")}
            held.pop(name_of(what), None)
            put(self.path + "/held.txt", "".join("%s==%s\n" % pair for pair in sorted(held.items()) if pair[1]))
            if self.uv(what, "-c", self.path + "/held.txt", seconds=300)[0] == 0:
                wish.extra.append(what)
                wish.reasons["added " + what] = ["added", what, why, name_of(what)]
                return True
        return False

    def settled_otherwise(self, wish):
        """The other way to settle a conflict, where there was one."""
        if not any(reason[0] == "settled" for reason in wish.reasons.values()):
            return False
        return self.otherwise(wish, lambda: 0 if wish.settle_otherwise() and self.try_wish(wish)[0] == 0 else 1)

    def of_its_time(self, wish):
        """All as of the commit's date, where that is another set at all."""
        if not value("COMMITTED") or wish.before:
            return False
        return self.otherwise(wish, lambda: self.as_of_the_commit(wish))

    def another(self, wish, what, why):
        """Another release of a package, and of the rest what goes with it."""
        name = name_of(what)
        asked, newer = wish.direct(name) or "", what.startswith(name + ">=")
        if "==" in asked and not newer:
            # The project says which release it was written for.
            return False
        shown = ("%s %s" % (name, self.installed().get(name, ""))).strip()

        def change():
            wish.reasons[name] = ["replaced", shown, why, name]
            if newer and re.search("[<=~]", asked):
                wish.overrides[name] = wish.named(name) + what[len(name):]
            else:
                wish.constraints.append(what)
            return self.install(wish)

        return self.otherwise(wish, change)

    def otherwise(self, wish, change):
        """Installs afresh by a change of the wish, which gives a code; where that is no other set, all is put back."""
        before, kept = self.installed(), {name: deepcopy(value) for name, value in vars(wish).items() if name != "sources"}
        old, made, own = self.venv(), read(self.venv() + ".made"), self.is_own()
        aside = "%s/%s.aside" % (self.environments, self.number)
        shutil.rmtree(aside, ignore_errors=True)
        if own:
            # What is in it finds itself by the path that it comes back to.
            os.rename(old, aside)
        try:
            self.environment()
            self.basics()
            if change() == 0 and self.installed() != before:
                return True
            say("That is no other set of packages, or it does not go.")
            vars(wish).update(kept)
            if own:
                shutil.rmtree(old)
                os.rename(aside, old)
                put(old + ".made", made)
            else:
                shutil.rmtree(self.venv())
                self.serve_from(old)
            return False
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def main(verb):
    release = Release()
    steps = {
        "dependencies": release.dependencies,
        "loading": release.loading,
        "postgresql": lambda: release.driver("PostgreSQL", "psycopg2-binary"),
        "mysql": lambda: release.driver("MySQL", "mysqlclient", "PyMySQL"),
    }
    try:
        if verb == "environment":
            release.choose_python()
            if next(release.made(), None):
                say("Which Python environment is right depends on the dependencies.")
            else:
                release.environment()
        elif verb == "gunicorn":
            if release.venv():
                release.basics()
            else:
                say("%s is in every environment of this machine." % value("BASICS_LIST").split()[0])
        else:
            steps[verb]()
    except Full:
        sys.exit("The disk is full: less than %d MB would be left for the project. A larger machine, or fewer and "
                 "smaller packages, would do." % (FREE >> 20))


if __name__ == "__main__":
    main(sys.argv[1])
