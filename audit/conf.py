"""Constants of the trail, and what it reads from the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage, Error

SEQUENCE: Final = "audit_decisionrecord_sequence"

DEFAULT_AUTHOR: Final = "Chiffon audit <audit@chiffon.invalid>"
_AUTHOR: Final = re.compile(r"[^<>\x00-\x1f]*[^<>\x00-\x20] <[^<>\s@]+@[^<>\s@]+>")


def audit_author() -> str:
    """Who commits to the audit repository, as `Name <address>`."""
    return str(getattr(settings, "CHIFFON_AUDIT_AUTHOR", "") or DEFAULT_AUTHOR)


def audit_folder() -> Path:
    """The folder of the audit repository."""
    return Path(settings.CHIFFON_AUDIT_DIR)


def check_settings(**_: object) -> list[CheckMessage]:
    """Say at the start what would otherwise fail at the first commit."""
    if _AUTHOR.fullmatch(audit_author()):
        return []
    return [Error("CHIFFON_AUDIT_AUTHOR must look like: Name <name@example.com>.", id="audit.E001")]
