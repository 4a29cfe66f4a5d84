"""The first admin of the project, where its owner asked for one: `first_admin.py DEPLOYMENT`, as root.

It asks the site for the name and the password, and hands them on the standard input of a process of the project's: they
are in no file, command line or environment. That one, `first_admin.py make` as the user app, makes the superuser through
the project's own user model, whatever Django it has. The exit code says what came of it: 0 nobody was asked for, 10 made,
11 a user of this name was there, anything else failed.
"""

import json
import os
import subprocess
import sys

LIB = "/opt/ec-deployer/"
MADE, EXISTS, FAILED = 10, 11, 1


def ask(deployment):
    sys.path.insert(0, LIB)
    import machine

    admin = machine.from_site("/first-admin", "the first admin", deployment)
    if not admin:
        return 0
    command = ["timeout", "-k", "10", "120", "python3", "-IS", LIB + "run.py", "--release", deployment]
    sys.stdout.flush()
    return subprocess.run(command + ["python", LIB + "first_admin.py", "make"], input=admin).returncode


def fields(model, name):
    """What the user model demands, and what it demands besides that nobody knows."""
    email = name if "@" in name else name + "@example.com"
    given = {model.USERNAME_FIELD: email if "email" in model.USERNAME_FIELD.lower() else name}
    unknown = []
    for field in model.REQUIRED_FIELDS:
        if "email" in field.lower():
            given[field] = email
        else:
            unknown.append(field)
    return given, unknown


def make(admin):
    # Our own programs are not what the project imports.
    sys.path[0] = os.getcwd()
    import django

    django.setup()
    from django.apps import apps
    from django.contrib.auth import get_user_model

    if not apps.is_installed("django.contrib.auth"):
        print("The project does not use django.contrib.auth: it has no users.")
        return FAILED
    model = get_user_model()
    given, unknown = fields(model, admin["username"])
    name = given[model.USERNAME_FIELD]
    there = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
    if there is not None:
        if there.is_active and getattr(there, "is_superuser", True) and there.check_password(admin["password"]):
            return MADE  # by this deployment or one before it that was cut off
        print("There is a user called %s already, who is left alone." % name)
        return EXISTS
    if unknown:
        print("The project's user model asks for more than is known of an admin: %s." % ", ".join(unknown))
        return FAILED
    model._default_manager.create_superuser(password=admin["password"], **given)
    print("Made the superuser %s." % name)
    return MADE


def main(word):
    if word != "make":
        return ask(word)
    admin = json.loads(sys.stdin.read())
    try:
        return make(admin)
    except Exception as error:
        print("%s: %s" % (type(error).__name__, error))
        return FAILED


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    sys.exit(code)
