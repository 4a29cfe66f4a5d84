"""The WSGI entry: the overlay is loaded before the project's own module can name other settings."""

import importlib
import os

from django.conf import settings

settings.INSTALLED_APPS

_application = None
if os.environ.get("EC_WSGI"):
    _application = getattr(importlib.import_module(os.environ["EC_WSGI"]), "application", None)
    os.environ["DJANGO_SETTINGS_MODULE"] = "ec_overlay"
if _application is None:
    from django.core.wsgi import get_wsgi_application

    _application = get_wsgi_application()
application = _application
