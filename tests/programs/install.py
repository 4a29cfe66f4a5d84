"""Tests of what a machine installs, away from a machine: `install.py DIRECTORY`, with the programs in it.

uv is a program of the tests' own that plays scenes: each call must have the words of the next one.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = sys.argv.pop()
sys.path.append(PROGRAMS)

import command
import install
from loading import cure
from repair import Wish
from sources import Sources

# Runs a command as it is: there is no user app here.
RUN = 'import os, sys\nwords = [w for w in sys.argv[1:]]\nwords = words[2:] if words[0] == "--release" else words\n' \
    'os.environ["PATH"] = "%s:" + os.environ["PATH"]\nos.execvp(words[0], words)\n'
UV = '#!/usr/bin/python3 -IS\nimport json, os, sys\nhere = os.path.dirname(sys.argv[0])\nscenes = json.load(open(here + "/scenes"))\n' \
    'line = " ".join(sys.argv[1:])\nopen(here + "/said", "a").write(line + "\\n")\n' \
    'wanted = here + "/../app/releases/7/"\n' \
    'texts = {n: open(wanted + n).read() for n in os.listdir(wanted) if n.endswith(".txt")}\n' \
    'open(here + "/texts", "a").write(json.dumps(texts) + "\\n")\n' \
    'scene = scenes.pop(0) if scenes else {"code": 99, "says": "no scene for " + line}\n' \
    'json.dump(scenes, open(here + "/scenes", "w"))\n' \
    'for name in scene.get("gives", []):\n    site = scene["site"]\n    os.makedirs("%s/%s.dist-info" % (site, name), exist_ok=True)\n' \
    'print(scene.get("says", ""))\nif scene.get("killed"):\n    os.kill(os.getpid(), 9)\nsys.exit(scene.get("code", 0))\n'


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


class InDirectory(unittest.TestCase):
    def setUp(self):
        self.here = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.here)

    def repo(self, **files):
        for name, text in files.items():
            write("%s/repo/%s" % (self.here, name.replace("__", "/").replace("_py", ".py")), text)
        return Sources(self.here + "/repo")


class RequirementsFile(InDirectory):
    def read(self, files, name="requirements.txt"):
        for path, data in files.items():
            write("%s/repo/%s" % (self.here, path), data)
        command = [sys.executable, "-IS", PROGRAMS + "/requirements.py", "%s/repo/%s" % (self.here, name), self.here + "/repo", self.here + "/repo"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_encodings(self):
        text = "Django==4.2\r\nidna # why\r\n"
        encoded = [text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-16-be"), text.encode()]
        for data in encoded:
            self.assertEqual(self.read({"requirements.txt": data})["lines"], ["Django==4.2", "idna"], data)
        self.assertEqual(self.read({"requirements.txt": "# caf\xe9\nidna\n".encode("latin-1")})["lines"], ["idna"])

    def test_included_files(self):
        found = self.read({
            "requirements/prod.txt": "-r base.txt\n-c ../limits.txt\n--requirement=more.txt\n-r gone.txt\n",
            "requirements/base.txt": "-r prod.txt\nDjango>=4.2,<5  # the long one\n",
            "requirements/more.txt": "idna\n".encode("utf-16"),
            "limits.txt": "asgiref==3.7.0\n",
        }, "requirements/prod.txt")
        self.assertEqual(found["lines"], ["Django>=4.2,<5", "-c asgiref==3.7.0", "idna"])
        self.assertEqual(found["warnings"], ["requirements/gone.txt is included and not in the repository."])

    def test_what_only_another_computer_has(self):
        found = self.read({"requirements.txt": "\n".join([
            "pywin32==306", "pkg-resources==0.0.0", "pkg_resources==0.0.0", "<<<<<<< HEAD", "idna==3.4", "=======", ">>>>>>> main",
            "certifi @ file:///opt/conda/certifi_1", "six @ file:///C:/six-1.16.0-py2.py3-none-any.whl", "-e .", "-e git+https://example.com/a.git#egg=a",
            "./local", "../outside", "six=1.16.0=py39h06a4308_0", "--pre", "--trusted-host example.com", "--index-url https://example.com/simple",
            "two words", "requests (>=2.0)", 'tomli>=1 ; python_version < "3.11"', "a @ https://example.com/a-1.whl",
            "flask[async]==2.0 \\", "    --hash=sha256:00", "$(touch /tmp/x)",
        ]), "local/setup.py": ""})
        self.assertEqual(found["lines"], [
            "idna==3.4", "-e git+https://example.com/a.git#egg=a", os.path.realpath(self.here) + "/repo/local", "six==1.16.0",
            "--index-url https://example.com/simple", "requests (>=2.0)", 'tomli>=1 ; python_version < "3.11"',
            "a @ https://example.com/a-1.whl", "flask[async]==2.0      --hash=sha256:00",
        ])
        self.assertEqual(found["names"], ["certifi", "six==1.16.0"])
        told = "\n".join(found["warnings"])
        for text in ("pywin32", "<<<<<<< HEAD", "-e .", "../outside", "two words", "$(touch /tmp/x)"):
            self.assertIn(text, told)
        self.assertNotIn("resources", told)

    def test_nothing_leads_out_of_the_repository(self):
        write(self.here + "/secret.txt", "secret\n")
        os.makedirs(self.here + "/repo")
        os.symlink(self.here + "/secret.txt", self.here + "/repo/link.txt")
        for name in ("link.txt", "../secret.txt"):
            write(self.here + "/repo/requirements.txt", "-r %s\n" % name)
            command = [sys.executable, "-IS", PROGRAMS + "/requirements.py", self.here + "/repo/requirements.txt", self.here + "/repo", self.here + "/repo"]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("outside the repository", done.stderr)
            self.assertNotIn("secret\n", done.stdout)


def built(name, said=""):
    return "error: Failed to build `%s`\n  cause: The build backend returned an error\n\n  [stderr]\n  %s\n" % (name, said)


def unsolved(text):
    return "error: No solution found when resolving dependencies\n  cause: %s\n" % text


class Repairs(InDirectory):
    def wish(self, lines, code="import yaml\nimport kept\n"):
        return Wish(lines, "/", self.repo(mysite__app_py=code), "3.11")

    def test_the_tools_of_its_time_come_first_and_then_the_nearest_release(self):
        wish = self.wish(["PyYAML==5.4.1"])
        failed = built("pyyaml==5.4.1", "AttributeError: 'build_ext' object has no attribute 'cython_sources'")
        self.assertTrue(wish.after(failed))
        self.assertEqual(wish.files()["build.txt"], ["Cython<3"])
        self.assertIn("was built with Cython<3", wish.sentences({})[0])
        steps = []
        while wish.after(failed):
            steps.append((dict(wish.overrides), list(wish.wheels)))
        self.assertEqual(steps, [
            ({"pyyaml": "pyyaml>=5.4.1,<6"}, ["pyyaml"]), ({"pyyaml": "pyyaml>=5.4.1"}, []), ({"pyyaml": "pyyaml"}, ["pyyaml"]),
        ])
        # The project imports yaml: it is not left out.
        self.assertEqual(wish.excludes, [])

    def test_what_nobody_imports_is_left_out_at_last(self):
        wish = self.wish(["unused==1.0"])
        while wish.after(built("unused==1.0")):
            pass
        self.assertEqual(wish.excludes, ["unused"])
        self.assertEqual(wish.sentences({}), [
            "unused 1.0 does not build on Python 3.11; nothing in the project imports it, so it is left out."])

    def test_what_takes_minutes_to_build_is_replaced_with_the_first_that_fails(self):
        wish = self.wish(["unused==1.0", "numpy==1.17.2", "scipy==1.3.0", "slow==1"])
        building = "   Building numpy==1.17.2\n   Building slow==1\n   Building scipy==1.3.0\n      Built scipy==1.3.0\n"
        self.assertTrue(wish.after(building + built("unused==1.0")))
        self.assertEqual(wish.overrides, {"unused": "unused>=1.0,<2", "numpy": "numpy>=1.17.2,<2"})
        none = "Because all versions of unused have no usable wheels and you require unused, we can conclude"
        for rung in ("unused>=1.0", "unused", None):
            self.assertTrue(wish.after(unsolved(none)))
            self.assertEqual(wish.overrides.get("unused"), rung)
        self.assertEqual(wish.excludes, ["unused"])

    def test_psycopg2_has_a_twin_that_is_built(self):
        wish = self.wish(["psycopg2==2.7.5"])
        self.assertTrue(wish.after(built("psycopg2==2.7.5")))
        self.assertEqual((wish.excludes, wish.extra, wish.wheels), (["psycopg2"], ["psycopg2-binary>=2.7.5,<3"], ["psycopg2-binary"]))
        self.assertEqual(wish.sentences({"psycopg2-binary": "2.9.10"}), [
            "psycopg2 2.7.5 does not build on Python 3.11; psycopg2-binary 2.9.10 is used instead."])

    def test_conflicts_go_as_the_project_says(self):
        wish = self.wish(["celery==4.0", "kombu==5.0"])
        text = unsolved("Because celery==4.0.0 depends on kombu>=4.0,<5.0 and you require celery==4.0, we can conclude that "
                        "you require kombu>=4.0,<5.0.\n         And because you require kombu==5.0, we can conclude that "
                        "your requirements are unsatisfiable.")
        self.assertTrue(wish.after(text))
        self.assertEqual(wish.overrides, {"kombu": "kombu==5.0"})
        self.assertIn("celery 4.0.0 wants kombu>=4.0,<5.0, the project asks for kombu==5.0: kombu 5.0 is installed.",
                      wish.sentences({"kombu": "5.0"}))
        # Where the project does not load with that, the other word is tried.
        self.assertTrue(wish.settle_otherwise())
        self.assertEqual((wish.lines, wish.overrides), (["celery==4.0", "kombu"], {}))
        self.assertFalse(wish.settle_otherwise())

    def test_names_and_versions_that_are_not_there(self):
        said = "Because %s and you require %s, we can conclude that your requirements are unsatisfiable."
        wish = self.wish(["kept==9.9", "gone", "rest_framework", "idna==3.4", "idna==3.5"])
        for text in ("there is no version of kept==9.9", "gone was not found in the package registry",
                     "rest-framework was not found in the package registry"):
            self.assertTrue(wish.after(unsolved(said % (text, "it"))), text)
        self.assertTrue(wish.after(unsolved("Because you require idna==3.4 and idna==3.5, we can conclude that your requirements are unsatisfiable.")))
        self.assertEqual(wish.overrides, {"kept": "kept==9.9.*", "idna": "idna==3.5"})
        self.assertEqual((wish.excludes, wish.extra), (["gone", "rest-framework"], ["djangorestframework"]))

    def test_django_is_not_another_one_than_the_project_wants(self):
        wish = self.wish(["Django==6.0"])
        refused = "Because the current Python version (3.11.2) does not satisfy Python>=3.12 and %s depends on Python>=3.12, we can conclude that it cannot be used."
        self.assertFalse(wish.after(unsolved(refused % "django==6.0")))
        self.assertTrue(self.wish(["numpy==2.9"]).after(unsolved(refused % "numpy==2.9")))
        self.assertTrue(wish.after(unsolved("Because there is no version of django==6.0.99 and you require django==6.0.99, we can")))
        self.assertEqual(wish.overrides, {"django": "django==6.0.*"})
        self.assertFalse(wish.changed() and wish.after(unsolved("Because only django<=5 is available and you require django==6.0.*, we can")))

    def test_what_is_unknown_changes_nothing(self):
        wish = self.wish(["idna"])
        self.assertFalse(wish.after("error: something else went wrong"))
        self.assertFalse(wish.changed())
        self.assertEqual(wish.options("/x"), ["-r", "/x/wanted.txt"])


class Loading(InDirectory):
    def cure(self, text, code="import crispy_forms, config, own, blog, tomllib\nINSTALLED_APPS = ['widget_tweaks', 'mysite.own']\n"):
        sources = self.repo(mysite__settings_py=code, mysite__own_py="")
        site = self.here + "/venv/lib/python3.11/site-packages"
        for module in ("django", "jinja2", "psycopg2"):
            os.makedirs("%s/%s" % (site, module), exist_ok=True)
        write(site + "/psycopg2_binary-2.8.6.dist-info/RECORD", "psycopg2/__init__.py,sha256=x,1\n")
        return cure(text, self.here + "/venv", sources)

    def django(self, version):
        site = self.here + "/venv/lib/python3.11/site-packages"
        for name in os.listdir(site):
            if name.startswith("django-"):
                shutil.rmtree(site + "/" + name)
        write(site + "/django-%s.dist-info/RECORD" % version, "")

    def missing(self, module):
        return self.cure("Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nModuleNotFoundError: No module named '%s'\n" % module)

    def test_modules_that_are_missing(self):
        for module in ("imp", "distutils"):
            self.assertEqual(self.missing(module)[0], "old")
        for module, wanted in (("crispy_forms", "django-crispy-forms"), ("PIL", "pillow"), ("widget_tweaks", "django-widget-tweaks")):
            self.assertEqual(self.missing(module)[:2], ("missing", wanted))
        # The project's own, what many projects call their own, and what the project does not name.
        for module in ("own", "own.views", "config", "reqeusts", "blog", "tomllib"):
            self.assertIsNone(self.missing(module), module)
        self.assertEqual(self.cure("(fields.E210) Cannot use ImageField because Pillow is not installed.")[:2], ("missing", "pillow"))
        chain = "ModuleNotFoundError: No module named 'MySQLdb'\n\ndjango.core.exceptions.ImproperlyConfigured: Error loading MySQLdb module.\nDid you install mysqlclient?\n"
        self.assertEqual(self.cure(chain)[:2], ("missing", "mysqlclient"))

    def test_packages_of_another_time(self):
        frame = 'Traceback (most recent call last):\n  File "%s", line 1, in <module>\n'
        for text in (
            frame % "/x/mysite/urls.py" + "ImportError: cannot import name 'url' from 'django.conf.urls' (/v/lib/python3.11/site-packages/django/conf/urls/__init__.py)\n",
            "ModuleNotFoundError: No module named 'django.utils.six'\n",
            frame % "/v/lib/python3.11/site-packages/jinja2/a.py" + "AttributeError: module 'collections' has no attribute 'Mapping'\n",
        ):
            self.assertEqual(self.cure(text)[0], "old", text)
        # With what is known of Django, the release that still has it.
        url = "ImportError: cannot import name 'url' from 'django.conf.urls' (/v/django/conf/urls/__init__.py)\n"
        for version, wanted in (("5.2.19", ("another", "django<4")), ("4.0", ("another", "django<4")), ("3.2.25", ("old", ""))):
            self.django(version)
            self.assertEqual(self.cure(url)[:2], wanted, version)
        gone = frame % "/v/lib/python3.11/site-packages/django/x.py" + "ImportError: cannot import name 'Iterator' from 'collections'\n"
        for version, wanted in (("1.11.17", ("another", "django>=2.2,<2.3")), ("2.2.28", ("old", ""))):
            self.django(version)
            self.assertEqual(self.cure(gone)[:2], wanted, version)
        # The project's own mistakes, and what it is not told, are nobody's releases.
        for text in (
            frame % "/x/mysite/urls.py" + "ImportError: cannot import name 'missing' from 'own' (/x/mysite/own.py)\n",
            frame % "/x/mysite/urls.py" + "NameError: name 'x' is not defined\n",
            frame % "/v/lib/python3.11/site-packages/django/conf.py" + "django.core.exceptions.ImproperlyConfigured: Set the SECRET_KEY environment variable\n",
            frame % "/usr/lib/python3.11/os.py" + "KeyError: 'SECRET'\n",
        ):
            self.assertIsNone(self.cure(text), text)

    def test_libraries_of_the_system(self):
        text = "ImportError: %s: cannot open shared object file: No such file or directory\n"
        self.assertIsNone(self.cure(text % "libmagic.so.1"))
        write(self.here + "/venv/lib/python3.11/site-packages/opencv_python-4.8.dist-info/RECORD", "cv2/__init__.py,,\n")
        self.assertEqual(self.cure(text % "libGL.so.1")[:2], ("broken", "opencv-python"))
        wish = Wish(["opencv-python==4.8.0"], "/", self.repo(), "3.11")
        self.assertTrue(wish.newer("opencv-python", "4.8.0", "draws"))
        self.assertEqual(wish.files()["wanted.txt"][1:], ["opencv-python-headless>=4.8.0,<5"])

    def test_binaries_that_do_not_load(self):
        for text in (
            'File "/v/lib/python3.11/site-packages/psycopg2/__init__.py", line 51, in <module>\nSystemError: initialization of _psycopg raised unreported exception\n',
            "ImportError: /v/lib/python3.11/site-packages/psycopg2/_psycopg.cpython-311-x86_64-linux-gnu.so: undefined symbol: _PyInterpreterState_Get\n",
        ):
            self.assertEqual(self.cure(text)[:2], ("broken", "psycopg2-binary"), text)


class Machine(InDirectory):
    """The steps, with uv played."""

    def setUp(self):
        super().setUp()
        self.app, self.bin, self.lib = (self.here + "/" + name for name in ("app", "bin", "lib"))
        self.release = self.app + "/releases/7"
        self.repo_files = {}
        os.makedirs(self.release + "/repo/mysite")
        os.makedirs(self.app + "/environments")
        write(self.lib + "/run.py", RUN % self.bin)
        for name in ("requirements.py", "sources.py", "imports.txt"):
            shutil.copy(PROGRAMS + "/" + name, self.lib)
        write(self.bin + "/uv", UV)
        os.chmod(self.bin + "/uv", stat.S_IRWXU)
        self.site = self.app + "/environments/7/lib/python3.11/site-packages"
        install.APP, install.LIB = self.app, self.lib
        command.APP, command.LIB = self.app, self.lib
        install.shutil.chown = lambda *_: None
        install.time.sleep = lambda seconds: None
        command.free = lambda: 1 << 40
        for name in [name for name in os.environ if name.startswith("EC_")]:
            del os.environ[name]
        os.environ.update(EC_DEPLOYMENT="7", EC_PROJECT="mysite", EC_BASICS_LIST="gunicorn==23.0.0", EC_DJANGO_LTS="Django>=5.2,<5.3")

    def play(self, verb, scenes, **values):
        """Does a step, and gives its code or sentence, uv's command lines, and what is to be told."""
        os.environ.update({"EC_" + name: value for name, value in values.items()})
        write(self.bin + "/scenes", json.dumps([dict(scene, site=self.site) for scene in scenes]))
        for name in ("said", "texts"):
            write(self.bin + "/" + name, "")
        code = 0
        try:
            install.main(verb)
        except SystemExit as end:
            code = end.code
        with open(self.bin + "/scenes") as file:
            self.assertEqual(json.load(file), [], "scenes that were not played")
        with open(self.bin + "/said") as file:
            said = file.read().splitlines()
        return code, said, install.read(self.release + "/told").splitlines()

    def made(self):
        """An empty environment, as the step before leaves it."""
        os.makedirs(self.site, exist_ok=True)
        write(self.app + "/environments/7/bin/python", "")
        if not os.path.islink(self.release + "/venv"):
            os.symlink(self.app + "/environments/7", self.release + "/venv")

    def texts(self, number):
        with open(self.bin + "/texts") as file:
            return json.loads(file.read().splitlines()[number])

    def test_a_list_of_the_site_and_django_besides(self):
        self.made()
        write(self.release + "/listed", "idna==3.4\n")
        code, said, told = self.play("dependencies", [{"gives": ["idna-3.4", "django-5.2.8"]}], LIST="x", DJANGO="5.2")
        self.assertEqual((code, told), (0, []))
        self.assertEqual(self.texts(0)["wanted.txt"], "idna==3.4\nDjango==5.2.*\n")
        self.assertEqual(json.loads(install.read(self.app + "/environments/7.made"))["wish"]["overrides"], {})

    def test_a_lock_is_exported_without_what_is_for_developers(self):
        self.made()
        write(self.release + "/repo/uv.lock", "")
        code, said, _ = self.play("dependencies", [{"says": "six==1.0"}, {"says": "django==5.2.8\n./member"}, {}], UV_LOCK="uv.lock", NAMES_DJANGO="1")
        self.assertEqual(code, 0)
        self.assertIn("--frozen --no-default-groups --no-emit-project", said[0])
        self.assertIn("--all-packages", said[1])
        self.assertEqual(self.texts(2)["wanted.txt"], "django==5.2.8\n")

    def test_the_network_is_asked_again_before_anything_is_changed(self):
        self.made()
        away = {"code": 2, "says": "error: Request failed after 1 retry\n  cause: error sending request for url (https://pypi.org/simple/idna/)"}
        code, said, told = self.play("dependencies", [away, away, {}], DJANGO="5.2")
        self.assertEqual((code, told, len(set(said))), (0, [], 1))
        code, said, told = self.play("dependencies", [away] * 3, COMMITTED="2021-10-01T00:00:00Z")
        self.assertEqual((code, told), (1, []))

    def test_a_failure_that_nothing_helps_shows_the_first_message(self):
        self.made()
        write(self.release + "/repo/requirements.txt", "Django==6.0\nidna\n")
        refused = unsolved("Because the current Python version (3.11.2) does not satisfy Python>=3.12 and django==6.0 depends on Python>=3.12, we can")
        code, _, told = self.play("dependencies", [{"code": 1, "says": refused}], REQUIREMENTS="requirements.txt", NAMES_DJANGO="1")
        self.assertEqual((code, told), (1, []))
        self.assertFalse(os.path.exists(self.app + "/environments/7.made"))

    def test_the_last_resort_is_the_date_of_the_commit(self):
        self.made()
        wrong = {"code": 1, "says": "error: something that nobody knows"}
        code, said, told = self.play("dependencies", [wrong, {}], COMMITTED="2021-10-01T00:00:00Z")
        self.assertEqual(code, 0)
        self.assertIn("--exclude-newer 2021-10-01T00:00:00Z --exclude-newer-package setuptools=false", said[1])
        self.assertIn("as of its commit's date, 2021-10-01.", told[0])

    def test_environments_are_shared_with_what_was_told_of_them(self):
        self.made()
        write(self.release + "/repo/requirements.txt", "Django==5.2.8\npywin32\n")
        listed = {"REQUIREMENTS": "requirements.txt", "NAMES_DJANGO": "1"}
        _, _, told = self.play("dependencies", [{"gives": ["django-5.2.8"]}], **listed)
        self.assertEqual(len(told), 1)
        second = self.app + "/releases/8"
        shutil.copytree(self.release + "/repo", second + "/repo")
        code, said, _ = self.play("dependencies", [], DEPLOYMENT="8", **listed)
        self.assertEqual((code, said, os.readlink(second + "/venv")), (0, [], self.app + "/environments/7"))
        self.assertEqual(install.read(second + "/told").splitlines(), told)
        # A path may lead to something else tomorrow.
        self.assertEqual(install.Release().like_this(["-e /srv/x"]), (None, None))
        self.assertEqual(install.Release().like_this(["Django==5.2.8"]), (None, None))

    def test_a_full_disk_is_a_sentence(self):
        self.made()
        for scene in ({"code": 1, "says": "error: failed to write: No space left on device (os error 28)"},):
            code, _, _ = self.play("dependencies", [scene], DJANGO="5.2")
            self.assertIn("The disk is full", code)
        command.free = lambda: 1
        code, _, _ = self.play("dependencies", [{"says": "x"}], DJANGO="5.2")
        self.assertIn("The disk is full", code)

    def test_another_python_is_used_where_it_can_be_had(self):
        path = self.app + "/home/.local/share/uv/python/cpython-3.9.1-linux/bin/python3.9"
        absent, there = {"code": 2, "says": "error: No download found for request: cpython-3.8"}, {"says": path}
        code, said, told = self.play("environment", [absent, {}, there, {}], PYTHON="3.8 3.9", PYTHON_FROM="runtime.txt")
        self.assertEqual((code, told, install.read(self.release + "/python")), (0, [], path))
        self.assertIn("venv --allow-existing --python " + path, said[-1])

    def test_a_python_that_cannot_be_had_is_told(self):
        away = {"code": 2, "says": "cause: error sending request for url (https://github.com)"}
        code, said, told = self.play("environment", [away, {}], PYTHON="3.8 3.9", PYTHON_FROM="runtime.txt")
        self.assertEqual((code, len(said)), (0, 2))
        self.assertTrue(told[0].startswith("warning runtime.txt asks for Python 3.8 or 3.9, which this machine could not download: it runs on Python 3."), told)
        self.assertIn("--python /usr/bin/python3", said[-1])
        # A path that is not uv's own is not taken.
        code, said, told = self.play("environment", [{}, {"says": "/srv/app/../../bin/sh"}, {}], PYTHON="3.9")
        self.assertEqual((code, install.read(self.release + "/python")), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=1)
