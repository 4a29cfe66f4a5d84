"""What visitors leave in the guestbook."""

from django.db import models


class Entry(models.Model):
    """One line of one visitor."""

    name = models.CharField("your name", max_length=60)
    message = models.TextField("your message", max_length=500)
    created_at = models.DateTimeField("written", auto_now_add=True, db_index=True)

    class Meta:
        """Newest first, as a reader wants them."""

        ordering = ["-created_at", "-id"]
        verbose_name_plural = "entries"

    def __str__(self):
        return f"{self.name}: {self.message[:40]}"
