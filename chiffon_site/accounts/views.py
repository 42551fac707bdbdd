"""A person's tokens: the list, a new one (shown once), and the end of one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from audit.authority import SCOPES, Action, may
from audit.context import Actor
from chiffon_site.accounts.models import ApiToken
from chiffon_site.accounts.tokens import LONGEST_LIFE_DAYS, LONGEST_NAME, BadToken, create_token, revoke_token

SCOPE_WORDS = {
    "requests:write": "ask for work, answer questions, retry steps",
    "plans:read": "read requests, plans, agents and playbooks",
    "plans:approve": "approve and reject plans",
    "agents:manage": "drain and activate agents",
    "playbooks:write": "read the playbooks anew",
    "audit:read": "read the audit trail",
}


class TokenForm(forms.Form):
    """What a new token is called, what it may do, and for how long."""

    name = forms.CharField(max_length=LONGEST_NAME, label="Name")
    scopes = forms.MultipleChoiceField(
        choices=[(scope, SCOPE_WORDS.get(scope, scope)) for scope in sorted(SCOPES)], label="May"
    )
    days = forms.IntegerField(
        min_value=1, max_value=LONGEST_LIFE_DAYS, required=False, initial=90, label="Valid for days; empty is for ever"
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """The tokens of this person; a POST makes one and shows it this once."""
    actor = _actor(request)
    form = TokenForm(request.POST if request.method == "POST" else None)
    made, text, status = None, "", 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made, text = create_token(
                    actor=actor,
                    user=request.user,
                    name=form.cleaned_data["name"],
                    scopes=form.cleaned_data["scopes"],
                    days=form.cleaned_data["days"],
                )
                form, status = TokenForm(), 201
            except BadToken as error:
                form.add_error(None, str(error))
    return render(request, "accounts/tokens.html", _page(request, form, made, text), status=status)


@require_POST
def revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """End one token at once."""
    token = revoke_token(actor=_actor(request), token_id=token_id)
    if token is None:
        raise Http404
    messages.success(request, f"The token {token.name} is revoked.")
    return redirect("accounts:tokens")


def _page(request: HttpRequest, form: TokenForm, made: ApiToken | None, text: str) -> dict[str, Any]:
    now = timezone.now()
    rows = [
        {"token": token, "is_valid": token.revoked_at is None and (token.expires_at is None or token.expires_at > now)}
        for token in ApiToken.objects.filter(user=request.user.pk).order_by("-created_at")[:200]
    ]
    return {"section": "tokens", "form": form, "rows": rows, "made": made, "text": text}


def _actor(request: HttpRequest) -> Actor:
    actor = Actor.person(request.user)
    answer = may(actor, Action.MANAGE_TOKENS)
    if not answer:
        raise PermissionDenied(answer.sentence)
    return actor
