"""The app of the guestbook's entries."""

from django.apps import AppConfig


class EntriesConfig(AppConfig):
    """Entries of the guestbook."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "entries"
