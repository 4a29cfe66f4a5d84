"""Commands that run as the user app, and what they may need of the machine."""

import os
import selectors
import subprocess
import sys
import time

APP = "/srv/app"
LIB = os.path.dirname(os.path.abspath(__file__))
SYSTEM = "/usr/bin/python3"
FREE = 500 << 20  # Bytes that an installation leaves on the disk.
HEAD, TAIL = 128 << 10, 256 << 10  # Bytes of a command's output that are looked at.


# The disk is full.
class Full(Exception):
    pass


def value(name):
    return os.environ.get("EC_" + name, "")


def say(text):
    print(text, flush=True)


def put(path, text):
    """Writes a file whole or not at all."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def free():
    found = os.statvfs(APP)
    return found.f_bavail * found.f_frsize


def as_app(seconds, *command, where="/", show=True, release=None):
    """Runs a command as the user app and gives its code and its output, which is shown as it comes."""
    of = ["--release", release] if release else []
    seconds = max(1, int(seconds))
    started = time.monotonic()
    process = subprocess.Popen(
        ["timeout", "-k", "10", str(seconds), SYSTEM, "-IS", LIB + "/run.py", *of, *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=where,
    )
    head, tail, full = b"", b"", False
    waiting = selectors.DefaultSelector()
    waiting.register(process.stdout, selectors.EVENT_READ)
    while True:
        piece = b""
        if waiting.select(0.5):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
        elif process.poll() is not None:
            break  # Something that was left behind holds the pipe.
        if show:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        room = HEAD - len(head)
        head, tail = head + piece[:room], (tail + piece[room:])[-TAIL:] if len(piece) > room else tail
        if not full and free() < FREE:
            full = True
            process.terminate()
    code = process.wait()
    text = (head + tail).decode("utf-8", "replace")
    if full or "No space left on device" in text:
        raise Full()
    if code in (124, 137) and time.monotonic() - started >= seconds:
        say("It took longer than %d seconds." % seconds)
    elif code in (137, -9):
        say("The machine ran out of memory: the system killed what was running.")
        text += "\nKilled"
    return code, text
