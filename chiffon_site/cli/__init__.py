"""The command line: one module for each command, found in the table of `main.py`."""
