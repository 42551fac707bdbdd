"""The paths of a person's tokens."""

from __future__ import annotations

from django.urls import path

from chiffon_site.accounts import views

app_name = "accounts"

urlpatterns = [
    path("", views.tokens, name="tokens"),
    path("<uuid:token_id>/revoke/", views.revoke, name="revoke_token"),
]
