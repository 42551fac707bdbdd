"""`python -m agents.supervisor`: read a specification on standard input, then run and own the command it names."""

from __future__ import annotations

import os
import sys

from agents.supervisor.program import main

code = main()
sys.stdout.flush()
os._exit(code)  # nothing is left to tidy, and somebody waits for us to be gone
