"""What a stopped step left, and how one can go on from there. Pure: rows go in as plain values, sentences come out.

A step that stopped goes on as a new attempt from its beginning, on all of its hosts or only on those that are not
finished; never from a task in its middle, because nobody knows what the tasks before it had prepared for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from agents.protocol import FailureMode

# A host that can be named in a limit without being taken for a pattern.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NO_HOST: Final = "!all"  # a limit that matches nothing


class HostState(StrEnum):
    """How far a host is with a step, by the last attempt that was to work on it."""

    FINISHED = "finished"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"  # the attempt ended, or the play was ended for all, before this host was done
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure in words: what it was, whether trying again can help by itself, and who can mend it."""

    mode: str
    transient: bool
    words: str
    mender: str

    @property
    def sentence(self) -> str:
        """All of it, for a page."""
        helps = "It may pass by itself." if self.transient else "Trying again changes nothing until it is mended."
        return f"{self.words} {helps} {self.mender}"

    def to_json(self) -> dict[str, Any]:
        """The trouble as the API tells it."""
        return {**asdict(self), "sentence": self.sentence}


_TROUBLES: Final[Mapping[str, tuple[str, str]]] = {
    FailureMode.AGENT: (
        "The agent itself failed: it died, lost its hold on the step, or lacks the tool.",
        "Whoever looks after the agents can mend it.",
    ),
    FailureMode.SYSTEM: (
        "The network, the host or a service was in trouble.",
        "Whoever looks after that host or service can mend it.",
    ),
    FailureMode.RESOURCE: (
        "Time, memory, disk or a quota ran out.",
        "Whoever can give it more, or asks for less, can mend it.",
    ),
    FailureMode.POLICY: ("A rule did not let it run.", "Whoever keeps that rule can say why, and change it."),
    FailureMode.USER: (
        "The work as it was asked for can not succeed.",
        "Who asked for it, or who wrote the playbook, can mend it.",
    ),
}


def trouble(mode: str, *, transient: bool) -> Trouble | None:
    """A stored failure mode in words; None where there was no failure."""
    if not mode:
        return None
    words, mender = _TROUBLES.get(mode, (f"It failed ({mode}).", "A person has to look."))
    return Trouble(mode, transient, words, mender)


@dataclass(frozen=True, slots=True)
class Tried:
    """What is left of one attempt that began: the hosts it was narrowed to, if it was, and its last checkpoint."""

    only: Sequence[str] | None
    progress: Mapping[str, Any]


def hosts_after(approved: Sequence[str], tries: Iterable[Tried]) -> dict[str, HostState]:
    """How far each host is after these attempts, in their order. Empty if no host of the step is known.

    Where the plan names no host, those that an attempt worked on count: a limit only narrows what a playbook selects.
    """
    states: dict[str, HostState] = {}
    for one in tries:
        seen: Mapping[str, Mapping[str, int]] = one.progress.get("hosts") or {}
        finished, ended = set(one.progress.get("finished") or ()), bool(one.progress.get("ended"))
        for host in dict.fromkeys([*(one.only or approved or states), *(() if one.only or approved else seen)]):
            states[host] = HostState.FINISHED if host in finished else _state(seen.get(host), ended=ended)
    return states


def _state(figures: Mapping[str, int] | None, *, ended: bool) -> HostState:
    if figures and figures.get("failures"):
        return HostState.FAILED
    if figures and figures.get("unreachable"):
        return HostState.UNREACHABLE
    return HostState.NOT_REACHED if ended and not figures else HostState.UNKNOWN


def unfinished(states: Mapping[str, HostState]) -> tuple[list[str], str]:
    """The hosts that are left to do, or none and the reason why a step can not be narrowed to them."""
    if not states:
        return [], "which hosts it works on is not known"
    left = [host for host, state in states.items() if state is not HostState.FINISHED]
    if len(left) == len(states):
        return [], "no host is known to be finished"
    if not left:
        return [], "every host is finished"
    if odd := next((host for host in left if not _NAME.fullmatch(host)), None):
        return [], f"the host {odd!r} can not be named in a limit"
    return left, ""


def narrowed_limit(approved_limit: str, hosts: Sequence[str], only: Sequence[str] | None) -> str:
    """The limit a playbook runs under: what was approved, or fewer of it. It can not come out wider.

    `hosts` are those the plan names. The approved limit stays in it where it is one plain word, so that a host that is
    called like a group never stands for more than was approved.
    """
    if only is None:
        return approved_limit
    named = [host for host in only if _NAME.fullmatch(host) and (host in hosts or not (hosts or approved_limit))]
    if not named:
        return _NO_HOST
    return ",".join(named) + (f",&{approved_limit}" if _NAME.fullmatch(approved_limit) else "")


@dataclass(frozen=True, slots=True)
class Recovery:
    """One way to go on, and whether it is open to the person who looks."""

    kind: str  # retry, resume, try_now, give_up, skip, revise, undo, ask_again
    title: str
    effect: str
    allowed: bool = True
    why_not: str = ""
    hosts: tuple[str, ...] = ()
    path: str = ""  # for undo: the playbook

    def to_json(self) -> dict[str, Any]:
        """The recovery as the API tells it."""
        return {**asdict(self), "hosts": list(self.hosts)}


@dataclass(frozen=True, slots=True)
class Rights:
    """Why the person who looks may not operate the plan, decide about it, or ask for work; empty: they may."""

    operate: str = ""
    decide: str = ""
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What the ways to go on with a step depend on."""

    key: str
    number: int  # of the next try
    unknown: bool = False
    idempotent: bool = False
    has_hosts: bool = False  # it runs a playbook
    hosts: Mapping[str, HostState] | None = None
    items: tuple[int, int] | None = None  # it runs for a list: how many of its items are done, of how many
    barred: str = ""  # why nobody can try it again now


def ways_on(step: Stopped, rights: Rights, *, no_retry: str = "") -> tuple[Recovery, ...]:
    """How one can go on with a step that failed or whose outcome is unknown; `no_retry` says why not by another try."""
    no = step.barred or no_retry or rights.operate
    caution = ""
    if step.unknown and not step.idempotent:
        caution = " It is not declared safe to run twice: look at what it left first."
    effect = f"It runs again from its beginning, as try {step.number}"
    if step.items:
        done, total = step.items
        effect = f"What is left of its {total} items runs again and {done} stay{'s' if done == 1 else ''} done"
    effect = f"{effect}, under the digest that was approved.{caution}"
    found = [Recovery("retry", f"Try {step.key} again", effect, not no, no)]
    if step.has_hosts:
        left, reason = unfinished(step.hosts or {})
        done = len(step.hosts or {}) - len(left)
        effect = (
            f"Runs the whole playbook again, with a limit to {named(left)}; {done} finished "
            f"host{'s are' if done != 1 else ' is'} left alone. It is never begun at a task in the middle."
            if left
            else "Would run the whole playbook again on the hosts that are not finished, and on no other."
        )
        cannot = no or (f"Not possible: {reason}." if not left else "")
        title = f"Go on with {step.key} on {named(left)}" if left else f"Go on with {step.key}"
        resume = Recovery("resume", title, effect, not cannot, cannot, tuple(left))
        found.insert(0 if left else 1, resume)  # where it is possible, it is the gentler way
    no = step.barred or (f"It changes what was approved. {rights.decide}" if rights.decide else "")
    found.append(
        Recovery(
            "skip",
            f"Skip {step.key}",
            "It is left out, with a reason. What depends on it goes on without its result. It changes what was approved.",
            not no,
            no,
        )
    )
    return tuple(found)


_AFTER_GIVING_UP: Final = {
    "stop": "and what depends on it does not start",
    "continue": "and the plan goes on without it",
    "fallback": "and its fallback goes on",
    "rollback": "and what was done is undone",
}


def waiting_ways(
    key: str, number: int, rights: Rights, barred: str = "", *, on_failure: str = "stop"
) -> tuple[Recovery, ...]:
    """What one can do about a step that waits for its next try."""
    no = barred or rights.operate
    return (
        Recovery("try_now", f"Try {key} now", f"Try {number} begins now instead of later.", not no, no),
        Recovery(
            "give_up",
            f"Give up on {key}",
            f"The step fails now, without try {number}, {_AFTER_GIVING_UP[on_failure]}.",
            not no,
            no,
        ),
    )


def plan_ways(
    *,
    undone: str,
    paths: Sequence[str],
    in_words: bool,
    rights: Rights,
    revisable: bool = False,
    why_not_undone: str = "",
) -> tuple[Recovery, ...]:
    """What is possible beside trying steps again: to change the plan, to undo what was done, and to ask anew.

    `undone` says what a plan that undoes this one would undo, `paths` with which playbooks; empty if nothing. `why_not_undone`
    names the plan that has undone it, or is about to.
    """
    found = []
    if revisable:
        no = rights.operate or rights.ask
        effect = "Change what is left and approve it anew; what is done stays done."
        found.append(Recovery("revise", "Revise the plan", effect, not no, no))
    if undone or why_not_undone:
        no = why_not_undone or rights.operate or rights.ask
        effect = f"A new plan, which somebody approves before anything runs. {undone}".strip()
        path = paths[0] if len(paths) == 1 else ""
        found.append(Recovery("undo", "Undo what was done", effect, not no, no, path=path))
    if in_words:
        found.append(
            Recovery(
                "ask_again",
                "Change it and ask again",
                "The words come back for you to change, and become a new plan; what is done already is found done, where "
                "the playbooks check for it.",
                not rights.ask,
                rights.ask,
            )
        )
    return tuple(found)


def named(names: Sequence[str], most: int = 3) -> str:
    """Names for a sentence: a few of them, and how many more there are."""
    if len(names) <= most:
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
