"""Git as this project uses it: read one commit, export it, and bring copies up to date.

Every call runs the `git` program with an environment of its own: no user or system configuration, no hooks, no
prompts, and only the transports file, https and ssh. Enters here: the standard library. Never: Django or Celery.
"""

from __future__ import annotations

from agents.git.exporting import export, remove_export
from agents.git.program import GitError, check_url
from agents.git.reading import Entry, Person, entries, resolve, show, tree_of
from agents.git.writing import clone_or_fetch, init_from_folder

__all__ = [
    "Entry",
    "GitError",
    "Person",
    "check_url",
    "clone_or_fetch",
    "entries",
    "export",
    "init_from_folder",
    "remove_export",
    "resolve",
    "show",
    "tree_of",
]
