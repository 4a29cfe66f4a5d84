"""Prints a requirements file as one UTF-8 text, the files that it includes in their places:
`requirements.py FILE ROOT`. PowerShell writes UTF-16, some editors a byte-order mark.
"""

import codecs
import os
import re
import sys

INCLUDE = re.compile(r"\s*(?:-r|--requirement)(?:\s*=\s*|\s*)(\S+)\s*(?:#.*)?$")
CONSTRAINT = re.compile(r"\s*(?:-c|--constraint)(?:\s*=\s*|\s*)(\S+)\s*(?:#.*)?$")


def decode(data):
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:64]:
        return data.decode("utf-16-be" if data.startswith(b"\0") else "utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def lines(path, root, seen):
    path = os.path.realpath(path)
    if path in seen:
        return
    if not path.startswith(os.path.realpath(root) + os.sep):
        sys.exit("%s is outside the repository." % path)
    seen.add(path)
    with open(path, "rb") as file:
        text = decode(file.read())
    for line in text.splitlines():
        included = INCLUDE.match(line)
        constrained = CONSTRAINT.match(line)
        if included:
            yield from lines(os.path.join(os.path.dirname(path), included[1]), root, seen)
        elif constrained and "://" not in constrained[1]:
            yield "-c " + os.path.join(os.path.dirname(path), constrained[1])
        else:
            yield line


try:
    print("\n".join(lines(sys.argv[1], sys.argv[2], set())))
except OSError as error:
    sys.exit("A requirements file cannot be read: %s" % error)
