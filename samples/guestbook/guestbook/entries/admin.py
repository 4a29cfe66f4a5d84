"""The guestbook in the admin."""

from django.contrib import admin

from .models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    """Entries, found by who wrote them or by what they say."""

    list_display = ["name", "message", "created_at"]
    search_fields = ["name", "message"]
    date_hierarchy = "created_at"
