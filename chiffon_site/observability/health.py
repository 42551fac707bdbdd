"""Probes that test what they claim."""

from collections.abc import Callable
from typing import Final

from celery import current_app
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agents.tools.registry import left_out

BROKER_PATIENCE_SECONDS: Final = 1


class NotReady(Exception):
    """A part that Chiffon needs does not answer; the message is for an operator."""


def check_database() -> str:
    """Run a statement. Raises NotReady."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, pg_is_in_recovery()")
            row = cursor.fetchone()
    except DatabaseError as error:
        raise NotReady(f"PostgreSQL does not answer: {_first_line(error)}") from error
    if row is None or row[1]:
        raise NotReady("PostgreSQL is a standby that takes no writes.")
    return f"answers as {row[0]}"


def check_migrations() -> str:
    """Compare the applied migrations with the files. Raises NotReady."""
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise NotReady(f"The migrations cannot be read: {_first_line(error)}") from error
    if waiting:
        raise NotReady(
            f"{len(waiting)} migrations wait, the first is {waiting[0][0]}; run manage.py migrate as the owner."
        )
    return "complete"


def check_broker() -> str:
    """Open a connection to the broker within a second. Raises NotReady."""
    try:
        with current_app.connection_for_write(
            connect_timeout=BROKER_PATIENCE_SECONDS,
            transport_options={
                "socket_timeout": BROKER_PATIENCE_SECONDS,
                "socket_connect_timeout": BROKER_PATIENCE_SECONDS,
                "max_retries": 0,
            },
        ) as link:
            link.ensure_connection(max_retries=1, timeout=BROKER_PATIENCE_SECONDS)
            link.default_channel.close()
    except Exception as error:  # the transports share no base class
        raise NotReady(f"The broker does not answer: {_first_line(error)}") from error
    return "answers"


CHECKS: Final[dict[str, Callable[[], str]]] = {
    "database": check_database,
    "migrations": check_migrations,
    "broker": check_broker,
}


def owns_its_tables() -> bool:
    """Whether the role of this process owns the record table, so that it could undo what protects the records."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user")
        row = cursor.fetchone()
    return bool(row and row[0])


@never_cache
@require_safe
@login_not_required
def alive(request: HttpRequest) -> HttpResponse:
    """Say that the process is up, and nothing more."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
@login_not_required
def ready(request: HttpRequest) -> HttpResponse:
    """Try the database, the migrations and the broker; 503 with the reason if one fails."""
    report: dict[str, str] = {}
    failed = False
    for name, check in CHECKS.items():
        try:
            report[name] = check()
        except NotReady as error:
            failed = True
            # The words of a driver may name hosts and accounts; whoever is not signed in gets the first half only.
            report[name] = str(error).split(":", 1)[0]
    body: dict[str, object] = {"ready": not failed, "checks": report}
    if warnings := [] if failed else _warnings():
        body["warnings"] = warnings
    response = JsonResponse(body, status=503 if failed else 200)
    if failed:
        response["Retry-After"] = "2"
    return response


def _warnings() -> list[str]:
    """What works and yet needs somebody; without names, because whoever is not signed in reads it."""
    found = []
    if owns_its_tables():
        found.append(
            "The application's database role owns its tables: set CHIFFON_MIGRATE_DATABASE_URL to a separate owner."
        )
    if broken := left_out():
        found.append(f"Third-party tools are left out ({len(broken)}): chiffon doctor and the tools page say why.")
    return found


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]
