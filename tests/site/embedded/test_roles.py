"""What the application's database role may not do, tried on the real tables."""

import psycopg
import pytest

from audit.tables import APPEND_ONLY_TABLES
from chiffon_site.embedded import roles


@pytest.fixture
def application(application_url):
    with psycopg.connect(application_url, autocommit=True) as link:
        yield link


@pytest.fixture
def owner(application_url, django_db_blocker):
    from django.db import connection

    with django_db_blocker.unblock():
        values = connection.settings_dict
    url = f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    with psycopg.connect(url, autocommit=True) as link:
        yield link


def partitions(link, table):
    rows = link.execute("SELECT relid::regclass::text FROM pg_partition_tree(%s::regclass)", [table]).fetchall()
    return [name for (name,) in rows] or [table]


@pytest.mark.parametrize("table", APPEND_ONLY_TABLES)
@pytest.mark.parametrize(
    "statement", ["DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} DISABLE TRIGGER ALL"]
)
def test_application_cannot_remove_what_is_append_only(application, table, statement):
    for name in partitions(application, table):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute(statement.format(name))


@pytest.mark.parametrize("table", APPEND_ONLY_TABLES)
def test_application_cannot_alter_what_is_append_only(application, table):
    for name in partitions(application, table):
        (column,) = application.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum LIMIT 1",
            [name],
        ).fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute(f'UPDATE {name} SET "{column}" = "{column}"')


def test_application_owns_nothing_and_cannot_make_tables(application):
    assert application.execute("SELECT count(*) FROM pg_tables WHERE tableowner = current_user").fetchone() == (0,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute("CREATE TABLE mine (x int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute("SET session_replication_role = replica")


def test_application_cannot_claim_that_a_migration_ran(application):
    application.execute("SELECT count(*) FROM django_migrations")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute("DELETE FROM django_migrations")


def test_application_may_work_with_ordinary_tables(application):
    with application.transaction(force_rollback=True):
        application.execute("INSERT INTO auth_group (name) VALUES ('x')")
        application.execute("UPDATE auth_group SET name = 'y' WHERE name = 'x'")
        assert application.execute("DELETE FROM auth_group WHERE name = 'y'").rowcount == 1


def test_new_partition_may_be_read_and_inserted_into_and_nothing_else(application, owner):
    owner.execute("CREATE TABLE tomorrow (x int)")
    try:
        application.execute("INSERT INTO tomorrow VALUES (1)")
        assert application.execute("SELECT x FROM tomorrow").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute("DELETE FROM tomorrow")
    finally:
        owner.execute("DROP TABLE tomorrow")


def test_granting_again_changes_nothing(application_url, owner):
    asked = "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants ORDER BY 1, 2, 3"
    before = owner.execute(asked).fetchall()
    roles.grant(owner.info.dsn + f" password={owner.info.password}")
    assert owner.execute(asked).fetchall() == before
