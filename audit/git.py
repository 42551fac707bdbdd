"""Git, as far as the trail needs it: add files on top of a branch, and read a file and its newest commit back.

Every call runs the `git` program with an environment of its own: no user or system configuration, no hooks, no
prompts, no network. No index is used for writing, so no lock file of a killed git stands in the way.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from audit.errors import GitTrailError

BRANCH: Final = "main"
SECONDS: Final = 60.0
LOCK_SECONDS: Final = 30.0
TRIES: Final = 20
MOST_PACKS: Final = 50  # more of them make reading slow
_NEXT: Final = "refs/chiffon/next"  # the commit that is being made
_CONFIG: Final = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", os.devnull),
    ("core.autocrlf", "false"),
    ("core.quotePath", "false"),
    ("commit.gpgSign", "false"),
    ("protocol.allow", "never"),
    ("gc.auto", "0"),
    ("core.compression", "1"),
    ("safe.directory", "*"),
)
_PATH: Final = re.compile(r"\.?[A-Za-z0-9_][A-Za-z0-9._-]*(?:/\.?[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: its id, when it was made (RFC 3339), by whom, and its first line."""

    id: str
    at: str
    author: str
    subject: str


def ensure_repository(folder: Path) -> None:
    """Make an empty repository in the folder unless there is one. Raises GitTrailError if that is not possible."""
    if _git_dir(folder) is not None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Made beside and moved into place whole, because several processes may find it missing at the same moment.
        with tempfile.TemporaryDirectory(prefix=".chiffon-init-", dir=folder) as scratch:
            _run(["init", "-q", f"--initial-branch={BRANCH}", "--", scratch])
            try:
                (Path(scratch) / ".git").rename(folder / ".git")
            except OSError:
                if _git_dir(folder) is None:
                    raise
    except OSError as error:
        raise GitTrailError(f"The audit repository could not be made: {error.strerror}.") from error


def commit_files(
    folder: Path, files: Mapping[str, bytes], *, message: str, author: str, trailers: Sequence[tuple[str, str]] = ()
) -> str:
    """Commit these files on top of the branch in one commit and answer its id; show() brings them into the work tree.

    If the branch holds exactly these files already, the newest commit that touched them is answered and none is made.
    Writers wait for each other; who is not of this program is noticed when the branch moves.
    Raises GitTrailError for everything git or the disk refuses; nothing half-done is ever visible on the branch.
    """
    ref = f"refs/heads/{BRANCH}"
    for path in files:
        _check_path(path)
    with _locked(folder) as git_dir:
        for left in git_dir.glob("fast_import_crash_*"):  # what it says is in the error already; else one for each try
            left.unlink(missing_ok=True)
        for _ in range(TRIES):
            parent = _resolve(folder, ref)
            stream = _stream(files, parent, _message(message, trailers), author)
            # One pack for the batch: to make a file for each object takes longer than everything else about a step.
            _git(folder, "fast-import", "--quiet", "--force", "--date-format=now", "--done", feed=stream)
            made, tree = _text(folder, "rev-parse", _NEXT, f"{_NEXT}^{{tree}}").split()
            if parent and tree == _text(folder, "rev-parse", f"{parent}^{{tree}}"):
                _git(folder, "update-ref", "-d", _NEXT)
                return _text(folder, "log", "-1", "--format=%H", parent, "--", *files) or parent
            try:
                _git(folder, "update-ref", "-m", "chiffon", ref, made, parent or "0" * len(made))
            except GitTrailError:
                if _resolve(folder, ref) == parent:
                    raise  # nobody was faster, so trying again would fail the same way
                continue
            _git(folder, "update-ref", "-d", _NEXT)
            return made
    raise GitTrailError(f"The audit repository's branch kept moving; given up after {TRIES} tries.")


def show(folder: Path) -> None:
    """Bring the work tree, if the repository has one, to what the branch holds, and put many small packs together.

    A file per task costs more than its commit, so callers do this when there is time. Raises GitTrailError.
    """
    with _locked(folder) as git_dir:
        commit = _resolve(folder, f"refs/heads/{BRANCH}")
        if commit and git_dir != folder:
            with _index(git_dir) as index:
                _git(folder, "read-tree", "--reset", "-u", commit, env={"GIT_INDEX_FILE": str(index)})
                index.replace(git_dir / "index")
        if sum(1 for _ in (git_dir / "objects" / "pack").glob("*.pack")) > MOST_PACKS:
            _git(folder, "repack", "-q", "-d", "-l", "--geometric=2")


def read_file(folder: Path, path: str, *, commit: str = "") -> bytes | None:
    """The bytes of a file at a commit or at the branch's head; None if it is not there. Raises GitTrailError."""
    _check_path(path)
    if _git_dir(folder) is None:
        return None
    at = _resolve(folder, commit or f"refs/heads/{BRANCH}")
    if not at or not _text(folder, "ls-tree", "--name-only", "--full-tree", at, "--", path):
        return None
    return _git(folder, "cat-file", "blob", f"{at}:{path}")


def newest_commit(folder: Path, path: str) -> Commit | None:
    """The newest commit that touched a file, or None. Raises GitTrailError if the repository cannot be read."""
    _check_path(path)
    head = _resolve(folder, f"refs/heads/{BRANCH}") if _git_dir(folder) is not None else ""
    return _commit(folder, head, "--", path) if head else None


def read_commit(folder: Path, commit: str) -> Commit | None:
    """What is known about one commit, or None if the repository does not hold it."""
    known = _resolve(folder, commit) if _git_dir(folder) is not None else ""
    return _commit(folder, known) if known else None


def count_commits(folder: Path) -> int:
    """How many commits the branch has."""
    head = _resolve(folder, f"refs/heads/{BRANCH}") if _git_dir(folder) is not None else ""
    return int(_text(folder, "rev-list", "--count", head)) if head else 0


def _commit(folder: Path, *which: str) -> Commit | None:
    out = _text(folder, "log", "-1", "--format=%H%x00%cI%x00%an <%ae>%x00%s", *which)
    parts = out.split("\0")
    return Commit(*parts) if len(parts) == 4 else None


def _git_dir(folder: Path) -> Path | None:
    return next((place for place in (folder / ".git", folder) if (place / "HEAD").is_file()), None)


def _resolve(folder: Path, name: str) -> str:
    """The id a name stands for, or nothing. A repository that cannot be read at all raises GitTrailError."""
    if name.startswith("-") or not re.fullmatch(r"[A-Za-z0-9/_.-]{1,200}", name):
        return ""
    found = _run(["-C", str(folder), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], allowed=(0, 1))
    return found.decode("ascii", "replace").strip()


def _check_path(path: str) -> None:
    if not _PATH.fullmatch(path) or any(part.lower() == ".git" for part in path.split("/")):
        raise GitTrailError(f"{path[:200]!r} is not the path of a file in the audit repository.")


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    git_dir = _git_dir(folder)
    if git_dir is None:
        raise GitTrailError(f"There is no git repository in the audit folder {str(folder)!r}.")
    try:
        handle = os.open(git_dir / "chiffon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GitTrailError(f"The audit repository cannot be written to: {error.strerror}.") from error
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise GitTrailError(
                        "Another writer holds the audit repository; it is tried again later."
                    ) from error
                time.sleep(0.02)
        yield git_dir
    finally:
        os.close(handle)


@contextmanager
def _index(git_dir: Path) -> Iterator[Path]:
    """A copy of the index inside the repository, to become the real one by a rename: a lock left on that is in nobody's way."""
    for left in git_dir.glob("chiffon-index-*"):  # by a writer that was killed: we hold the lock, so it is gone
        shutil.rmtree(left, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix="chiffon-index-", dir=git_dir) as scratch:
            index = Path(scratch) / "index"
            with suppress(FileNotFoundError):
                shutil.copyfile(git_dir / "index", index)
            yield index
    except OSError as error:
        raise GitTrailError(f"The audit repository cannot be written to: {error.strerror or error}.") from error


def _stream(files: Mapping[str, bytes], parent: str, note: bytes, author: str) -> bytes:
    """The commit as `git fast-import` reads it (its manual, "INPUT FORMAT"), on a reference of our own."""
    return b"".join(
        [
            f"commit {_NEXT}\nauthor {author} now\ncommitter {author} now\ndata {len(note)}\n".encode() + note,
            f"from {parent}\n".encode() if parent else b"",
            *(
                part
                for path, data in files.items()
                for part in (f"M 100644 inline {path}\ndata {len(data)}\n".encode(), data, b"\n")
            ),
            b"done\n",
        ]
    )


def _message(message: str, trailers: Sequence[tuple[str, str]]) -> bytes:
    tail = [f"{key}: {' '.join(value.split())}" for key, value in trailers]
    return ("\n\n".join([message.strip(), *(["\n".join(tail)] if tail else [])]) + "\n").encode("utf-8", "replace")


def _text(folder: Path, *args: str, feed: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    return _git(folder, *args, feed=feed, env=env).decode("utf-8", "replace").strip()


def _git(folder: Path, *args: str, feed: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
    return _run(["-C", str(folder), *args], feed=feed, env=env)


def _run(
    args: Sequence[str], *, feed: bytes = b"", env: Mapping[str, str] | None = None, allowed: Sequence[int] = (0,)
) -> bytes:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_CONFIG_COUNT": str(len(_CONFIG)),
        **{f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(_CONFIG)},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(_CONFIG)},
        **(env or {}),
    }
    try:
        done = subprocess.run(
            ["git", *args],
            input=feed,
            capture_output=True,
            env=environment,
            timeout=SECONDS,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise GitTrailError(f"The program git could not be started: {error.strerror}.") from error
    except subprocess.TimeoutExpired:
        raise GitTrailError(f"git took longer than {SECONDS:.0f} s on the audit repository and was ended.") from None
    if done.returncode not in allowed:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = said[-1].removeprefix("fatal: ").removeprefix("error: ") if said else f"exit code {done.returncode}"
        raise GitTrailError(f"git refused on the audit repository: {why}")
    return done.stdout
