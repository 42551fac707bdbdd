"""What the models promise about rows, the database keeps."""

import pytest
from django.apps import apps
from django.db import connection

pytestmark = [pytest.mark.django_db, pytest.mark.integration]


def test_the_database_has_every_constraint_and_index_that_the_models_promise():
    missing = set()
    with connection.cursor() as cursor:
        for model in apps.get_models():
            promised = [*model._meta.constraints, *model._meta.indexes] if model._meta.managed else []
            there = connection.introspection.get_constraints(cursor, model._meta.db_table) if promised else {}
            missing |= {f"{model._meta.label}: {each.name}" for each in promised if each.name not in there}
    assert missing == set()
