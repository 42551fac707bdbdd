"""Git as this project uses it: read one commit, export it, and write files without touching a work tree.

Every call runs the `git` program with an environment of its own: no user or system configuration, no hooks, no
prompts, and only the transports file, https and ssh. Enters here: the standard library. Never: Django or Celery.
"""

from __future__ import annotations

from agents.git.exporting import export, remove_export
from agents.git.program import GitError, check_url
from agents.git.reading import Entry, LogEntry, Person, entries, log, resolve, show, tree_of
from agents.git.writing import clone_or_fetch, commit_files, init_bare, init_from_folder

__all__ = [
    "Entry",
    "GitError",
    "LogEntry",
    "Person",
    "check_url",
    "clone_or_fetch",
    "commit_files",
    "entries",
    "export",
    "init_bare",
    "init_from_folder",
    "log",
    "remove_export",
    "resolve",
    "show",
    "tree_of",
]
