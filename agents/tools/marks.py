"""The mark that every process of an agent's steps carries in its environment, so that orphans can be found."""

from __future__ import annotations

from django.conf import settings


def mark_of(agent: str) -> str:
    """The beginning of the tag of everything this agent of this installation starts."""
    return f"{settings.CHIFFON_INSTALLATION}.{agent}:"
