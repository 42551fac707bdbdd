"""Make repositories, bring copies up to date, and commit files beside everybody else who does."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agents.git.program import GitError, branch_name, check_url, git, inside, run, text
from agents.git.reading import Person, head, resolve, tree_of

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMIT_TRIES: Final = 200


def init_bare(destination: Path, branch: str = "main") -> Path:
    """Make an empty bare repository unless there is one; answers its path. Raises GitError if it can not be made."""
    if not (destination / "HEAD").exists():
        run(["init", "-q", "--bare", f"--initial-branch={branch_name(branch)}", "--", str(destination)])
    return destination


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


def commit_files(
    repository: Path | str,
    files: Mapping[str, bytes | None],
    message: str,
    author: Person,
    trailers: Mapping[str, str] | None = None,
    *,
    branch: str = "main",
) -> str:
    """Commit these files on top of a branch and answer the commit; None as content removes a file.

    Safe for any number of callers at once, and the work tree, if there is one, is left alone. If the branch holds
    exactly this content already, the commit that brought it is answered and no new one is made.
    Raises GitError if a path is unusable or the branch keeps moving.
    """
    ref = f"refs/heads/{branch_name(branch)}"
    staged = {inside(path): data for path, data in files.items()}
    note = _message(message, trailers or {})
    with tempfile.TemporaryDirectory(prefix="chiffon-git-") as scratch:
        listing = _index_lines(repository, staged, Path(scratch))
        env = {"GIT_INDEX_FILE": str(Path(scratch) / "index"), **_signed(author)}
        for attempt in range(COMMIT_TRIES):
            parent = head(repository, ref)
            git(repository, "read-tree", *([parent] if parent else ["--empty"]), env=env)
            git(repository, "update-index", "-z", "--index-info", feed=listing, env=env)
            tree = text(repository, "write-tree", env=env)
            if parent and tree == tree_of(repository, parent):
                return text(repository, "log", "-1", "--format=%H", parent, "--", *staged) or parent
            above = ["-p", parent] if parent else []
            commit = text(repository, "commit-tree", tree, *above, "-F", "-", feed=note, env=env)
            try:
                # All zeros: "the branch must not exist yet".
                git(repository, "update-ref", "-m", "chiffon", ref, commit, parent or "0" * len(commit))
            except GitError:
                time.sleep(random.uniform(0, 0.02 * min(attempt + 1, 10)))  # noqa: S311 - spreads the callers, keeps no secret
                continue
            return commit
    raise GitError(f"The branch {branch!r} kept moving, so the commit was given up after {COMMIT_TRIES} tries.")


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


def _index_lines(repository: Path | str, staged: Mapping[str, bytes | None], scratch: Path) -> bytes:
    kept = [(path, data) for path, data in staged.items() if data is not None]
    for number, (_, data) in enumerate(kept):
        (scratch / str(number)).write_bytes(data)
    names = "".join(f"{scratch / str(number)}\n" for number in range(len(kept))).encode()
    blobs = text(repository, "hash-object", "-w", "--no-filters", "--stdin-paths", feed=names).split() if kept else []
    lines = [f"100644 {blob}\t{path}\0" for blob, (path, _) in zip(blobs, kept, strict=True)]
    lines += [f"0 {'0' * 40}\t{path}\0" for path, data in staged.items() if data is None]
    return "".join(lines).encode("utf-8", "surrogateescape")


def _message(message: str, trailers: Mapping[str, str]) -> bytes:
    text = message.replace("\0", "").strip()
    if not text:
        raise GitError("A commit needs a message.")
    tail = []
    for key, value in trailers.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key):
            raise GitError(f"{key!r} can not be the name of a trailer.")
        tail.append(f"{key}: {' '.join(value.replace(chr(0), '').split())}")
    return ("\n\n".join([text, "\n".join(tail)] if tail else [text]) + "\n").encode("utf-8", "replace")


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
