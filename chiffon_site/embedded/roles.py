"""Three database roles: the cluster's superuser (only here), the owner (migrates), the application (may not undo the trail)."""

from collections.abc import Iterable
from typing import Final

import psycopg
from psycopg import sql

from audit.tables import APPEND_ONLY_TABLES

OWNER: Final = "chiffon_owner"
APPLICATION: Final = "chiffon_app"
DATABASE: Final = "chiffon"


def create_roles(
    superuser_url: str, *, owner_password: str, application_password: str, database: str = DATABASE
) -> None:
    """Make the two roles and the database, or bring their passwords and rights up to date.

    Raises psycopg.Error if the server refuses.
    """
    with psycopg.connect(superuser_url, autocommit=True, connect_timeout=5) as link:
        for role, password in ((OWNER, owner_password), (APPLICATION, application_password)):
            known = link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
            verb = sql.SQL("ALTER" if known else "CREATE")
            link.execute(
                sql.SQL(
                    "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
                ).format(verb, sql.Identifier(role), sql.Literal(password))
            )
        if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            link.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER)))
        link.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        link.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(APPLICATION))
        )


def grant(owner_url: str, application: str = APPLICATION, *, append_only: Iterable[str] = APPEND_ONLY_TABLES) -> None:
    """Give the application what it needs, and take back what would let it alter the trail; may run any number of times.

    Runs as the owner of the tables, after each migration. New tables, such as next month's partition, are readable and may be
    inserted into at once; rows are altered through a partition's parent, whose rights count.

    Raises psycopg.Error if the server refuses.
    """
    role = sql.Identifier(application)
    with psycopg.connect(owner_url, connect_timeout=5) as link:
        for statement in _GRANTS:
            link.execute(sql.SQL(statement).format(app=role))
        for table in _with_partitions(link, append_only):
            link.execute(
                sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON TABLE {} FROM {}").format(sql.Identifier(table), role)
            )
        if link.execute("SELECT to_regclass('public.django_migrations')").fetchone() != (None,):
            # What has been migrated is the owner's word.
            link.execute(sql.SQL("REVOKE INSERT, UPDATE, DELETE ON TABLE django_migrations FROM {}").format(role))


_GRANTS: Final = (
    "GRANT USAGE ON SCHEMA public TO {app}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {app}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {app}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {app}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO {app}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {app}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO {app}",
)


def _with_partitions(link: psycopg.Connection[tuple[object, ...]], tables: Iterable[str]) -> list[str]:
    rows = link.execute(
        """
        SELECT child.relname FROM unnest(%s::text[]) AS named(name)
        JOIN LATERAL (
            SELECT to_regclass('public.' || quote_ident(named.name)) AS oid
        ) AS root ON root.oid IS NOT NULL
        JOIN LATERAL (
            SELECT root.oid AS relid UNION SELECT relid FROM pg_partition_tree(root.oid)
        ) AS tree ON true
        JOIN pg_class AS child ON child.oid = tree.relid
        ORDER BY child.relname
        """,
        [list(tables)],
    ).fetchall()
    return [str(row[0]) for row in rows]
