"""Everything a person types into the pages of this app."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from plans.enums import Stage

LONGEST_NUMBER = 2**63 - 1


class ApproveForm(forms.Form):
    """The digest that was on the screen, and a comment for the trail."""

    digest = forms.RegexField(r"^[0-9a-f]{64}$", error_messages={"invalid": "This is not the digest of a plan."})
    comment = forms.CharField(required=False, max_length=2000)


class RejectForm(forms.Form):
    """Why a plan is rejected. The digest says what was on the screen."""

    digest = forms.CharField(required=False, max_length=64)
    reason = forms.CharField(
        max_length=2000, error_messages={"required": "Say why: the requester reads it, and it stays in the trail."}
    )


class RetryForm(forms.Form):
    """Why a step gets another try."""

    reason = forms.CharField(
        label="Why is it worth another try?",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Optional; it stays in the trail.",
    )


class NarrowForm(RetryForm):
    """Why a playbook gets another try, and on which hosts."""

    hosts = forms.ChoiceField(
        label="On which hosts",
        required=False,
        choices=[("", "All its hosts"), ("unfinished", "Only those that are not finished")],
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": "Choose all hosts, or those that are not finished."},
    )


class ReasonForm(forms.Form):
    """Why a plan or a step is steered."""

    reason = forms.CharField(
        label="Why",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="It stays in the trail, with your name.",
        error_messages={"required": "Say why: the people who asked and approved read this."},
    )

    def __init__(self, data: Any = None, *, needed: bool) -> None:
        super().__init__(data)
        self.fields["reason"].required = needed
        if not needed:
            self.fields["reason"].help_text = "Optional; it stays in the trail."


class RevisionForm(forms.Form):
    """Why a plan is changed, and the digest that was on the screen. The plan's own fields are read by plans.revise_form."""

    digest = forms.RegexField(r"^[0-9a-f]{64}$", error_messages={"invalid": "This is not the digest of a plan."})
    reason = forms.CharField(
        label="Why is it changed?",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Whoever approves it reads this, and it stays in the trail.",
        error_messages={"required": "Say why it is changed: whoever approves it reads this."},
    )


class RevisionFilter(forms.Form):
    """Which two revisions are compared."""

    a = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    b = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)


class PolicyForm(forms.Form):
    """The next version of the approval policy."""

    approvals_needed = forms.IntegerField(
        label="How many people must approve a plan",
        min_value=1,
        max_value=20,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
        help_text="Everyone counts once for each revision.",
    )
    four_eyes = forms.BooleanField(label="Nobody approves what they asked for (four eyes)", required=False)
    because = forms.CharField(
        label="Why",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="It stays in the trail, with your name.",
        error_messages={"required": "Say why: the next person who reads the policy wants to know."},
    )


class PlanFilter(forms.Form):
    """What the list of plans is narrowed to. Anything unknown is an error, never a surprise."""

    q = forms.CharField(required=False, max_length=200)
    stage = forms.ChoiceField(required=False, choices=[("", "Every stage"), *Stage.choices])
    requester = forms.CharField(required=False, max_length=150)
    before = forms.IntegerField(required=False, min_value=1, max_value=LONGEST_NUMBER)

    def clean_q(self) -> str:
        """Refuse what no database text can hold."""
        words: str = self.cleaned_data["q"]
        if "\0" in words:
            raise forms.ValidationError("A search can not hold a NUL character.")
        return words


class PageFilter(forms.Form):
    """The key of a page in a list."""

    before = forms.IntegerField(required=False, min_value=1, max_value=LONGEST_NUMBER)


def whole_number(value: Any, *, least: int = 1, most: int = 2**31 - 1) -> int | None:
    """A number from an address, or None if it is not one or out of bounds."""
    try:
        number: int = forms.IntegerField(
            required=False, validators=[MinValueValidator(least), MaxValueValidator(most)]
        ).clean(value)
    except forms.ValidationError:
        return None
    return number
