"""The guestbook's URLs."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("entries.urls")),
    path("admin/", admin.site.urls),
]
