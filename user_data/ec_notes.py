"""What a release's settings put right, for the deployment's log."""

import os

# What the management commands of a deployment note is told once; the processes that serve only write it down here.
_noted = set()


def note(kind, text):
    """Notes a sentence; KIND is `repaired` or `warning`."""
    line = "%s %s" % (kind, " ".join(str(text).split()))
    if line in _noted:
        return
    _noted.add(line)
    path = os.environ.get("EC_NOTES")
    if path:
        with open(path, "a") as file:
            file.write(line + "\n")
