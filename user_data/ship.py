"""Ships deploy logs to the site, each from where the site has it, until each has ended and all of it is there.

/var/lib/ec-deployer/ship/ID names a log to ship: the deployment's URL, its token and the boot it began in, a line
each, and `ended` as the fourth when the script has written its last byte. It is removed when nothing is left to do.
"""

import http.client
import os
import ssl
import time
from urllib.parse import urlsplit

PENDING = "/var/lib/ec-deployer/ship/"
LOG = "/var/log/ec-deployer/deploy-%s.log"
BODY = 256 << 10  # The site's limit for one request.
LOOK = 0.1  # Seconds between looks at a log: what a person watching does not notice.
REFUSED = 60  # Seconds until a refused log is tried again: only a change at the site can help.
GIVE_UP = 24 * 3600  # Seconds without a new byte after which a log is not worth keeping the site asked for.

with open("/proc/sys/kernel/random/boot_id") as _file:
    BOOT = _file.read().strip()


class Shipment:
    def __init__(self, name):
        self.name, self.path = name, LOG % name
        self.offset, self.pause, self.due, self.line = 0, 0.25, 0.0, None

    def ended(self, words):
        """Whether nothing more will be written: the script said so, or its machine was restarted since."""
        return words[3:4] == ["ended"] or words[2] != BOOT

    def later(self, seconds):
        self.due = time.monotonic() + seconds
        if self.line:
            self.line.close()
        self.line = None

    def send(self, url, token, data):
        """One request; returns the status and the site's offset."""
        parts = urlsplit(url)
        if self.line is None:
            if parts.scheme == "https":
                self.line = http.client.HTTPSConnection(
                    parts.hostname, parts.port, timeout=30, context=ssl.create_default_context())
            else:
                self.line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self.line.request("PATCH", parts.path + "/log", data, {
            "Authorization": "Bearer " + token,
            "Upload-Offset": str(self.offset),
            "Content-Type": "application/octet-stream",
        })
        answer = self.line.getresponse()
        answer.read()
        return answer.status, int(answer.getheader("Upload-Offset") or -1)

    def look(self):
        """Sends what is new. Returns whether this log is done with."""
        if time.monotonic() < self.due:
            return False
        try:
            with open(PENDING + self.name) as file:
                words = file.read().split("\n")
            with open(self.path, "rb") as log:
                size = os.fstat(log.fileno()).st_size
                log.seek(min(self.offset, size))
                data = log.read(BODY)
                age = time.time() - os.fstat(log.fileno()).st_mtime
        except FileNotFoundError:
            return not os.path.exists(PENDING + self.name)
        if not data:
            return self.ended(words) and self.offset >= size or age > GIVE_UP
        try:
            status, offset = self.send(words[0], words[1], data)
        except (OSError, ValueError, http.client.HTTPException):
            status, offset = 0, -1
        if status in (204, 409) and 0 <= offset <= size and (status == 409 or offset >= self.offset):
            if status == 409 and offset == self.offset:
                self.later(self.pause)
            self.offset, self.pause = offset, 0.25
        elif 400 <= status < 500 and status not in (408, 409, 429):
            self.later(REFUSED)
            return age > GIVE_UP
        else:
            self.later(self.pause)
            self.pause = min(self.pause * 2, 5)
        return False


def main():
    shipments = {}
    while True:
        names = [name for name in os.listdir(PENDING) if name.isdigit()]
        if not names:
            return
        for name in sorted(names, key=int, reverse=True):
            shipment = shipments.setdefault(name, Shipment(name))
            if shipment.look():
                os.remove(PENDING + name)
                shipment.later(0)
                del shipments[name]
        time.sleep(LOOK)


main()
