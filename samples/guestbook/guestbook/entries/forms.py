"""The form that visitors sign with."""

from django import forms

from .models import Entry


class EntryForm(forms.ModelForm):
    """A name and a message."""

    class Meta:
        """Taken from the model; browsers may fill the name in."""

        model = Entry
        fields = ["name", "message"]
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "message": forms.Textarea(attrs={"rows": 3}),
        }
