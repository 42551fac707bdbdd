"""`python -m agents.supervisor`: read a specification on standard input, then run and own the command it names."""

from __future__ import annotations

import sys

from agents.supervisor.program import main

sys.exit(main())
