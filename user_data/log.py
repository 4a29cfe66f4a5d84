"""Writes a log: marks as they are, everything else so that it cannot pass for one.

Reads standard input, whose first line is a secret. Wherever the secret comes, the rest of that line is a
mark, or `end`. Anything else is output of programs: a line that starts with `::ec` is indented, and an
unfinished line is ended before a mark. What comes is written at once.
"""

import os
import select
import sys
import time

HEAD = 8 << 20  # Bytes of a log that are kept whole, half of what the site takes; after them only
TAIL = 128 << 10  # so many before each mark, so that marks and the reason of a failure always arrive.
CONSOLE = 3  # Seconds that a console may take for a mark: a serial line is slow, one that nobody reads stands still.


def console(line):
    """Marks also go to the machine's console, which the cloud keeps for when nothing else is heard.

    Others write there too. A mark begins a line whatever they left unfinished; the last one, by which a bake is
    known to be good, comes twice, since the kernel may speak in the middle of it.
    """
    data = b"\n" + line * (2 if line == b"::ec done\n" else 1)
    end = time.monotonic() + CONSOLE
    try:
        fd = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            while data and time.monotonic() < end:
                try:
                    data = data[os.write(fd, data):]
                except BlockingIOError:
                    select.select([], [fd], [], 0.1)
        finally:
            os.close(fd)
    except OSError:
        pass


class Log:
    def __init__(self, path):
        self.file = open(path, "ab", buffering=0)
        self.size = self.file.tell()
        self.fresh = True  # at the start of a line
        self.tail = b""
        self.dropped = 0

    def write(self, data):
        while data:  # a full disk must not stop the deployment's clean-up
            try:
                data = data[self.file.write(data):]
            except OSError:
                return

    def text(self, data):
        if not data:
            return
        if self.fresh and data.startswith(b"::ec"):
            data = b" " + data
        data = data.replace(b"\n::ec", b"\n ::ec")
        self.fresh = data.endswith(b"\n")
        if self.size < HEAD:
            self.size += len(data)
            self.write(data)
        else:
            self.tail += data
            if len(self.tail) > 2 * TAIL:
                self.dropped += len(self.tail) - TAIL
                self.tail = self.tail[-TAIL:]

    def mark(self, line):
        if self.dropped:
            first, _, rest = self.tail.partition(b"\n")
            if rest:
                self.dropped, self.tail = self.dropped + len(first) + 1, rest
            self.write(b"\n[%d bytes left out here]\n" % self.dropped)
        if not self.fresh:
            self.tail += b"\n"
        self.write(self.tail + line + b"\n")
        self.tail, self.dropped, self.fresh = b"", 0, True
        console(line + b"\n")

    def held(self, data, secret):
        """How many last bytes may be the start of the secret or of a line to indent: they wait for the next."""
        for n in range(min(len(secret) - 1, len(data)), 0, -1):
            if secret.startswith(data[-n:]):
                return n
        line = data[data.rfind(b"\n") + 1:]
        if len(line) < 4 and b"::ec".startswith(line) and (self.fresh or b"\n" in data):
            return len(line)
        return 0


def main():
    log, data, secret = Log(sys.argv[1]), b"", None
    while True:
        piece = os.read(0, 65536)
        data += piece
        if secret is None:
            if b"\n" not in data:
                if piece:
                    continue
                return
            secret, _, data = data.partition(b"\n")
        while secret in data:
            before, _, after = data.partition(secret)
            if b"\n" not in after:
                break
            line, _, data = after.partition(b"\n")
            log.text(before)
            if line == b"end":
                return
            log.mark(line)
        else:
            keep = log.held(data, secret) if piece else 0
            log.text(data[:len(data) - keep])
            data = data[len(data) - keep:]
        if not piece:
            log.text(data.replace(secret, b""))
            return


main()
