"""What the models promise about rows, the database keeps."""

import pgtrigger
import pytest
from django.apps import apps
from django.db import connection

from audit.db import LegalMoves

pytestmark = [pytest.mark.django_db, pytest.mark.integration]


def test_the_database_has_every_constraint_and_index_that_the_models_promise():
    missing = set()
    with connection.cursor() as cursor:
        for model in apps.get_models():
            promised = [*model._meta.constraints, *model._meta.indexes] if model._meta.managed else []
            there = connection.introspection.get_constraints(cursor, model._meta.db_table) if promised else {}
            missing |= {f"{model._meta.label}: {each.name}" for each in promised if each.name not in there}
    assert missing == set()


def test_the_database_asks_about_moves_as_the_models_say():
    told = [trigger.define() for _, trigger in pgtrigger.registered() if isinstance(trigger, LegalMoves)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname ~ '^legal_'")
        there = [body for (body,) in cursor.fetchall()]
    assert len(told) >= 6
    assert [one for one in told if not any(body in one for body in there)] == []
