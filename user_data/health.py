"""Asks the project's first page through nginx as a visitor would, its CSS and its admin: `health.py PORT [FACTS]`.

PORT is that of nginx on this machine. FACTS is what project.py found out; without it only the first page is asked.
Prints to standard output what it found, a line each, what the owner is to be warned of as `warning TEXT`; and to
standard error what is wrong: what visitors would see as an error.
"""

import http.client
import random
import re
import string
import sys
import time
from html.parser import HTMLParser
from urllib.parse import quote, urljoin, urlsplit

PATIENCE = 15  # Seconds for nginx and gunicorn to be up.
WRONG = 3  # Seconds for a page that answers, and not well.
BODY = 2 << 20
MOST = 20  # stylesheets and scripts of a page that are asked
TRIES = 5  # routes that are tried where there is no page at /
PATH = re.compile(r"/(?!/)[A-Za-z0-9._~/-]{0,150}")

with open("/etc/ec-deployer/hosts") as _file:
    HOST = _file.read().split()[0]
PORT = int(sys.argv[1])


class Links(HTMLParser):
    """What a page loads: its stylesheets and its scripts."""

    def __init__(self):
        super().__init__()
        self.styles, self.scripts, self.base = [], [], ""

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        rel = (attrs.get("rel") or "").lower().split()
        if tag == "base" and attrs.get("href"):
            self.base = attrs["href"]
        # The browser takes an alternate one only where its user asks for it.
        if tag == "link" and "stylesheet" in rel and "alternate" not in rel and attrs.get("href"):
            self.styles.append(attrs["href"])
        if tag == "script" and attrs.get("src"):
            self.scripts.append(attrs["src"])


class Wrong(Exception):
    """What a visitor would see as an error."""

    pass


class Away(Exception):
    """Where a page leads that is not of this project."""

    pass


class Page:
    def __init__(self, path, status, headers, body):
        self.path, self.status, self.body = path, status, body
        self.kind = headers.get_content_type()

    def text(self):
        return self.body.decode("utf-8", "replace")

    def links(self):
        """The paths of the stylesheets and of the scripts that this site is to give."""
        if self.kind != "text/html":
            return [], []
        parser = Links()
        try:
            parser.feed(self.text())
        except AssertionError:
            pass  # Markup that no browser minds; what came before it counts.
        return tuple(
            sorted({self.path_in(parser.base, url) for url in urls} - {None, self.path})[:MOST]
            for urls in (parser.styles, parser.scripts)
        )

    def path_in(self, base, url):
        """The path that a link of the page leads to; None where that is nowhere, or another host's."""
        try:
            return path_of(urljoin(urljoin(address(self.path), base), url))
        except ValueError:
            return None

    def refuse_errors(self):
        """Raises where the page is one that no visitor should see."""
        if self.status < 500 and self.status != 400:
            return
        # Django's error page with DEBUG says the exception in its title.
        named = re.search(r"<title>\s*(\w+)\s+at\s", self.text()[:4000])
        raise Wrong("%s answers %d%s" % (shown(self.path), self.status, " with " + named[1] if named else ""))


def address(path):
    return "http://%s%s" % (HOST, path)


def shown(path):
    return path[:150]


def get(path, cookies=None):
    line = http.client.HTTPConnection("127.0.0.1", PORT, timeout=65)
    headers = {"Host": HOST, "User-Agent": "ec-deployer-health", "Accept": "*/*"}
    if cookies:
        headers["Cookie"] = "; ".join("%s=%s" % pair for pair in cookies.items())
    try:
        line.request("GET", path, headers=headers)
        answer = line.getresponse()
        return answer.status, answer.headers, answer.read(BODY)
    finally:
        line.close()


def path_of(url):
    """The path to ask for, or None where the URL is another host's."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "http") or parts.netloc not in ("", HOST, "[%s]" % HOST, HOST + ":80"):
        return None
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    return path + "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else path


def page(first, cookies=None):
    """The page that a visitor comes to, through redirects within the site, with the cookies that it sets."""
    path, cookies = first, dict(cookies or {})
    for _ in range(10):
        status, headers, body = get(path, cookies)
        target = headers.get("Location")
        if status not in (301, 302, 303, 307, 308) or not target:
            return Page(path, status, headers, body)
        for cookie in headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            if name.strip().isprintable() and value.strip().isprintable():
                cookies[name.strip()] = value.strip()
        url = urljoin(address(path), target)
        following = path_of(url)
        if following is None:
            host = urlsplit(url).hostname or ""
            if host in (HOST.strip("[]"), "localhost", "0.0.0.0") or host.startswith("127."):
                raise Wrong("%s sends visitors to %s, where nothing answers them" % (shown(first), url[:150]))
            raise Away(host)
        path = following
    raise Wrong("%s redirects in circles" % shown(first))


def css_is_wrong(path):
    """What is wrong with a stylesheet, or None."""
    status, headers, _ = get(path)
    kind = headers.get_content_type()
    if status == 200 and kind == "text/css":
        return None
    return "%s answers %d as %s, and not 200 as text/css" % (shown(path), status, kind)


def script_is_wrong(path):
    status, headers, _ = get(path)
    if status < 400 and headers.get_content_type() != "text/html":
        return None
    return "The script %s answers %d as %s: parts of the page may not work." % (
        shown(path), status, headers.get_content_type())


def styles_of(found, styles):
    """What is wrong with the page's stylesheets. All of them missing is how they are served; some missing is how the
    page was written."""
    wrong = [why for why in map(css_is_wrong, styles) if why]
    if wrong and len(wrong) == len(styles) and found.status == 200:
        raise Wrong(wrong[0])
    return wrong


def first_page(facts):
    """The first page in a line, and what is to be said of it."""
    try:
        found = page("/")
    except Away as host:
        return ["/ leads to another site, %s" % shown(str(host))]
    found.refuse_errors()
    if found.status == 404 and found.path == "/" and facts is not None and "/" not in routes(facts):
        return [no_page_at_root(facts)]
    text = "/ answers %d" % found.status
    if found.path != "/":
        text = "/ leads to %s, which answers %d" % (shown(found.path), found.status)
    said = []
    if found.status == 404:
        said.append("warning %s, though the project has a route there: it finds nothing to show yet." % text)
    elif found.status in (401, 403, 405):
        text += {401: ": it asks for a login", 403: ": visitors may not see it", 405: ": it is not to be read"}[found.status]
    elif not found.body.strip():
        said.append("warning %s with an empty page." % text)
    styles, scripts = found.links()
    wrong = styles_of(found, styles)
    if styles:
        text += " with %d stylesheet%s" % (len(styles), "s" * (len(styles) > 1))
    said += ["warning " + why for why in map(script_is_wrong, scripts) if why][:3]
    return [text, *wrong[:3], *said]


def routes(facts):
    """The project's routes without parameters: plain paths only, whatever it calls them."""
    found = (("/" + route.lstrip("/")) for route in facts.get("ROUTES", "").split("\t") if route)
    return [route for route in found if PATH.fullmatch(route)]


def no_page_at_root(facts):
    """Which pages there are, where there is none at /."""
    tried = [route for route in routes(facts) if not is_of_admin(route, facts)][:TRIES]
    good = [route for route in tried if answers(route)]
    good += [index for index in admins(facts) if answers(index)][:1]
    text = "your project has no page at /"
    return "%s, try %s" % (text, " or ".join(good[:4])) if good else text


def answers(path):
    try:
        return page(path).status < 400
    except (Wrong, Away, OSError, http.client.HTTPException, ValueError):
        return False


def admins(facts):
    """The paths of the admin, as its routes tell it; else the usual one. None where the project has no admin."""
    if facts.get("ADMIN") != "1":
        return []
    known = routes(facts)
    ends = "password_change/"
    found = [route[:-len(ends)] for route in known if route.endswith("/" + ends)]
    return [index for index in found if index in known and index + "login/" in known][:2] or ["/admin/"]


def is_of_admin(route, facts):
    return any(route.startswith(index) for index in admins(facts))


def admin(facts):
    """What is to be said of the admin. A login page that breaks is one that its owner would see first."""
    said = []
    static = facts.get("STATIC_URL", "")
    has_css = facts.get("STATICFILES") == "1" and re.match(r"/(?!/)", static)
    for index in admins(facts):
        # A session that does not exist makes the page ask the database.
        nobody = "".join(random.choices(string.ascii_lowercase, k=32))
        try:
            found = page(index + "login/", {"sessionid": nobody})
        except Away as host:
            said.append("%s leads to a login at %s" % (index, shown(str(host))))
            continue
        found.refuse_errors()
        if found.status >= 400:
            continue
        styles, _ = found.links()
        styles_of(found, styles)
        said.append("%s answers%s" % (index, ", styles included" if styles else ""))
        if has_css:
            wrong = css_is_wrong(static + "admin/css/base.css")
            if wrong:
                raise Wrong(wrong)
            has_css = False
            said.append("the admin's styles answer at %sadmin/" % shown(static))
    return said


def read(path):
    with open(path, errors="replace") as file:
        return dict(line.rstrip("\n").partition("=")[::2] for line in file)


def main(facts):
    start = time.monotonic()
    while True:
        try:
            saw = first_page(facts)
            if facts is not None:
                saw += admin(facts)
            break
        except (Wrong, OSError, http.client.HTTPException, ValueError) as error:
            # Without gunicorn behind it, nginx answers 502.
            answers_already = isinstance(error, Wrong) and not re.search(r"answers 50[23]\b", str(error))
            if time.monotonic() - start > (WRONG if answers_already else PATIENCE):
                what = error if isinstance(error, Wrong) else "nginx does not answer: %s" % error
                sys.exit("Seen with a visitor's eyes: %s." % what)
        time.sleep(0.2)
    for line in saw:
        print(line)


if __name__ == "__main__":
    main(read(sys.argv[2]) if len(sys.argv) > 2 else None)
