"""`manage.py worker`: the Celery worker that does background jobs."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from agents.conf import JOB_QUEUE
from agents.worker import consume
from chiffon_site import jobs  # noqa: F401 - registers what the jobs do
from chiffon_site.celery import app


class Command(BaseCommand):
    """Do background jobs until told to stop."""

    help = "Do background jobs until told to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--slots", type=int, default=1, help="how many jobs at once")

    def handle(self, *_args: Any, slots: int, **_options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        os.nice(5)  # chores are for when nobody's step wants the processor
        sys.exit(consume(app, queue=JOB_QUEUE, name="jobs", slots=slots))
