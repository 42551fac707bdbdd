"""`manage.py dispatcher`: the only publisher, and the sweeper behind it."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from chiffon_site import jobs
from chiffon_site.celery import app
from chiffon_site.patience import wait_for_database
from plans.execution import dispatcher


class Command(BaseCommand):
    """Publish what is due until told to stop."""

    help = "Publish attempts and jobs that are due, and free what dead holders left, until told to stop."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        wait_for_database()
        stop: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _frame: stop.append(received))
        jobs.ensure()
        producer = app.amqp.producer_pool

        def send(task: str, arguments: dict[str, Any], queue: str) -> None:
            with producer.acquire(block=True, timeout=5) as held:
                app.send_task(
                    task, kwargs=arguments, queue=dispatcher.queue_named(queue), producer=held, ignore_result=True
                )

        dispatcher.run(send, stopping=lambda: bool(stop))
