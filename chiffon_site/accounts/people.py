"""Making people: the one place that creates a user with roles, and records it."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from audit import trail
from audit.context import SYSTEM, acting


class NameTaken(Exception):
    """Somebody has that name already."""


def create_person(*, name: str, full_name: str, roles: Iterable[str], password: str, email: str = "") -> Any:
    """Create a person with roles and record it. Raises NameTaken, and ValidationError for a name that cannot be one."""
    first, _, last = full_name.strip().partition(" ")
    roles = sorted(set(roles))
    user = get_user_model()(username=name, first_name=first, last_name=last, email=email)
    user.set_password(password)
    user.clean_fields()
    try:
        with acting(SYSTEM), transaction.atomic():
            user.save(force_insert=True)
            user.groups.set(Group.objects.filter(name__in=roles))
            trail.record("person.added", subject=("person", name), reason="Made on the command line.", roles=roles)
    except IntegrityError as error:
        raise NameTaken(f"There is a person called {name} already.") from error
    return user
