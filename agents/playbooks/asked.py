"""What may be asked of a playbook run, checked before any process starts. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agents.conf import UNOWNED_SECONDS
from agents.protocol import FailureMode

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAYBOOK: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*/)*[A-Za-z0-9_][A-Za-z0-9_.+-]*\.ya?ml")
INVENTORY: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*/)*[A-Za-z0-9_][A-Za-z0-9_.+-]*")
HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,99}")
LIMIT: Final = re.compile(r"[A-Za-z0-9_~!&*\[][^\s@{}'\"\\$`]{0,65535}")  # a system takes twice that as one argument
PATH_LENGTH: Final = 300
VARIABLE_NODES: Final = 10_000
VARIABLE_CHARACTERS: Final = 512 * 1024
VARIABLE_DEPTH: Final = 20
LARGEST_INTEGER: Final = 2**63
# Names Ansible itself gives a meaning to: set from outside, they change what a playbook is, not what it works with.
MAGIC: Final = frozenset(
    {
        "become",
        "environment",
        "group_names",
        "groups",
        "hostvars",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "lookup",
        "omit",
        "play_hosts",
        "playbook_dir",
        "q",
        "query",
        "role_name",
        "role_names",
        "role_path",
        "vars",
    }
)
UNSAFE_ENVIRONMENT: Final = ("ANSIBLE_", "LD_", "PYTHON", "DYLD_", "BASH_", "RUNNER_", "AWX_")
UNSAFE_NAMES: Final = frozenset({"PATH", "HOME", "IFS", "ENV", "SHELL", "CHIFFON_RUN", "CHIFFON_EVENT_FD"})


class Refused(Exception):
    """The run was refused before anything started. `mode` says whose affair it is."""

    def __init__(self, message: str, mode: FailureMode = FailureMode.USER) -> None:
        super().__init__(message)
        self.mode = mode


@dataclass(frozen=True, slots=True)
class PlaybookRun:
    """One run of one approved playbook. Times are seconds."""

    repository: str  # a folder on this machine
    commit: str
    tree: str
    playbook: str  # inside the repository, from the catalogue
    inventory: str  # inside the repository
    tag: str  # marks every process of the run: agent, attempt and token
    timeout_seconds: float
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # variables whose values never leave a 0600 file
    vault_password: str | None = field(default=None, repr=False)
    limit: str = ""
    tags: tuple[str, ...] = ()
    check: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    beat_seconds: float = UNOWNED_SECONDS
    grace_seconds: float = 3.0


def check_run(run: PlaybookRun) -> None:
    """Raise Refused, with a sentence, for a run that must not be tried."""
    check_path(run.playbook, PLAYBOOK, "playbook")
    check_path(run.inventory, INVENTORY, "inventory")
    for what, value in (("commit", run.commit), ("tree", run.tree)):
        if not HASH.fullmatch(value):
            raise Refused(f"{value[:80]!r} is not the full id of a {what}.")
    if run.limit and not LIMIT.fullmatch(run.limit):
        raise Refused(f"{run.limit[:80]!r} can not be used to limit the hosts.")
    for tag in run.tags:
        if not WORD.fullmatch(tag):
            raise Refused(f"{tag[:80]!r} can not be the name of a tag.")
    if not run.tag or "\0" in run.tag or len(run.tag) > 200:
        raise Refused("The run needs a mark for its processes.")
    if not (math.isfinite(run.timeout_seconds) and run.timeout_seconds > 0):
        raise Refused("A playbook needs a timeout of more than 0 seconds.")
    check_environment(run.environment)
    check_variables(run.extra_vars)
    check_variables(run.secrets)
    twice = sorted(set(run.extra_vars) & set(run.secrets))
    if twice:
        raise Refused(f"The variable {twice[0]!r} is given both openly and as a secret.")


def check_path(path: str, pattern: re.Pattern[str], what: str) -> None:
    """Raise Refused unless this is a plain relative path of a file that can stand in a repository."""
    if len(path) > PATH_LENGTH or not pattern.fullmatch(path):
        raise Refused(f"{path[:80]!r} is not the name of a {what} in the repository.")


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise Refused for names that would change how programs themselves behave."""
    for name, value in environment.items():
        if not NAME.fullmatch(name) or name in UNSAFE_NAMES or name.startswith(UNSAFE_ENVIRONMENT) or "\0" in value:
            raise Refused(f"The environment variable {name[:80]!r} can not be set for a playbook.", FailureMode.POLICY)


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raise Refused for names that Ansible gives a meaning to, and for values that are not plain JSON."""
    for name in variables:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Refused(f"{str(name)[:80]!r} can not be the name of a variable.")
        if name in MAGIC or name.startswith(("ansible_", "__ansible", "_ansible")):
            raise Refused(f"The variable {name!r} belongs to Ansible itself and can not be set by a request.")
    nodes, characters = 0, 0
    waiting: list[tuple[Any, int]] = [(dict(variables), 0)]
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        characters += len(value) if isinstance(value, str) else 0
        if nodes > VARIABLE_NODES or characters > VARIABLE_CHARACTERS or depth > VARIABLE_DEPTH:
            raise Refused("The variables are too large or too deep.")
        if isinstance(value, dict):
            for key, inner in value.items():
                _check_key(key)
                waiting.append((inner, depth + 1))
        elif isinstance(value, (list, tuple)):
            waiting += [(inner, depth + 1) for inner in value]
        else:
            _check_leaf(value)


def _check_key(key: Any) -> None:
    if not isinstance(key, str) or not _is_clean(key):
        raise Refused("The variables hold a key that is not plain text.")
    if key.startswith("__ansible"):
        raise Refused(f"The key {key[:80]!r} belongs to Ansible itself and can not be set by a request.")
    if "{{" in key or "{%" in key:
        raise Refused(f"The key {key[:80]!r} holds an expression.")


def _check_leaf(value: Any) -> None:
    if isinstance(value, str):
        if not _is_clean(value):
            raise Refused("The variables hold text with a NUL or broken characters.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Refused("The variables hold a number that is not finite.")
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST_INTEGER:
            raise Refused("The variables hold a number that is too large.")
    elif value is not None and not isinstance(value, bool):
        raise Refused(f"The variables hold a value of the type {type(value).__name__}, which is not plain JSON.")


def _is_clean(text: str) -> bool:
    return "\0" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def wrapped(value: Any) -> Any:
    """The same value with every text marked as never to be evaluated.

    The mark goes on each text itself: on a list it would leave the texts inside alive. `check_variables` must have
    passed, so that no mark of the caller's own is in there.
    """
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {key: wrapped(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [wrapped(inner) for inner in value]
    return value
