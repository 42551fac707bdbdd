"""The Celery application: a doorbell in front of the database."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")

app = Celery("chiffon")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery's Django part closes the connection before and after each task, whatever Django's CONN_MAX_AGE says, unless it may be used
# again so many times. A new one costs the server more than a dozen steps: a login, and every plan of the hot path made anew.
app.add_defaults({"CELERY_DB_REUSE_MAX": 10**9})
app.autodiscover_tasks()
