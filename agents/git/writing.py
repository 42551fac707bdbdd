"""Make a repository from a folder, and bring copies of others up to date."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from agents.git.program import GitError, check_url, git, run
from agents.git.reading import Person, resolve


def init_from_folder(source: Path, destination: Path, author: Person, message: str = "First state") -> str:
    """Make a repository at `destination` from a copy of a folder, and answer its first commit.

    Raises GitError if the destination holds something already.
    """
    if destination.exists() and any(destination.iterdir()):
        raise GitError(f"{str(destination)!r} is not empty, so no repository was made there.")
    try:
        shutil.copytree(source, destination, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git"))
    except (OSError, shutil.Error) as error:
        raise GitError(f"The folder {str(source)!r} could not be copied: {error}.") from error
    run(["init", "-q", "--initial-branch=main", "--", str(destination)])
    git(destination, "add", "--all", "--force", ".")
    git(
        destination,
        "commit",
        "-q",
        "--no-verify",
        "--allow-empty",
        "-F",
        "-",
        feed=message.encode(),
        env=_signed(author),
    )
    return resolve(destination, "HEAD")


def clone_or_fetch(url: str, destination: Path) -> Path:
    """Bring a bare copy of a repository up to date, making it first if need be; answers its path.

    Raises GitError for addresses that are not plain https, ssh or file ones, and when the other side fails.
    """
    address = check_url(url)
    if (destination / "HEAD").exists():
        wanted = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git(destination, "fetch", "-q", "--prune", "--no-recurse-submodules", "--", address, *wanted, outside=True)
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".clone-", dir=destination.parent) as scratch:
        fresh = Path(scratch) / "repository"
        run(["clone", "-q", "--bare", "--no-hardlinks", "--", address, str(fresh)], outside=True)
        try:
            fresh.rename(destination)
        except OSError as error:
            raise GitError(f"The copy could not be put at {str(destination)!r}: {error.strerror}.") from error
    return destination


def _signed(author: Person) -> dict[str, str]:
    def clean(text: str) -> str:
        return " ".join(re.sub(r"[<>\0\n\r]", " ", text).split()) or "unknown"

    name, email = clean(author.name), clean(author.email)
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }
