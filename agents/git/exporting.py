"""Write one commit's files to disk, read-only, proving on the way that they are the commit's files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from agents.git.program import GitError, git, inside
from agents.git.reading import Entry, entries, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EXPORT_FILES: Final = 50_000
EXPORT_BYTES: Final = 256 << 20
LFS_HEAD: Final = b"version https://git-lfs.github.com/spec/"
LINK, SUBMODULE, PROGRAM = "120000", "160000", "100755"


def export(
    repository: Path | str, commit: str, destination: Path, *, between: Callable[[], object] = lambda: None
) -> str:
    """Write a commit's files, read-only, into a new folder, and answer the id of the tree that was written.

    The id is worked out from the bytes on their way to the disk, so it proves the content. Attributes and filters
    of the repository have no say. `between` is called after each file. Raises GitError for submodules, symbolic links that
    leave the tree, also by way of other links, a path that is listed twice, files whose content is kept elsewhere (LFS), a tree
    that is too large, or a destination that exists.
    """
    files = entries(repository, commit)
    if len(files) > EXPORT_FILES:
        raise GitError(f"The commit holds {len(files)} files; at most {EXPORT_FILES} are exported.")
    for entry in files:
        if entry.mode == SUBMODULE:
            raise GitError(f"The commit holds a submodule, {entry.path!r}, and submodules are not exported.")
    _check_paths(files)
    try:
        destination.mkdir(mode=0o700)
        written, links = [], []
        for entry, data in _contents(repository, files):
            if entry.mode == LINK:
                links.append((destination / inside(entry.path), os.fsdecode(data), entry.path))
            else:
                _write(destination, entry, data)
            written.append(Entry(entry.path, entry.mode, _object_id("blob", data, len(entry.blob))))
            between()
        _link(destination, links)  # last, so that nothing is written by way of one
    except OSError as error:
        raise GitError(f"The commit could not be written to disk: {error.strerror}.") from error
    tree = _tree_id(written)
    if tree != tree_of(repository, commit):
        raise GitError(f"The repository is damaged: the files of {commit[:12]} do not add up to its tree.")
    _make_read_only(destination)
    return tree


def remove_export(destination: Path) -> None:
    """Delete an exported folder, its read-only parts included. A folder that is not there is fine."""
    for folder, _, _ in os.walk(destination):
        Path(folder).chmod(0o700)
    shutil.rmtree(destination, ignore_errors=True)


def _contents(repository: Path | str, files: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
    if not files:
        return
    wanted = "".join(f"{entry.blob}\n" for entry in files).encode()
    sizes = git(repository, "cat-file", "--batch-check=%(objectsize)", feed=wanted).split()
    total = sum(int(size) for size in sizes if size.isdigit())
    if total > EXPORT_BYTES:
        raise GitError(f"The commit holds {total >> 20} MiB; at most {EXPORT_BYTES >> 20} MiB are exported.")
    out = memoryview(git(repository, "cat-file", "--batch=%(objectsize)", feed=wanted))
    at = 0
    for entry in files:
        head = bytes(out[at : at + 100]).split(b"\n", 1)[0]
        if not head.isdigit():
            raise GitError(f"The repository is damaged: the content of {entry.path!r} is missing.")
        start = at + len(head) + 1
        at = start + int(head) + 1
        yield entry, bytes(out[start : at - 1])


def _check_paths(files: Sequence[Entry]) -> None:
    """Refuse a tree in which a path is there twice: git would show one file, and the disk get another, or one inside of a link."""
    paths = [entry.path for entry in files]
    known = set(paths)
    folders = {str(folder) for path in known for folder in PurePosixPath(path).parents}
    if twice := known & folders or {path for path, times in Counter(paths).items() if times > 1}:
        raise GitError(f"The commit lists {min(twice)!r} twice, so it is not clear what it holds.")


def _link(root: Path, links: Sequence[tuple[Path, str, str]]) -> None:
    """Make the symbolic links, then follow each as the system would, by way of the others too."""
    for target, where, path in links:
        if "\0" in where:
            raise _leads_out(path)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.symlink_to(where)
    inner = os.path.realpath(root)
    for target, where, path in links:
        if where.startswith("/") or not Path(os.path.realpath(target)).is_relative_to(inner):
            raise _leads_out(path)


def _leads_out(path: str) -> GitError:
    return GitError(f"The symbolic link {path!r} leads out of the repository, so nothing was run.")


def _write(root: Path, entry: Entry, data: bytes) -> None:
    target = root / inside(entry.path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if data.startswith(LFS_HEAD):
        raise GitError(f"The content of {entry.path!r} is kept elsewhere (git LFS), so it can not be exported.")
    # Exclusive, so that two paths that fall together on this disk are noticed; never through a link.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(target, flags, 0o500 if entry.mode == PROGRAM else 0o400), "wb") as file:
        file.write(data)


def _make_read_only(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        Path(folder).chmod(0o500)


def _object_id(kind: str, data: bytes, length: int) -> str:
    algorithm = hashlib.sha1 if length == 40 else hashlib.sha256  # git's own choice of name, not a signature
    return algorithm(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def _tree_id(files: Sequence[Entry], length: int = 40) -> str:
    """Work out a tree's id from its files, as git does: folder by folder, from the leaves up."""
    length = len(files[0].blob) if files else length
    here: list[tuple[bytes, bytes]] = []
    below: dict[str, list[Entry]] = {}
    for entry in files:
        head, slash, rest = entry.path.partition("/")
        if slash:
            below.setdefault(head, []).append(Entry(rest, entry.mode, entry.blob))
        else:
            name = os.fsencode(head)
            here.append((name, entry.mode.encode() + b" " + name + b"\0" + bytes.fromhex(entry.blob)))
    for head, inner in below.items():
        name = os.fsencode(head)
        # Folders sort as if their names ended in a slash.
        here.append((name + b"/", b"40000 " + name + b"\0" + bytes.fromhex(_tree_id(inner, length))))
    return _object_id("tree", b"".join(line for _, line in sorted(here)), length)
