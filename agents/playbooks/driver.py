"""Runs as a program of its own under the supervisor: one playbook through ansible-runner, told as JSON lines.

Called with the path of a job file that only the runner writes. It imports nothing of this project, so that it starts
fast and whatever a repository does to Ansible stays in this process tree. Lines go to the descriptor in
CHIFFON_EVENT_FD: `line`, `play`, `task`, `result`, `stats`, `end`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

import ansible_runner
from ptyprocess import PtyProcess  # type: ignore[import-untyped]

MESSAGE_LIMIT: Final = 2_000
DIFF_LIMIT: Final = 20_000
STATUS: Final = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
}
RETRY_HINT: Final = re.compile(r"\s*to retry, use: --limit @")
STATS: Final = {
    "ok": "ok",
    "changed": "changed",
    "failures": "failures",
    "dark": "unreachable",
    "skipped": "skipped",
    "rescued": "rescued",
    "ignored": "ignored",
}


class Teller:
    """Turns ansible-runner's events into our lines. Never raises: an exception here would leave the play unwatched."""

    def __init__(self, fd: int, retries: Path) -> None:
        self.fd = fd
        self.retries = retries
        self.tasks = 0

    def tell(self, kind: str, **data: Any) -> None:
        """Write one line; if nobody reads any more, the supervisor is about to end us anyway."""
        line = json.dumps({"k": kind, **data}, default=str).encode() + b"\n"
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            return

    def on_event(self, event: dict[str, Any]) -> bool:
        """One event of ansible-runner; False, so that it keeps no file of it."""
        try:
            self._tell_event(event)
        except Exception:  # see the class: whatever it is, the play goes on being watched
            traceback.print_exc()
        return False

    def _tell_event(self, event: dict[str, Any]) -> None:
        text = event.get("stdout")
        if text:
            for line in str(text).replace("\r\n", "\n").split("\n"):
                if not RETRY_HINT.match(line):  # it names a file of ours that will be gone
                    self.tell("line", text=line)
        name, data = event.get("event"), event.get("event_data") or {}
        if name == "playbook_on_play_start":
            self.tell("play", name=str(data.get("name") or ""))
        elif name in {"playbook_on_task_start", "playbook_on_handler_task_start"}:
            self.tasks += 1
            self.tell("task", name=_task_name(data), number=self.tasks)
        elif name in STATUS:
            self.tell("result", **_result(STATUS[name], data))
        elif name == "playbook_on_stats":
            self.tell("stats", hosts=_stats(data), custom=data.get("artifact_data") or {}, left=_left(self.retries))


def _task_name(data: dict[str, Any]) -> str:
    name = str(data.get("name") or data.get("task") or "")
    role = data.get("role")
    return f"{role} : {name}" if role and not name.startswith(f"{role} :") else name


def _result(status: str, data: dict[str, Any]) -> dict[str, Any]:
    found = data.get("res")
    res = found if isinstance(found, dict) else {}
    items = res.get("results")
    changed = bool(res.get("changed")) and status == "ok"
    if status == "failed" and data.get("ignore_errors"):
        status = "ignored"
    elif changed:
        status = "changed"
    return {
        "task": _task_name({**data, "name": data.get("task")}),
        "action": str(data.get("resolved_action") or data.get("task_action") or ""),
        "host": str(data.get("host") or ""),
        "status": status,
        "changed": changed,
        "items": len(items) if isinstance(items, list) else 0,
        "message": _message(res) if status in {"failed", "unreachable", "ignored"} else "",
        "diff": _diff(res),
    }


def _message(res: dict[str, Any]) -> str:
    """What went wrong, shortly: the message, and what the program said last where the message says nothing."""
    if res.get("censored"):
        return "The details are hidden, because the task is marked no_log."
    message = str(res.get("msg") or "")
    items = res.get("results")
    if isinstance(items, list):
        failed = [item for item in items if isinstance(item, dict) and item.get("failed")]
        said = [_message({**item, "results": None}) for item in failed[:3]]
        return _short(f"{len(failed)} of {len(items)} items failed: {' / '.join(said)}" if failed else message)
    if not message or "non-zero return code" in message or message.startswith("MODULE FAILURE"):
        tail = str(res.get("stderr") or res.get("module_stderr") or res.get("stdout") or "").strip().splitlines()
        if tail:
            message = f"{message.rstrip('.') or 'failed'}: {tail[-1]}"
    return _short(message or "The task failed without a message.")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MESSAGE_LIMIT else flat[:MESSAGE_LIMIT] + " …"


def _diff(res: dict[str, Any]) -> str:
    """What a task changed or would change, as a unified diff."""
    pieces: list[str] = []
    items = res.get("results")
    for one in (res, *(items if isinstance(items, list) else ())):
        found = one.get("diff") if isinstance(one, dict) else None
        for part in found if isinstance(found, list) else [found]:
            if isinstance(part, dict) and len("".join(pieces)) < DIFF_LIMIT:
                pieces.append(_one_diff(part))
    text = "".join(pieces)
    return text if len(text) <= DIFF_LIMIT else text[:DIFF_LIMIT] + "\n[diff cut here]\n"


def _one_diff(part: dict[str, Any]) -> str:
    if "prepared" in part:
        return str(part["prepared"])
    before, after = _lines(part.get("before")), _lines(part.get("after"))
    head = (str(part.get("before_header") or "before"), str(part.get("after_header") or "after"))
    return "".join(difflib.unified_diff(before, after, *head))


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, indent=2, default=str)
    text = text[: DIFF_LIMIT * 2]
    return (text if text.endswith("\n") or not text else text + "\n").splitlines(keepends=True)


def _stats(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    hosts: dict[str, dict[str, int]] = {}
    for host in data.get("processed") or {}:
        hosts[host] = {ours: int((data.get(theirs) or {}).get(host, 0)) for theirs, ours in STATS.items()}
    return hosts


def _left(folder: Path) -> list[str]:
    """The hosts that did not come to the end of a play, also where others' failures ended it: Ansible's own list."""
    return [host for file in folder.glob("*.retry") for host in file.read_text("utf-8").split("\n") if host]


def main() -> int:
    """Run the job and say how it ended. The exit code is 0 whenever that could be said."""
    fd = int(os.environ.pop("CHIFFON_EVENT_FD"))
    # Only this process may speak on the descriptor: a playbook must not be able to forge its own result.
    os.set_inheritable(fd, False)
    os.environ.pop("PYTHONPATH", None)  # ours alone: programs that a playbook starts find their own libraries
    job_file = Path(sys.argv[1])
    while not job_file.exists():
        time.sleep(0.005)  # the commit is still being exported; if it can not be, the supervisor ends us
    job = json.loads(job_file.read_text("utf-8"))
    teller = Teller(fd, Path(job.pop("retries")))
    # ptyprocess sleeps 0.1 s after each close for the child's sake; ours has ended by then.
    PtyProcess.delayafterclose = property(lambda _: 0.0, lambda *_: None)
    ran = ansible_runner.interface.init_runner(
        **job,
        event_handler=teller.on_event,
        cancel_callback=lambda: False,  # without one it would take over SIGTERM; the supervisor does the cancelling
        quiet=True,
        suppress_env_files=True,
    )
    ran.config.env["ANSIBLE_RETRY_FILES_ENABLED"] = (
        "True"  # ansible-runner turns it off whatever the configuration says
    )
    ran.run()
    teller.tell("end", rc=ran.rc, status=ran.status)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # everything is said; taking the interpreter down tidily would only make every run longer
