"""The settings of the tests: the shipped ones, with values that make a test fast."""

import os

from tests import servers

os.environ.setdefault("CHIFFON_SECRET_KEY", "a-key-for-tests-only-" + "0123456789abcdef" * 2)
servers.choose_addresses()

from chiffon_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
DATABASES["default"]["ENGINE"] = "tests.database"  # noqa: F405 - can be emptied between tests
# Static files are found when they are asked for, instead of all being looked up by each new client of a test.
WHITENOISE_AUTOREFRESH = True
