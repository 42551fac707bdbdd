"""`manage.py worker`: the Celery worker that does background jobs."""

import logging
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from agents import jobs as job_rows
from agents.conf import JOB_QUEUE
from agents.supervisor.processes import is_alive
from agents.worker import consume
from chiffon_site import jobs  # noqa: F401 - registers what the jobs do
from chiffon_site.celery import app
from chiffon_site.patience import wait_for_database

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """Do background jobs until told to stop."""

    help = "Do background jobs until told to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--slots", type=int, default=1, help="how many jobs at once")

    def handle(self, *_args: Any, slots: int, **_options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        os.nice(5)  # chores are for when nobody's step wants the processor
        wait_for_database()
        if count := job_rows.give_back(alive=is_alive):
            logger.warning("%s jobs that an earlier worker held are tried again", count)
        connection.close()
        sys.exit(consume(app, queue=JOB_QUEUE, name="jobs", slots=slots))
