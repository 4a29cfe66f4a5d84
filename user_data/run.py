"""Runs a command as the user `app`, with a clean environment: `run.py COMMAND...`, or, with what a release
needs to run its project, `run.py --release N COMMAND...`.

Nothing is sourced: the owner's variables and the release's values are read from NUL-separated files.
"""

import os
import pwd
import sys

# What a machine behind a company's certificate authority or proxy, or without GitHub, sets in /etc/environment.
TRUST = (
    "SSL_CERT_FILE SSL_CERT_DIR PIP_CERT REQUESTS_CA_BUNDLE GIT_SSL_CAINFO HTTP_PROXY HTTPS_PROXY NO_PROXY "
    "UV_PYTHON_INSTALL_MIRROR UV_PYTHON_DOWNLOADS_JSON_URL"
).split()


def pairs(data, separator):
    lines = (line.partition("=") for line in data.decode("utf-8", "surrogateescape").split(separator))
    return {name.strip(): value for name, equals, value in lines if equals}


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def main(args):
    release = None
    if args[0] == "--release":
        release, args = args[1], args[2:]

    user = pwd.getpwnam("app")
    trusted = pairs(read("/etc/environment"), "\n")
    env = {name: value.strip("\"' ") for name, value in trusted.items() if name.upper() in TRUST}
    path = "/usr/local/bin:/usr/bin:/bin"
    ours = {
        "HOME": user.pw_dir, "USER": "app", "LOGNAME": "app", "SHELL": "/bin/sh", "LANG": "C.UTF-8", "PATH": path,
        "PYTHONUNBUFFERED": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "6", "UV_LINK_MODE": "copy", "UV_INDEX_STRATEGY": "unsafe-best-match",
        "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    if release:
        root = "/srv/app/releases/" + release
        values = pairs(read(root + "/values"), "\0")
        project = root + "/repo/" + values["EC_PROJECT"]
        given = pairs(read(root + "/app.env"), "\0")
        env |= given
        sys.path.append(os.path.dirname(os.path.abspath(__file__)))
        from variables import filled

        env |= filled(values, given, root)
        ours |= values
        ours |= {
            "PATH": root + "/venv/bin:" + path, "VIRTUAL_ENV": root + "/venv", "EC_RELEASE": root,
            "EC_SOCKET": "/run/ec-deployer/%s.sock" % release, "DJANGO_SETTINGS_MODULE": "ec_overlay",
            "PYTHONPATH": root + "/overlay:" + project,
        }
        os.chdir(project)
    env |= ours

    os.closerange(3, 256)  # the deployment's lock among them
    os.umask(0o022)
    if os.geteuid() == 0:
        os.initgroups("app", user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.execvpe(args[0], args, env)


main(sys.argv[1:])
