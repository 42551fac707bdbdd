"""Records as people read them: a sentence with who did it in bold, an icon, a tone, a link, the time since the last."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from audit import links
from audit.decisions import DECISIONS, sentence
from audit.links import Link
from audit.models import DecisionRecord
from audit.proof import Proof, check_record

GAP: Final = timedelta(seconds=60)  # a shorter wait is not worth a word
_WHO: Final = "\ue000"  # a private character stands for the actor until the sentence is escaped
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LONGEST: Final = 600  # characters of one sentence


@dataclass(frozen=True, slots=True)
class Tale:
    """One record, told."""

    record: DecisionRecord
    said: SafeString
    icon: str
    tone: str
    subject: Link | None
    plan: Link | None
    who: str
    gap: timedelta | None
    proof: Proof

    @property
    def is_by_person(self) -> bool:
        """Whether a person decided."""
        return self.record.actor_kind == "person"


def tell(records: Sequence[DecisionRecord], *, gaps: bool = False) -> list[Tale]:
    """Tell these records; with `gaps`, each also says how long it came after the one before, if that was long.

    Every record is hashed again on the way, so what is shown as matching was looked at now.
    """
    known = links.links_for(
        [(record.subject_kind, record.subject_id) for record in records]
        + [("person", record.actor) for record in records if record.actor_kind == "person"]
    )
    plans = links.owners_of({record.trace_id for record in records if record.trace_id})
    told = []
    before: DecisionRecord | None = None
    for record in records:
        subject = known.get((record.subject_kind, record.subject_id))
        type_ = DECISIONS.get(record.type)
        who = _who(record, known.get(("person", record.actor)))
        waited: timedelta | None = record.at - before.at if gaps and before else None
        told.append(
            Tale(
                record=record,
                said=_said(record, subject, who),
                icon=type_.icon if type_ else "unknown",
                tone=type_.tone if type_ else "idle",
                subject=subject,
                plan=plans.get(record.trace_id) if record.trace_id else None,
                who=who,
                gap=waited if waited is not None and waited >= GAP else None,
                proof=check_record(record),
            )
        )
        before = record
    return told


def _who(record: DecisionRecord, person: Link | None) -> str:
    if record.actor_kind == "system":
        return "Chiffon"
    return person.text if person and record.actor_kind == "person" else record.actor


def _said(record: DecisionRecord, subject: Link | None, who: str) -> SafeString:
    labels = links.labels_of(record.type)
    text = sentence(
        record.type,
        actor=_WHO,
        subject=subject.text if subject else record.subject_id,
        reason=record.reason.replace(_WHO, ""),
        facts={name: _fact(value, labels) for name, value in record.metadata.items()},
    )
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    # The name that signed in is the proof's; a full name is how colleagues know each other.
    known_as = format_html(' title="{}"', record.actor) if who not in (record.actor, "Chiffon") else ""
    bold = format_html("<strong{}>{}</strong>", known_as, who)
    return mark_safe(bold.join(conditional_escape(part) for part in text.split(_WHO)))  # noqa: S308 - every part is escaped


def _fact(value: object, labels: Mapping[str, str]) -> object:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if not isinstance(value, str):
        return value
    # A commit or digest is recognised by its beginning; the record's own page shows all of it.
    return value[:12] if _HASH.fullmatch(value) else labels.get(value, value).replace(_WHO, "")
