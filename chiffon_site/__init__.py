"""The composition root: the one package that knows all the others.

Settings, paths, the ASGI and Celery applications, accounts, health, the embedded services and the command line live here.
Business rules do not: they belong to `plans`, `agents` and `audit`.
"""
