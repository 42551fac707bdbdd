"""Every finished task in git: one file per task, one commit per batch, the same batch again makes nothing new.

Git trouble raises GitTrailError; the job that called is tried again later, so it delays and never blocks or loses.
Never called inside a database transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from audit import git
from audit.conf import audit_author, audit_folder
from audit.task_file import path_of, render


@dataclass(frozen=True, slots=True)
class TaskCommit:
    """A task's file as the audit repository holds it now, and the commit that brought it there."""

    path: str
    commit: str
    at: str
    author: str
    subject: str
    text: str

    @property
    def moment(self) -> datetime | None:
        """When it was committed; None if git says something else than a time."""
        try:
            return datetime.fromisoformat(self.at)
        except ValueError:
            return None

    @property
    def content(self) -> Any:
        """The file's JSON value; None if somebody put something else there."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    def as_dict(self) -> dict[str, Any]:
        """What a program gets: path, commit, at (RFC 3339), author and content."""
        return {
            "path": self.path,
            "commit": self.commit,
            "at": self.at,
            "author": self.author,
            "content": self.content,
        }


def commit_tasks(payloads: Sequence[Mapping[str, Any]]) -> str:
    """Write the files of these finished tasks in one commit by the audit author, and answer the commit.

    Of two payloads of one task the later counts. If the repository holds exactly these files already, no commit is
    made and the one that brought them is answered. Raises InvalidTaskFile for a payload without the documented
    fields (the batch is then not written), GitTrailError for trouble with git or the disk, ValueError for no payload.
    """
    if not payloads:
        raise ValueError("there is no task to commit")
    by_path = {path_of(str(payload.get("task_id", ""))): payload for payload in payloads}
    files = {path: render(payload) for path, payload in by_path.items()}
    folder = audit_folder()
    git.ensure_repository(folder)
    return git.commit_files(
        folder,
        files,
        message=_subject(list(by_path.values())),
        author=audit_author(),
        trailers=[
            *(("Chiffon-Plan", id_) for id_ in _distinct(payload["plan_id"] for payload in by_path.values())),
            *(("Chiffon-Trace", id_) for id_ in _distinct(payload["trace_id"] for payload in by_path.values())),
        ],
    )


def show() -> None:
    """Bring the work tree of the audit repository to what is committed. Raises GitTrailError."""
    git.show(audit_folder())


def find_task(task_id: str | UUID, *, hints: Sequence[str] = ()) -> TaskCommit | None:
    """A task's file as it is now, with its commit; None if there is none. Raises GitTrailError, InvalidTaskFile.

    `hints` are commits that may have brought it (from the trail): if one did, with the same bytes, the whole history
    need not be searched.
    """
    folder = audit_folder()
    path = path_of(task_id)
    data = git.read_file(folder, path)
    if data is None:
        return None
    brought = next((hint for hint in hints if hint and git.read_file(folder, path, commit=hint) == data), "")
    commit = (git.read_commit(folder, brought) if brought else None) or git.newest_commit(folder, path)
    if commit is None:
        return None
    return TaskCommit(path, commit.id, commit.at, commit.author, commit.subject, data.decode("utf-8", "replace"))


def _subject(payloads: Sequence[Mapping[str, Any]]) -> str:
    if len(payloads) > 1:
        return f"Record {len(payloads)} finished tasks"
    step, status = payloads[0]["step"], payloads[0]["status"]
    return f"Record task {' '.join(str(step['key']).split())[:80]}: {status}"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
