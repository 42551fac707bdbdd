"""The Celery application: a doorbell in front of the database."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")

app = Celery("chiffon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
