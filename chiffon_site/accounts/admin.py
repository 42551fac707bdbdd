"""People and their roles: read by who may browse, added and changed by administrators, and every change is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from audit import trail
from audit.admin_base import ReadingRoom
from audit.authority import Action, may
from audit.context import Actor, acting

if TYPE_CHECKING:
    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin

# Django's and allauth's own admins could change rows without a record.
for model in (Group, User, EmailAddress):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(Group)
class RoleAdmin(ReadingRoom):
    """Roles. They are fixed: what each may do is written in code and tested."""

    list_display = ("name",)
    words = ("name",)


@admin.register(User)
class PersonAdmin(_UserAdmin):
    """People. Nobody is ever deleted: a person who left is switched off, so that the trail keeps its names."""

    list_display = ("username", "first_name", "last_name", "email", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Who it is", {"fields": ("first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("is_active", "groups")}),
        ("When", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ("groups",)
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may browse reads."""
        return bool(may(Actor.person(request.user), Action.BROWSE_ADMIN))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The app is listed for who may read."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Administrators add people."""
        return bool(may(Actor.person(request.user), Action.MANAGE_PEOPLE))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Administrators change people."""
        return bool(may(Actor.person(request.user), Action.MANAGE_PEOPLE))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Set somebody's password; the change and its record commit together."""
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Record who was added, beside Django's own log."""
        self._record(request, "person.added", obj, "a new account")
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Record which fields of whom were changed, beside Django's own log."""
        changed = sorted({str(name) for part in message for name in part.get("changed", {}).get("fields", [])})
        self._record(request, "person.changed", obj, ", ".join(changed) or "nothing", changed=changed)
        return super().log_change(request, obj, message)

    def _record(self, request: HttpRequest, type_: str, user: User, reason: str, **facts: Any) -> None:
        roles = sorted(user.groups.values_list("name", flat=True))
        with acting(Actor.person(request.user)):
            trail.record(type_, subject=("person", user.get_username()), reason=reason, roles=roles, **facts)
