"""`python -m chiffon_site.cli` is the same as `chiffon`."""

import sys

from chiffon_site.cli.main import main

sys.exit(main())
