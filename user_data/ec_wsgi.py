"""The WSGI entry: the overlay is loaded before the project's own module can name other settings.

What fails there is often made for another server: with Django's own entry the project has its pages all the same.
"""

import importlib
import os
import traceback

from django.conf import settings

from ec_notes import note

settings.INSTALLED_APPS

_application = None
if os.environ.get("EC_WSGI"):
    try:
        _application = getattr(importlib.import_module(os.environ["EC_WSGI"]), "application", None)
    except Exception as error:
        traceback.print_exc()
        note("warning", "%s fails (%s: %s): Django's own entry is used." % (
            os.environ["EC_WSGI"], type(error).__name__, str(error)[:150]))
    os.environ["DJANGO_SETTINGS_MODULE"] = "ec_overlay"
if _application is None:
    from django.core.wsgi import get_wsgi_application

    _application = get_wsgi_application()
application = _application
