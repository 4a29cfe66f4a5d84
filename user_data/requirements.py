"""Reads a requirements file as one list of lines, the files that it includes in their places, and leaves out what
only the computer that wrote it has: `requirements.py FILE ROOT DIRECTORY` prints JSON of `lines`, `warnings` and `names`.

ROOT is what nothing may lead out of, DIRECTORY where local paths of FILE begin besides. `names` are packages that FILE has
as files of another computer, as conda writes them: each as a requirement, for whoever knows whether it is needed.
"""

import codecs
import json
import os
import re
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from sources import normal

INCLUDE = re.compile(r"(?:-r|--requirement)(?:\s*=\s*|\s*)(\S+)$")
CONSTRAINT = re.compile(r"(?:-c|--constraint)(?:\s*=\s*|\s*)(\S+)$")
EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)(\S+)$")
# Options that `uv pip install` takes in a file.
OPTION = re.compile(r"(?:-i|-f|--index-url|--extra-index-url|--find-links|--no-index|--no-binary|--only-binary)\b")
NAME = r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?"
ELSEWHERE = re.compile(NAME + r"\s*@\s*(?:file:)(\S*)")
VERSION = r"\s*(?:===?|~=|!=|<=?|>=?)\s*[^\s,;()<>=~!]+\s*"
REQUIREMENT = re.compile(NAME + r"\s*(?:@\s*\S+|\(?(?:%s(?:,%s)*,?)?\)?)\s*(?:;.*)?$" % (VERSION, VERSION))
CONDA = re.compile(NAME + r"=([0-9][^\s=;]*)(?:=\S*)?$")  # What `conda list --export` writes.
HASHES = re.compile(r"(?:\s+--hash[=\s]\S+)+\s*$")
COMMENT = re.compile(r"(?:^|\s)#.*$")
MERGE = re.compile(r"(?:<{7}|={7}|>{7}|\|{7})(?:\s|$)")
PATH = re.compile(r"(?:\.{0,2}/|\.{1,2}$|[\w.-]+/|file:)|\S+\.(?:whl|zip|tar\.\w+|tgz)$")
# They exist on Windows or a Mac alone and have nothing for Linux, or are the system's own and on no index.
ELSEWHERE_ONLY = set(
    "pywin32 pypiwin32 pywinpty windows-curses twisted-iocpsupport wmi pyobjc pyobjc-core pyobjc-framework-cocoa "
    "python-apt ubuntu-advantage-tools ubuntu-drivers-common command-not-found language-selector "
    "unattended-upgrades ufw".split()
)
LONGEST = 200  # Characters of a line that are told.
LINES = 5000
BYTES = 2 << 20


def decode(data):
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:64]:
        return data.decode("utf-16-be" if data.startswith(b"\0") else "utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class List:
    def __init__(self, root, directory):
        self.root, self.directory = os.path.realpath(root), directory
        self.lines, self.warnings, self.names = [], [], []
        self.seen, self.left_out = set(), []

    def inside(self, path):
        path = os.path.realpath(path)
        return path if (path + os.sep).startswith(self.root + os.sep) else None

    def text(self, path):
        inside = self.inside(path)
        if not inside:
            sys.exit("%s is outside the repository." % path)
        if not os.path.isfile(inside):
            self.warnings.append("%s is included and not in the repository." % os.path.relpath(path, self.root))
            return ""
        with open(inside, "rb") as file:
            data = file.read(BYTES + 1)
        if len(data) > BYTES:
            sys.exit("%s is larger than 2 MB: that is no requirements file." % os.path.relpath(path, self.root))
        return decode(data)

    def read(self, path, constraints=False):
        """Takes a file's lines; those of constraints go to a file of their own."""
        path = os.path.normpath(path)
        if (path, constraints) in self.seen:
            return
        self.seen.add((path, constraints))
        here = os.path.dirname(path)
        # A line that ends with a backslash goes on in the next.
        for line in re.sub(r"\\\r?\n", " ", self.text(path)).splitlines():
            line = COMMENT.sub("", line.replace("\0", "")).strip()
            if line and len(self.lines) < LINES:
                self.take(line, here, constraints)

    def take(self, line, here, constraints):
        included, constrained, editable = INCLUDE.match(line), CONSTRAINT.match(line), EDITABLE.match(line)
        if MERGE.match(line):
            self.left_out.append((line, "marks of a merge that was not finished"))
        elif included and "://" not in included[1]:
            self.read(os.path.join(here, included[1]), constraints)
        elif constrained and "://" not in constrained[1]:
            self.read(os.path.join(here, constrained[1]), True)
        elif editable:
            self.local(editable[1], "-e ", line, here)
        elif line.startswith("-"):
            if OPTION.match(line):
                self.lines.append(line)
            else:
                print("Not used here: %s" % line[:LONGEST], file=sys.stderr)
        elif ELSEWHERE.match(line):
            self.elsewhere(ELSEWHERE.match(line))
        elif PATH.match(line) and "://" not in line.replace("file://", ""):
            self.local(line, "", line, here)
        else:
            self.package(line, constraints)

    def elsewhere(self, match):
        """A file of the computer that wrote this: its version, where the file's name tells it."""
        version = re.match(r"[\w.]+-(\d[\w.]*)-", match[3].rpartition("/")[2])
        self.names.append(match[1] + (match[2] or "") + ("==" + version[1] if version else ""))

    def package(self, line, constraints):
        bare = HASHES.sub("", line)
        conda = CONDA.match(bare)
        if conda:
            line = bare = "%s==%s" % (conda[1], conda[3])
        match = REQUIREMENT.match(bare)
        if not match:
            known = re.match(r"(?:git|hg|svn|bzr)\+\S+$|https?://\S+$", bare)
            if known:
                self.lines.append(line)
            else:
                self.left_out.append((line, "no names of packages"))
        elif normal(match[1]) in ELSEWHERE_ONLY:
            self.left_out.append((match[1], "packages for another system than Linux, or of its own"))
        elif normal(match[1]) == "pkg-resources":
            print("Left out: %s, which Debian writes by mistake." % line[:LONGEST], file=sys.stderr)
        elif constraints:
            self.lines.append("-c " + bare)
        else:
            self.lines.append(line)

    def local(self, target, option, line, here):
        """A package of the repository itself; what is elsewhere, or no package, is left out."""
        path = re.sub(r"^file:(?://)?", "", target).partition("#")[0]
        path, bracket, extras = path.partition("[")
        if "://" in path:
            self.lines.append(line)
            return
        for start in (here, self.directory, self.root):
            found = self.inside(os.path.join(start, path))
            if not found:
                continue
            if os.path.isfile(found) or any(os.path.isfile(os.path.join(found, n)) for n in ("pyproject.toml", "setup.py")):
                self.lines.append(option + found + bracket + extras)
                return
        self.left_out.append((line, "packages that are not in the repository"))

    def told(self):
        """The warnings, with one for each reason why lines were left out."""
        reasons = {}
        for line, why in self.left_out:
            reasons.setdefault(why, []).append(line[:60])
        for why, lines in reasons.items():
            shown = ", ".join(lines[:6]) + (" and %d more" % (len(lines) - 6) if len(lines) > 6 else "")
            self.warnings.append("Left out of the requirements, as %s: %s." % (why, shown))
        return self.warnings


def main(path, root, directory):
    found = List(root, directory)
    try:
        found.read(path)
    except OSError as error:
        sys.exit("A requirements file cannot be read: %s" % error)
    json.dump({"lines": found.lines, "warnings": found.told(), "names": found.names}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
