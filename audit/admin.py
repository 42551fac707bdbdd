"""Decision records, to read: filtered by kind and time, with links to trace, plan, subject and proof."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from audit import links
from audit.admin_base import ReadingRoom, anchor
from audit.links import page
from audit.models import DecisionRecord
from audit.proof import check_record
from audit.query import GROUPS, of_id, trace_of


class KindFilter(admin.SimpleListFilter):
    """By family of types: choices are known, so the table need not be asked for them."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The families of the audit page."""
        return [(name, name.capitalize()) for name in GROUPS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DecisionRecord]) -> QuerySet[DecisionRecord]:
        """The records of the chosen family."""
        types = GROUPS.get(self.value() or "")
        return queryset.filter(type__in=types) if types else queryset


class ActorKindFilter(admin.SimpleListFilter):
    """By who acted: a person, an agent, or Chiffon itself."""

    title = "who"
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The kinds of actor."""
        return [("person", "A person"), ("agent", "An agent"), ("system", "Chiffon")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DecisionRecord]) -> QuerySet[DecisionRecord]:
        """The records by the chosen kind of actor."""
        return queryset.filter(actor_kind=self.value()) if self.value() else queryset


@admin.register(DecisionRecord)
class DecisionRecordAdmin(ReadingRoom):
    """Every decision that was recorded."""

    list_display = ("sequence", "at", "type", "actor", "about", "reason", "service", "trace")
    list_filter = (KindFilter, ActorKindFilter, "at")
    words = ("canonical",)
    ids = ("trace_id",)
    numbers = ("sequence",)

    def _about(self, word: str) -> Q:
        about = super()._about(word)
        try:
            return about | Q(trace_id=trace_of(UUID(word))) | of_id(word)
        except ValueError:
            return about | of_id(word) if "-" in word else about

    @admin.display(description="Subject")
    def about(self, record: DecisionRecord) -> str:
        """The subject's kind and the beginning of its id: a list asks for no names."""
        return f"{record.subject_kind} {record.subject_id[:13]}"

    @admin.display(description="Trace")
    def trace(self, record: DecisionRecord) -> SafeString | str:
        """The page of its trace."""
        return anchor(page("audit:trace", record.trace_id), str(record.trace_id)[:8]) if record.trace_id else ""

    def links(self, obj: DecisionRecord) -> list[tuple[str, str]]:
        """Its trace, plan, subject and proof."""
        plan = links.owners_of([obj.trace_id]).get(obj.trace_id) if obj.trace_id else None
        subject = links.link_for(obj.subject_kind, obj.subject_id)
        proof = "Its proof: the hash matches" if check_record(obj) else "Its proof: BROKEN"
        return [
            ("Its trace", page("audit:trace", obj.trace_id) if obj.trace_id else ""),
            (plan.text if plan else "", plan.url if plan else ""),
            (subject.text if subject else "", subject.url if subject and subject != plan else ""),
            (proof, page("audit:record", obj.sequence)),
        ]
