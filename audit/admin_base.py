"""What every read-only admin shares: no add, change or delete for anybody, search by id or word, pages by key.

Lists are paged by the primary key and nothing is counted, so a page costs the same however much there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters, ShowFacets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from audit.authority import Action, may
from audit.context import Actor

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin

BEFORE = "before"


class KeyPagedList(ChangeList):
    """A change list whose next page begins below the last key, instead of at a count of rows."""

    older: Any = None

    def get_filters_params(self, params: Any = None) -> Any:
        """`before` names a place in the list and is no filter."""
        return {name: value for name, value in super().get_filters_params(params).items() if name != BEFORE}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The rows that fit, from the named place on."""
        rows = super().get_queryset(request, exclude_parameters).order_by("-pk")
        before = request.GET.get(BEFORE)
        if before is None:
            return rows
        try:
            return rows.filter(pk__lt=self.model._meta.pk.to_python(before))
        except (ValidationError, ValueError, OverflowError) as error:
            raise IncorrectLookupParameters(error) from error

    def get_results(self, request: HttpRequest) -> None:
        """One page and whether there is more; the rest of Django's numbers are about this page alone."""
        try:
            rows = list(self.queryset[: self.list_per_page + 1])
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters(error) from error
        self.result_list = rows[: self.list_per_page]
        self.older = rows[self.list_per_page - 1].pk if len(rows) > self.list_per_page else None
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, self.list_per_page)

    @property
    def older_url(self) -> str:
        """Where the list goes on."""
        return self.get_query_string({BEFORE: str(self.older)}) if self.older is not None else ""

    @property
    def newest_url(self) -> str:
        """Where the list begins, if this page is not its beginning."""
        return self.get_query_string(remove=[BEFORE]) if BEFORE in self.params else ""


class ReadingRoom(_Admin):
    """The base of every admin of ours: reading for who may browse, and nothing else for anybody."""

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    actions = None
    sortable_by = ()
    related: ClassVar[Sequence[str]] = ()  # foreign keys that a row shows
    words: ClassVar[Sequence[str]] = ()  # columns that words are looked for in
    ids: ClassVar[Sequence[str]] = ("pk",)  # columns that a whole UUID is looked for in
    numbers: ClassVar[Sequence[str]] = ()  # columns that a number is looked for in
    search_fields = ("pk",)  # only so that Django shows the field; get_search_results does the work

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may browse the admin reads everything in it."""
        return bool(may(Actor.person(request.user), Action.BROWSE_ADMIN))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The app is listed for who may read."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with what they show joined, so that a page costs a fixed number of queries."""
        rows = super().get_queryset(request)
        return rows.select_related(*self.related) if self.related else rows

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Newest first: keys grow with time."""
        return ("-pk",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list that is paged by key."""
        return KeyPagedList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Every word must be found: a UUID in the id columns, a number in the number columns, else in the words."""
        for word in search_term.split()[:8]:
            queryset = queryset.filter(self._about(word))
        return queryset, False

    def _about(self, word: str) -> Q:
        fits = Q(pk__in=[])
        for column in self.words:
            fits |= Q(**{f"{column}__icontains": word})
        try:
            id_ = UUID(word)
        except ValueError:
            id_ = None
        if id_ is not None:
            for column in self.ids:
                fits |= Q(**{column: id_})
        if word.isascii() and word.isdigit() and len(word) <= 18:
            for column in self.numbers:
                fits |= Q(**{column: int(word)})
        return fits

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Every column, JSON written out in lines."""
        return [
            _pretty(field) if isinstance(field, models.JSONField) else field.name
            for field in self.model._meta.get_fields()
            if isinstance(field, models.Field) and not field.many_to_many
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """All of them."""
        return self.get_fields(request, obj)

    def links(self, obj: Any) -> list[tuple[str, str]]:
        """Where this row leads: what a link says, and its address. An empty address is left out."""
        return []

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One row to read, with where it leads."""
        obj = self.get_object(request, object_id)
        found = [(label, url) for label, url in self.links(obj) if url] if obj is not None else []
        said = {"leads_to": found, "title": f"{obj}, to read", "subtitle": None}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **said})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, under a heading that says it is to read."""
        heading = f"{str(self.opts.verbose_name_plural).capitalize()}, to read"
        return super().changelist_view(request, {**(extra_context or {}), "title": heading})


def row_url(obj: models.Model | None) -> str:
    """The admin's page of a row; empty for no row."""
    if obj is None:
        return ""
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def list_url(model: str, **filters: str | int | UUID) -> str:
    """The admin's list of a model (`plans_step`), narrowed."""
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode({name: str(value) for name, value in filters.items()})}"


def anchor(url: str, text: object) -> SafeString | str:
    """A link, or the text alone if it leads nowhere."""
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


@cache
def _pretty(field: models.Field[Any, Any]) -> Callable[[Any], SafeString]:
    @admin.display(description=str(field.verbose_name).capitalize())
    def written_out(obj: Any) -> SafeString:
        value = getattr(obj, field.attname)
        return format_html(
            "<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str)
        )

    written_out.__name__ = field.name
    return written_out
