"""The guestbook's one page."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from .forms import EntryForm
from .models import Entry

PER_PAGE = 20


@require_http_methods(["GET", "HEAD", "POST"])
def guestbook(request):
    """Shows the entries, newest first, and takes a new one."""
    form = EntryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        entry = form.save()
        messages.success(request, f"Thank you, {entry.name}.")
        return redirect("guestbook")
    page = Paginator(Entry.objects.all(), PER_PAGE).get_page(request.GET.get("page"))
    status = 422 if request.method == "POST" else 200
    return render(request, "entries/guestbook.html", {"form": form, "page": page}, status=status)
