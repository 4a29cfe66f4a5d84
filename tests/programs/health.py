"""Runs user_data/health.py against sites that answer well and badly: `health.py PATH-OF-THE-PROGRAM`."""

import http.server
import os
import subprocess
import sys
import tempfile
import threading
import unittest

HTML, CSS = "text/html", "text/css"
ADMIN = "ADMIN=1\nSTATICFILES=1\nSTATIC_URL=/s/\n"


class Answers(http.server.BaseHTTPRequestHandler):
    pages = {}

    def do_GET(self):
        page = self.pages.get(self.path, (404, HTML, "nothing here"))
        status, kind, body, headers = page if len(page) == 4 else (*page, {})
        # The second visit of who was given a cookie.
        if "Cookie-Wanted" in headers and headers["Cookie-Wanted"] in self.headers.get("Cookie", ""):
            status, headers = 200, {}
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def to(target, **more):
    return 302, HTML, "", {"Location": target, **more}


class Health(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.program, hosts = (os.path.join(cls.directory.name, name) for name in ("program.py", "hosts"))
        with open(hosts, "w") as file:
            file.write("203.0.113.7\n")
        with open(sys.argv[1]) as file:
            text = file.read()
        for old, new in (('"/etc/ec-deployer/hosts"', repr(hosts)), ("PATIENCE = 15", "PATIENCE = 0"), ("WRONG = 3", "WRONG = 0")):
            assert old in text, old
            text = text.replace(old, new)
        with open(cls.program, "w") as file:
            file.write(text)
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    def check(self, pages, facts):
        Answers.pages = pages
        path = os.path.join(self.directory.name, "facts")
        with open(path, "w") as file:
            file.write(facts)
        line = [sys.executable, "-IS", self.program, str(self.server.server_port), path]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else "wrong: " + done.stderr

    def sees(self, pages, facts, *expected):
        said = self.check(pages, facts)
        for text in expected:
            self.assertIn(text, said)
        return said

    def test_a_project_without_a_first_page_is_led_to_those_it_has(self):
        facts = ADMIN + "ROUTES=/polls/\t/broken/\t//evil\t/a\"b/\n"
        pages = {"/polls/": (200, HTML, "x"), "/broken/": (500, HTML, "x")}
        said = self.sees(pages, facts, "your project has no page at /, try /polls/\n")
        self.assertNotIn("evil", said)
        self.assertEqual(self.check({}, "ROUTES=/polls/\n"), "your project has no page at /\n")
        self.sees({"/admin/": to("/admin/login/"), "/admin/login/": (200, HTML, "x"), "/s/admin/css/base.css": (200, CSS, "a")},
                  ADMIN, "has no page at /, try /admin/\n", "/admin/ answers\n")
        self.sees({}, "ROUTES=/\n", "warning / answers 404, though the project has a route there")

    def test_what_a_visitor_sees_as_an_error_is_wrong(self):
        for page, why in (
            ((500, HTML, "<title>OperationalError\n at /</title>"), "/ answers 500 with OperationalError."),
            ((400, HTML, "Bad Request"), "/ answers 400."),
            (to("/"), "/ redirects in circles."),
            (to("https://203.0.113.7/"), "/ sends visitors to https://203.0.113.7/, where nothing answers them."),
            (to("http://localhost:3000/"), "/ sends visitors to http://localhost:3000/"),
            ((200, HTML, "<link rel=stylesheet href=/gone.css>"), "/gone.css answers 404"),
        ):
            self.sees({"/": page}, "ROUTES=/\n", "wrong: Seen with a visitor's eyes: " + why)

    def test_what_is_odd_and_no_error_is_told(self):
        self.sees({"/": to("https://login.example.com/in")}, "", "/ leads to another site, login.example.com\n")
        self.sees({"/": (403, HTML, "no")}, "", "/ answers 403: visitors may not see it\n")
        self.sees({"/": (200, HTML, " \n")}, "", "warning / answers 200 with an empty page.\n")
        page = "<link rel=stylesheet href=/a.css><link rel=stylesheet href=b.css><script src=/m.js></script>"
        self.sees({"/": (200, HTML, page), "/a.css": (200, CSS, "")}, "", "/ answers 200 with 2 stylesheets\n",
                  "/b.css answers 404", "warning The script /m.js answers 404 as text/html")
        odd = "<link rel=stylesheet href='#'><link rel=stylesheet href='http://[domain]/a.css'><![ endif]-->"
        self.assertEqual(self.check({"/": (200, HTML, odd)}, ""), "/ answers 200\n")
        self.sees({"/": to("/", **{"Set-Cookie": "seen=1; Path=/", "Cookie-Wanted": "seen=1"})}, "", "/ answers 200")

    def test_the_admin_is_asked_where_it_is(self):
        facts = ADMIN + "ROUTES=/\t/boss/\t/boss/login/\t/boss/password_change/\t/accounts/password_change/\n"
        first = {"/": (200, HTML, "ok")}
        login = {"/boss/login/": (200, HTML, "<link rel=stylesheet href=/s/admin/css/base.css>")}
        css = {"/s/admin/css/base.css": (200, CSS, "a")}
        self.sees({**first, **login, **css}, facts, "/boss/ answers, styles included\n", "the admin's styles answer at /s/admin/\n")
        self.sees({**first, **login}, facts, "wrong: ", "/s/admin/css/base.css answers 404")
        self.sees({**first, "/boss/login/": (500, HTML, "x")}, facts, "wrong: ", "/boss/login/ answers 500.")
        # An admin that is installed and has no route is nobody's to miss.
        self.assertEqual(self.check(first, ADMIN), "/ answers 200\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0)
