"""Small pieces of database."""

import pytest
from django.db import connection

from audit.db import call

pytestmark = pytest.mark.django_db


def test_a_statement_that_every_step_needs_is_prepared_once_per_connection():
    statement = "SELECT %s::integer + 1 AS prepared_once"
    assert [call(statement, [number]) for number in (1, 2, 3)] == [2, 3, 4]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement LIKE '%AS prepared_once'"
        )
        assert cursor.fetchall() == [(3,)]
