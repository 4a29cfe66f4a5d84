"""What is to be installed, and what to change about it where uv refuses: one package at a time, the least first.

It reads uv's messages and decides; install.py runs uv.
"""

import re

from sources import name_of, normal

# What tools of a later time say of a package that was written for earlier ones, and those that it was written for.
OLD_TOOLS = (
    ("use_2to3 is invalid", "setuptools<58"),
    ("cannot import name 'Feature' from 'setuptools'", "setuptools<46"),
    ("No module named 'pkg_resources'", "setuptools<81"),
    ("No module named 'setuptools.command.test'", "setuptools<72"),
    ("has no attribute 'cython_sources'", "Cython<3"),
    ("has no attribute 'SetuptoolsDeprecationWarning'", "setuptools<70"),
)
NETWORK = re.compile(
    r"error sending request|Failed to fetch|connection (?:closed|reset)|operation timed out|dns error|"
    r"50[0234] (?:Internal|Bad|Service|Gateway)|429 Too Many|error decoding response body|unexpected EOF", re.I
)
BUILD = re.compile(r"Failed to (?:download and )?build `([A-Za-z0-9._-]+)(?:==([^`\s]+))?(?: @ [^`]+)?`")
ABSENT = re.compile(r"Because (?:\S+ )?([A-Za-z0-9._-]+) was not found in the package registry|and ([A-Za-z0-9._-]+) was not found")
NO_VERSION = re.compile(r"there (?:is|are) no versions? of ([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?((?:[<>=!~]=?|,)[^\s,]\S*?)?,? (?:and|we)")
ONLY = re.compile(r"only (?:the following versions of )?([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?(?:[<>=!]\S*)? (?:is|are) available")
PYTHON = re.compile(
    r"current Python version \(([\d.]+)\) does not satisfy Python(\S+) and (?:all of: )?"
    r"([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?((?:[<>=!]=?)\S+)? depends on Python"
)
WHEEL = re.compile(r"(?:all versions of )?([A-Za-z0-9._-]+?)((?:[<>=!]=?)\S+)? ha(?:s|ve) no (?:usable )?wheels")
DEPENDS = re.compile(r"([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?((?:[<>=!]=?)\S+)? depends on ([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?((?:[<>=!]=?)\S+)?[, ]")
TWICE = re.compile(r"you require ([A-Za-z0-9._-]+?)((?:[<>=!]=?)\S+) and \1((?:[<>=!]=?)\S+?),? ")
DJANGO = "django"
# Packages that draw windows, and the same without.
HEADLESS = {name: name + "-headless" for name in ("opencv-python", "opencv-contrib-python")}
BUILDING = re.compile(r"^\s*Building ([A-Za-z0-9._-]+)==(\S+)", re.M)
# They take minutes to build, and the old ones fail in the end: with the first failure of any package they are replaced too.
HEAVY = set(
    "cffi cryptography gevent grpcio h5py lxml matplotlib numpy opencv-python opencv-python-headless pandas pillow pyarrow "
    "scikit-image scikit-learn scipy shapely statsmodels".split()
)


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]


def same_major(version):
    """`>=` a version, and below the next major one."""
    major = (numbers(version) or [0])[0]
    return ">=%s,<%d" % (version.partition("+")[0], major + 1)


class Wish:
    """What is to be installed: the project's lines, and what repairs changed about them."""

    def __init__(self, lines, where, sources, python, saved=None):
        self.where, self.sources, self.python = where, sources, python
        self.constraints = [line[3:] for line in lines if line.startswith("-c ")]
        self.lines = [line for line in lines if not line.startswith("-c ")]
        self.extra, self.excludes, self.wheels, self.build = [], [], [], {}
        self.overrides, self.rungs, self.reasons, self.before = {}, {}, {}, None
        self.__dict__.update(saved or {})

    def saved(self):
        kept = ("lines", "constraints", "extra", "excludes", "wheels", "build", "overrides", "reasons", "before")
        return {name: getattr(self, name) for name in kept}

    def changed(self):
        """Whether anything is installed otherwise than the project asks."""
        return bool(self.excludes or self.wheels or self.build or self.overrides or self.before)

    def direct(self, name):
        """The project's own requirement of a package, or None."""
        for line in reversed(self.lines):
            if not line.startswith("-") and name_of(line) == name:
                return re.sub(r"\s+--hash.*", "", line)
        return None

    def named(self, name):
        """A package with the extras that the project asks for."""
        extras = re.match(r"[\w.-]+\s*(\[[^\]]*\])", self.direct(name) or "")
        return name + (extras[1] if extras else "")

    def after(self, text):
        """Changes the wish after a failure; whether there was something to change."""
        flat = re.sub(r"\s+", " ", text)
        built = BUILD.search(text)
        if built:
            changed = self.does_not_build(normal(built[1]), built[2] or "", flat)
            for name, version in BUILDING.findall(text) if changed else ():
                ready = re.search(r"^\s*Built %s==" % re.escape(name), text, re.M)
                if normal(name) in HEAVY and normal(name) not in self.rungs and not ready:
                    self.climb(normal(name), version, "has no build for Python %s" % self.python)
            return changed
        for pattern, change in ((ABSENT, self.absent), (PYTHON, self.wrong_python), (WHEEL, self.no_wheel),
                                (NO_VERSION, self.no_version), (ONLY, self.only), (TWICE, self.twice)):
            found = pattern.search(flat)
            if found and change(found):
                return True
        return self.conflict(flat)

    def does_not_build(self, name, version, flat):
        if "build-system.requires" in flat and self.build:
            # The tools of one package are not those of another.
            self.build = {}
        wanted = next((tools for said, tools in OLD_TOOLS if said in flat), None)
        if wanted and (name, wanted) not in self.rungs:
            self.rungs[name, wanted] = 1
            self.build[name_of(wanted)] = wanted
            self.reasons["build " + name] = "%s %s was built with %s: it was written for tools of that time." % (
                name, version, wanted)
            return True
        self.reasons.pop("build " + name, None)
        memory = re.search(r"signal: 9|Killed|MemoryError", flat)
        why = "needs more memory to build than there is" if memory else "does not build on Python %s" % self.python
        return self.climb(name, version, why)

    def climb(self, name, version, why):
        """Another release of a package alone: the nearest first; the package itself last."""
        if name == DJANGO:
            return False
        if name == "psycopg2":
            self.excludes.append(name)
            binary = "psycopg2-binary"
            self.extra.append("%s%s" % (binary, same_major(version) if version else ""))
            self.wheels.append(binary)
            self.reasons[name] = ["replaced", "psycopg2 %s" % version, why, binary]
            return True
        asked = self.named(name)
        ladder = [(asked + same_major(version), True), (asked + ">=" + version.partition("+")[0], False)] if version else []
        return self.next_rung(name, ladder + [(asked, True)], "%s %s" % (name, version), why)

    def newer(self, name, version, why):
        """A later release of a package that installs and does not load."""
        if name == "psycopg2":
            return self.climb(name, version, why)
        if name in HEADLESS:
            self.excludes.append(name)
            self.extra.append(HEADLESS[name] + same_major(version))
            self.reasons[name] = ["replaced", "%s %s" % (name, version), why, HEADLESS[name]]
            return True
        asked, later = self.named(name), same_major(version).replace(">=", ">")
        ladder = [(asked + later, True), (asked + ">" + version, True)]
        return name != DJANGO and self.next_rung(name, ladder, "%s %s" % (name, version), why)

    def next_rung(self, name, ladder, shown, why):
        # Of the steps that the first failure offers, each is taken once, whatever the next failure is.
        ladder = self.rungs.setdefault(name, [*ladder, None])
        if not ladder:
            return False
        rung = ladder.pop(0)
        # What was found out first is the reason; later failures are those of its replacements.
        first = self.reasons.get(name)
        shown, why = first[1:3] if first else (shown, why)
        if name in self.wheels:
            self.wheels.remove(name)
        if rung:
            self.overrides[name], wheels = rung
            if wheels:
                self.wheels.append(name)
            self.reasons[name] = ["replaced", shown.strip(), why, name]
            return True
        self.overrides.pop(name, None)
        if self.sources.needs(name):
            return False
        self.excludes.append(name)
        self.reasons[name] = ["dropped", shown.strip(), why, name]
        return True

    def absent(self, found):
        name = normal(found[1] or found[2])
        instead = self.sources.instead(name)
        if instead and name not in self.excludes:
            self.excludes.append(name)
            self.extra.append(instead)
            self.reasons[name] = ["replaced", name, "is not on the package index", name_of(instead)]
            return True
        if name in self.excludes:
            return False
        # Where the project does import it, loading says so.
        self.excludes.append(name)
        self.reasons[name] = ["absent", name, "is not on the package index", name]
        return True

    def wrong_python(self, found):
        name, wanted, version = normal(found[3]), found[2].rstrip(","), (found[4] or "").lstrip("=<>!").rstrip(",")
        if name == DJANGO:
            return False
        asked = self.named(name)
        ladder = [(asked, False)]
        if version and not re.search(r"[<>=,]", version):
            ladder.insert(0, (asked + ("<=" if ">" in wanted else ">=") + version, False))
        return self.next_rung(name, ladder, "%s %s" % (name, version), "needs Python %s" % wanted)

    def no_version(self, found):
        name, version = normal(found[1]), re.sub(r"^[<>=!~]+", "", found[2] or "").strip(",")
        return self.other_version(name, version)

    def only(self, found):
        return self.other_version(normal(found[1]), "")

    def other_version(self, name, version):
        asked, parts = self.named(name), numbers(version)
        exact = version and not re.search(r"[<>=,]", version)
        ladder = []
        if exact and len(parts) > 1:
            ladder.append(("%s==%d.%d.*" % (asked, parts[0], parts[1]), False))
        if name != DJANGO:
            if exact and parts:
                ladder.append((asked + same_major(str(parts[0])), False))
            ladder.append((asked, False))
        elif not ladder:
            return False
        shown = ("%s %s" % (name, version)).strip() if exact else self.direct(name) or name
        return self.next_rung(name, ladder, shown, "is not on the package index")

    def no_wheel(self, found):
        name = normal(found[1])
        if name == "psycopg2-binary" and "psycopg2" in self.reasons:
            mine = [line for line in self.extra if name_of(line) == name and line != name]
            for line in mine:
                self.extra[self.extra.index(line)] = name
            return bool(mine)
        version = (found[2] or "").lstrip("=<>!").split(",")[0]
        return self.climb(name, version, "has no files for Python %s" % self.python)

    def twice(self, found):
        name = normal(found[1])
        versions = sorted((found[2].strip(","), found[3].strip(",")), key=numbers)
        if name in self.overrides:
            return False
        self.overrides[name] = self.named(name) + versions[-1]
        self.reasons[name] = ["replaced", name, "is asked for twice, as %s and %s" % tuple(versions), name]
        return True

    def conflict(self, flat):
        """Two packages want different releases of a third: the project's own word on it holds, and else none."""
        pairs = [(normal(who), which or "", normal(what), spec or "") for who, which, what, spec in DEPENDS.findall(flat)]
        asked = [pair for pair in pairs if self.direct(pair[2])]
        for who, which, what, spec in asked + pairs:
            if what in self.overrides or what in self.excludes or what == "python":
                continue
            own = self.direct(what)
            self.overrides[what] = own or what
            self.reasons[what] = [
                "settled", "%s %s" % (who, which.lstrip("=")),
                "wants %s%s%s" % (what, spec.rstrip(","), ", the project asks for %s" % own if own else ""), what,
            ]
            return True
        return False

    def settle_otherwise(self):
        """Where two packages wanted different releases of a third: the other one's word, and not the project's own."""
        names = [name for name, reason in self.reasons.items() if reason[0] == "settled" and self.overrides.pop(name, None)]
        for name in names:
            self.lines = [
                self.named(name) if not line.startswith("-") and name_of(line) == name else line for line in self.lines
            ]
        return bool(names)

    def files(self):
        """The files that uv is given, as names and texts."""
        return {
            "wanted.txt": self.lines + self.extra, "constraints.txt": self.constraints,
            "overrides.txt": sorted(self.overrides.values()), "excludes.txt": sorted(set(self.excludes)),
            "build.txt": sorted(self.build.values()),
        }

    def options(self, directory):
        """What `uv pip install` is told."""
        options = ["-r", directory + "/wanted.txt"]
        for name, option in (("constraints", "-c"), ("overrides", "--overrides"), ("excludes", "--excludes"), ("build", "-b")):
            if self.files()[name + ".txt"]:
                options += [option, "%s/%s.txt" % (directory, name)]
        for name in self.wheels:
            options += ["--only-binary", name]
        if self.changed():
            options.append("--no-verify-hashes")
        if self.before:
            options += ["--exclude-newer", self.before]
            # Tools of that time do not run on a Python of today.
            for tool in ("setuptools", "wheel", "gunicorn"):
                options += ["--exclude-newer-package", tool + "=false"]
        return options

    def sentences(self, installed):
        """What was repaired, told with the versions that came of it."""
        found = []
        for reason in self.reasons.values():
            if isinstance(reason, str):
                found.append(reason)
                continue
            kind, shown, why, name = reason
            if kind == "added":
                found.append("%s %s is installed besides: %s." % (name, installed.get(name, ""), why))
            elif kind == "absent":
                found.append("%s %s, so it is left out." % (shown, why))
            elif kind == "dropped":
                found.append("%s %s; nothing in the project imports it, so it is left out." % (shown, why))
            elif kind == "settled" and name in installed:
                found.append("%s %s: %s %s is installed." % (shown, why, name, installed[name]))
            elif name in installed:
                found.append("%s %s; %s %s is used instead." % (shown, why, name, installed[name]))
            else:
                found.append("%s %s; it is not needed here." % (shown, why))
        return found
