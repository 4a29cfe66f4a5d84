"""What is to be changed about an environment for a project to load in it, told from what Django says."""

import glob
import os
import re
import sys

from repair import HEADLESS
from sources import normal, text_of

MISSING = re.compile(r"No module named '?([A-Za-z_]\w*)((?:\.\w+)*)'?")
FRAME = re.compile(r'^\s*File "([^"]+)", line \d+', re.M)
PLACE = re.compile(r"/site-packages/([A-Za-z_]\w*)")
NAME = re.compile(r"cannot import name '?(\w+)'? from (?:partially initialized module )?'([\w.]+)'")
# What earlier Pythons had, and these have no more.
GONE = {"asynchat", "asyncore", "cgi", "distutils", "imp", "pipes", "smtpd", "telnetlib"}
# A program of another Python's: it builds, and it does not load.
BINARY = re.compile(r"undefined symbol|initialization of \w+ (?:raised|failed)|[^\s']+\.so: ")
# What Django took away, and the first series without it. <https://docs.djangoproject.com/en/dev/internals/deprecation/>
TAKEN_AWAY = (
    ("3", r"No module named '(django\.utils\.(?:six|lru_cache)|django\.contrib\.staticfiles\.templatetags)"),
    ("3", r"cannot import name '(six|lru_cache|python_2_unicode_compatible|render_to_response|available_attrs|curry)' from 'django\.(?:utils|shortcuts)"),
    ("4", r"cannot import name '(url)' from 'django\.conf\.urls'|cannot import name '(u(?:n|p|np)?gettext\w*)' from 'django\."),
    ("4", r"cannot import name '(force_text|smart_text|urlquote\w*|urlunquote\w*|is_safe_url|NullBooleanField)' from 'django\."),
    ("4", r"unexpected keyword argument '(providing_args)'"),
    ("5", r"cannot import name '(utc)' from 'django\.utils\.timezone'"),
    ("5.1", r"cannot import name '(get_storage_class)' from 'django\.|invalid attribute\(s\): (index_together)"),
    ("6", r"CheckConstraint.*unexpected keyword argument '(check)'"),
)
# The oldest Django that runs on the Pythons since 3.10, and is nearest to those before it.
OLDEST = (2, 2)
# A library of the system's that is not here: no release of a package brings it.
LIBRARY = re.compile(r"\.so[.\d]*: cannot open shared object|cannot load library|failed to find libmagic")
# Errors that code has with packages of another time than its own.
OF_ANOTHER_TIME = ("ImportError", "ModuleNotFoundError", "AttributeError", "TypeError", "SyntaxError", "NameError")
LAST = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Configured|Interrupt|Warning|Exit))\b:?(.*)", re.M)


def brought(venv, module):
    """Whether the environment has a top-level module."""
    for end in ("", ".py", ".*.so"):
        if glob.glob("%s/lib/python3*/site-packages/%s%s" % (venv, glob.escape(module), end)):
            return True
    return False


def owner(venv, module):
    """The distribution that brought a top-level module, or None."""
    for record in glob.glob(venv + "/lib/python3*/site-packages/*.dist-info/RECORD"):
        # The environment is the app user's: no link is followed out of it, and nothing is waited for.
        if re.search(r"^%s(?:/|\.)" % re.escape(module), text_of(record), re.M):
            return normal(os.path.basename(os.path.dirname(record)).partition("-")[0])
    return None


def django(venv):
    """Django's version in the environment and that of its Python, as numbers."""
    found = glob.glob(venv + "/lib/python3*/site-packages/[Dd]jango-*.dist-info")
    return [tuple(int(part) for part in re.findall(r"\d+", re.search(pattern, found[0])[1])[:2])
            for pattern in (r"-([\d.]+)[^/]*$", r"/python([\d.]+)/")] if found else None


def other_django(text, venv):
    """The release of Django that a project needs in place of its own choice, where what it says tells; or None."""
    version, python = django(venv) or ((0,), (0,))
    packaged = "/site-packages/" in (FRAME.findall(text) or [""])[-1]
    for before, pattern in TAKEN_AWAY:
        found = re.search(pattern, text)
        if found and version >= tuple(int(part) for part in before.split(".")):
            what = next(group for group in found.groups() if group)
            return "another", "django<" + before, "does not have %s any more, which %s" % (
                what.split(".")[-1], "a package of the project's uses" if packaged else "the project uses")
    frame = (FRAME.findall(text) or [""])[-1]
    wrong = (LAST.findall(text) or [("", "")])[-1][0] in OF_ANOTHER_TIME
    if wrong and (0,) < version < OLDEST and python >= (3, 10) and "/site-packages/django/" in frame:
        return "another", "django>=2.2,<2.3", "does not run on Python %d.%d" % python
    return None


def cure(text, venv, sources):
    """What to change: `missing` or `another` and a requirement, `broken` and a distribution, or `old` and nothing, with the
    reason as a part of a sentence; None where no package is the cause."""
    if "Pillow is not installed" in text:
        return "missing", sources.known["PIL"], "its image fields need it"
    frames = FRAME.findall(text)
    errors = LAST.findall(text)
    last, message = errors[-1] if errors else ("", "")
    if BINARY.search(message) or BINARY.search(text.strip().rsplit("\n", 1)[-1]):
        places = PLACE.findall(message) or PLACE.findall(frames[-1] if frames else "")
        name = owner(venv, places[0]) if places else None
        if name:
            return "broken", name, "was built here and does not load"
    other = other_django(text, venv)
    if other:
        return other
    if LIBRARY.search(text):
        drawing = owner(venv, "cv2") if "libGL.so" in text else None
        return ("broken", drawing, "draws windows, and there is no screen") if drawing in HEADLESS else None
    missing = MISSING.findall(text)
    if missing:
        module, rest = missing[-1]
        # Several packages share a namespace: what is missing may be one of them.
        words = (module + rest).split(".")
        for n in range(len(words), 1, -1):
            part = sources.known.get(".".join(words[:n]))
            if part and not brought(venv, "/".join(words[:n])):
                return "missing", part, "nothing that the project asks for brings %s" % ".".join(words[:n])
        if module in GONE:
            return "old", "", "%s was a part of Python until some years ago" % module
        if not brought(venv, module) and module not in sys.stdlib_module_names:
            found = sources.distribution(module)
            if found:
                who = "the project names" if sources.names(module) else "its packages need"
                return "missing", found, "%s %s, and nothing that it asks for brings it" % (who, module)
            return None
        if rest:
            return "old", "", "%s%s is in another release of its package" % (module, rest)
    wrong = NAME.search(message) or NAME.search(text)
    if wrong and last in OF_ANOTHER_TIME and brought(venv, wrong[2].partition(".")[0]):
        return "old", "", "%s is in another release of %s" % (wrong[1], wrong[2].partition(".")[0])
    if last in OF_ANOTHER_TIME and frames and PLACE.search(frames[-1]):
        return "old", "", "%s in %s:%s" % (last, PLACE.search(frames[-1])[1], message[:100])
    return None
