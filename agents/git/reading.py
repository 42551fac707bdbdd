"""What a repository holds: commits, trees, files, history."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agents.git.program import REF, GitError, commit_id, git, inside, text


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a commit names as its author."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree: its path, its mode as git writes it, and the id of its content."""

    path: str
    mode: str
    blob: str


def resolve(repository: Path | str, ref: str) -> str:
    """The full id of the commit that a branch, tag or abbreviated id names. Raises GitError if there is none."""
    if not REF.fullmatch(ref) or ".." in ref:
        raise GitError(f"{ref!r} is not the name of a branch, a tag or a commit.")
    return verify(repository, f"{ref}^{{commit}}", f"The repository has no commit that is called {ref!r}.")


def tree_of(repository: Path | str, commit: str) -> str:
    """The id of a commit's tree, which names its complete content. Raises GitError if the commit is not there."""
    return verify(repository, f"{commit_id(commit)}^{{tree}}", f"The repository does not hold the commit {commit}.")


def show(repository: Path | str, commit: str, path: str) -> bytes:
    """The bytes of one file in a commit. Raises GitError if it is not there."""
    place = f"{commit_id(commit)}:{inside(path)}"
    try:
        return git(repository, "cat-file", "blob", place)
    except GitError as error:
        raise GitError(f"The commit {commit[:12]} has no file {path!r}.") from error


def entries(repository: Path | str, commit: str) -> list[Entry]:
    """Every file of a commit, in git's order. Raises GitError if the commit is not there."""
    listing = git(repository, "ls-tree", "-r", "-z", "--full-tree", commit_id(commit))
    found = []
    for line in filter(None, listing.split(b"\0")):
        meta, _, name = line.partition(b"\t")
        mode, _, blob = meta.decode("ascii").split(" ")
        found.append(Entry(os.fsdecode(name), mode, blob))
    return found


def verify(repository: Path | str, what: str, otherwise: str) -> str:
    """The id that git finds for a name. Raises GitError with the sentence given if there is none."""
    try:
        return text(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", what)
    except GitError as error:
        if not Path(repository).is_dir():
            raise
        raise GitError(otherwise) from error
