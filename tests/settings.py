"""The settings of the tests: the shipped ones, with values that make a test fast."""

import os

# conftest.py has set the real addresses; these let type checks and `makemigrations` load the settings without a server.
os.environ.setdefault("DATABASE_URL", "postgres://chiffon:none@127.0.0.1:1/chiffon")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")
os.environ.setdefault("CHIFFON_SECRET_KEY", "a-key-for-tests-only-" + "0123456789abcdef" * 2)

from chiffon_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
