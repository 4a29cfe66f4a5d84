"""Asks the project's page and its CSS through nginx, as a visitor would: `health.py PORT STATIC_URL ADMIN`.

PORT is that of nginx on this machine, ADMIN is 1 where the admin's CSS must be there. Prints to standard output
what it found, a line each, and to standard error what is wrong.
"""

import http.client
import sys
import time
from html.parser import HTMLParser
from urllib.parse import quote, urljoin, urlsplit

PATIENCE = 15  # Seconds for nginx and gunicorn to be up.
BODY = 2 << 20

with open("/etc/ec-deployer/hosts") as _file:
    HOST = _file.read().split()[0]
PORT = int(sys.argv[1])


class Stylesheets(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.base = [], ""

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "base" and attrs.get("href"):
            self.base = attrs["href"]
        if tag == "link" and "stylesheet" in (attrs.get("rel") or "").lower().split() and attrs.get("href"):
            self.found.append(attrs["href"])


class Wrong(Exception):
    pass


def get(path):
    line = http.client.HTTPConnection("127.0.0.1", PORT, timeout=65)
    try:
        line.request("GET", path, headers={"Host": HOST, "User-Agent": "ec-deployer-health", "Accept": "*/*"})
        answer = line.getresponse()
        return answer.status, answer.headers, answer.read(BODY)
    finally:
        line.close()


def path_of(url):
    """The path to ask for, or None where the URL is another host's."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "http") or parts.netloc not in ("", HOST, "[%s]" % HOST):
        return None
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return path + "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else path


def page(path):
    """Follows redirects that stay on this host."""
    for _ in range(10):
        status, headers, body = get(path)
        target = headers.get("Location")
        if status not in (301, 302, 303, 307, 308) or not target:
            return path, status, headers, body
        following = path_of(urljoin("http://%s%s" % (HOST, path), target))
        if following is None:
            return path, status, headers, body
        path = following
    raise Wrong("/ redirects in circles")


def css_is_wrong(path):
    """What is wrong with a stylesheet, or None."""
    status, headers, _ = get(path)
    kind = headers.get_content_type()
    if status == 200 and kind == "text/css":
        return None
    return "%s answers %d as %s, and not 200 as text/css" % (path[:150], status, kind)


def check(static, admin):
    saw = []
    path, status, headers, body = page("/")
    if status >= 500 or status == 400:
        raise Wrong("%s answers %d" % (path, status))
    text = "/ answers %d" % status if path == "/" else "/ leads to %s, which answers %d" % (path[:100], status)
    if headers.get_content_type() == "text/html":
        parser = Stylesheets()
        parser.feed(body.decode("utf-8", "replace"))
        base = urljoin("http://%s%s" % (HOST, path), parser.base)
        local = {path_of(urljoin(base, href)) for href in parser.found} - {None}
        wrong = [why for why in map(css_is_wrong, sorted(local)[:20]) if why]
        # All of them missing is how they are served; some missing is how the page was written.
        if wrong and len(wrong) == len(local) and status == 200:
            raise Wrong(wrong[0])
        if local:
            text += " with %d stylesheet%s" % (len(local), "s" * (len(local) > 1))
        saw.append(text)
        saw += wrong[:3]
    else:
        saw.append(text)
    if admin and static.startswith("/") and not static.startswith("//"):
        wrong = css_is_wrong(static + "admin/css/base.css")
        if wrong:
            raise Wrong(wrong)
        saw.append("the admin's styles answer at %sadmin/" % static)
    return saw


def main():
    end = time.monotonic() + PATIENCE
    while True:
        try:
            saw = check(sys.argv[2], sys.argv[3] == "1")
            break
        except (Wrong, OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() > end:
                what = error if isinstance(error, Wrong) else "nginx does not answer: %s" % error
                sys.exit("Seen with a visitor's eyes: %s." % what)
        time.sleep(0.2)
    for line in saw:
        print(line)


main()
