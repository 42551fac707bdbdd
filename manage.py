#!/usr/bin/env python
"""Django's command line for Chiffon."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run one management command; a wrong setting ends it with one sentence."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
    try:
        from django.conf import settings

        settings.INSTALLED_APPS  # noqa: B018 - reading one value loads them all, so a wrong one is told before the command starts
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
