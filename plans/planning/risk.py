"""What a plan could break, as facts for people: each line is something true about it, never a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plans.planning.drafts import StepDraft

Fact = dict[str, str]


def _fact(tone: str, icon: str, text: str, detail: str = "") -> Fact:
    return {"tone": tone, "icon": icon, "text": text, "detail": detail}


def risk_facts(
    steps: Sequence[StepDraft], history: dict[str, tuple[int, int]], clashes: Sequence[str]
) -> tuple[Fact, ...]:
    """What could go wrong, worst first. `history` maps a playbook to (went well, tried); `clashes` names other plans."""
    facts: list[Fact] = []
    hosts = sorted({host for step in steps for host in step.hosts})
    facts += [_fact("bad", "risk-3", f"{step.key} is of high risk", step.name) for step in steps if step.risk == "high"]
    if any(step.playbook for step in steps):
        why = "check mode is not run before approval yet; what is not known counts as medium risk"
        facts.append(_fact("warn", "unknown", "What would change was not previewed", why))
    opens = [(step.key, name, value) for step in steps for name, value in step.input.items() if _is_port(name, value)]
    facts += [_fact("warn", "warning", f"{key} uses port {value}", f"{name} as asked") for key, name, value in opens]
    for step in steps:
        if step.playbook:
            facts.append(_record(step, history.get(step.playbook["path"], (0, 0))))
    undoable = [step for step in steps if step.reversible_by]
    if len(undoable) == len(steps):
        ways = ", ".join(sorted({step.reversible_by for step in steps}))
        facts.append(_fact("ok", "undo", "Every step can be undone", f"by {ways}"))
    else:
        missing = ", ".join(step.key for step in steps if not step.reversible_by)
        facts.append(_fact("warn", "warning", "No way to undo is known for " + missing, "the playbook names none"))
    if clashes:
        facts.append(_fact("warn", "warning", "Another plan touches the same hosts", ", ".join(clashes)))
    elif hosts:
        facts.append(_fact("ok", "done", "No clash", f"no other running plan touches {', '.join(hosts[:4])}"))
    return tuple(facts)


def _record(step: StepDraft, record: tuple[int, int]) -> Fact:
    well, tried = record
    if not tried:
        return _fact("warn", "unknown", f"{step.key} has never run here", "there is no record to judge it by")
    tone = "idle" if well == tried else "warn"
    return _fact(tone, "clock", f"{step.key} went well {well} of {tried} times", "counted over its last 90 days here")


def _is_port(name: str, value: Any) -> bool:
    return name.endswith("port") and isinstance(value, int) and not isinstance(value, bool) and value > 0
