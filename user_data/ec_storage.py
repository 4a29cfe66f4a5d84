"""The project's storage of static files, so that one missing file does not take the whole page with it.

It is loaded when Django first asks for it, since a project's own storage may need its apps.
"""

from django.conf import settings
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.utils.module_loading import import_string

from ec_notes import note


def _own():
    path = settings.EC_STATIC_STORAGE
    try:
        return import_string(path)
    except (ImportError, AttributeError) as error:
        note("warning", "The storage of static files %s does not load (%s): Django's plain one is used." % (path, error))
        return StaticFilesStorage


class Storage(_own()):
    """What is not in the manifest, or not there at all, keeps its plain name."""

    manifest_strict = False

    def stored_name(self, name):
        stored = super().stored_name(name)
        # Of what came into the directory otherwise, no copy by that name was made.
        return stored if not isinstance(self, StaticFilesStorage) or self.exists(stored) else name

    def hashed_name(self, name, content=None, filename=None):
        try:
            return super().hashed_name(name, content, filename)
        except ValueError:
            note("warning", "A page or stylesheet names the static file %s, which is not there." % str(name)[:150])
            return name
