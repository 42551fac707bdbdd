"""WorkPlanner: from a decomposition to a draft with steps, dependencies, estimates and reasons. Nothing is saved here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.models import PlaybookRepository
from agents.playbooks.catalogue import Catalogue, PlaybookFile
from agents.playbooks.facts import Facts
from plans.decomposition import Decomposition, Subtask
from plans.planning.drafts import PlanDraft, StepDraft
from plans.planning.risk import risk_facts

SECONDS_PER_TASK = 0.6  # measured on small local playbooks; only used until there is a record
START_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class History:
    """What earlier runs say about a playbook: how many went well, how many were tried, the usual seconds."""

    well: int = 0
    tried: int = 0
    seconds: float | None = None


class WorkPlanner:
    """Turns what was understood into a draft of exact steps."""

    def __init__(
        self, repository: PlaybookRepository, catalogue: Catalogue, facts: Facts, history: Mapping[str, History]
    ) -> None:
        self.repository, self.catalogue, self.facts, self.history = repository, catalogue, facts, history

    def draft(self, text: str, decomposition: Decomposition, *, clashes: Sequence[str] = ()) -> PlanDraft:
        """The draft for a decomposition without open questions. Raises LookupError if the catalogue lost a playbook."""
        keys = _keys(decomposition.subtasks)
        steps = tuple(self._step(subtask, keys, text) for subtask in decomposition.subtasks)
        record = {path: (known.well, known.tried) for path, known in self.history.items()}
        services = sorted({step.service for step in steps if step.service})
        return PlanDraft(
            goal=_goal(text),
            summary=summary_of(steps),
            steps=steps,
            service=services[0] if len(services) == 1 else "",
            complexity=decomposition.complexity,
            repository_id=self.repository.pk,
            repository=self.repository.name,
            commit=self.repository.commit,
            tree=self.repository.tree,
            risk_facts=risk_facts(steps, record, clashes),
        )

    def _step(self, subtask: Subtask, keys: Mapping[int, str], text: str) -> StepDraft:
        offering = self.catalogue.offering(subtask.offering_key)
        playbook = self.catalogue.playbook(offering.playbook) if offering else None
        if offering is None or playbook is None:
            raise LookupError(f"The catalogue has no {subtask.offering_key} any more.")
        limit = subtask.place.get("name", "") if subtask.place.get("kind") in ("host", "group") else ""
        words = " … ".join(text[start:end] for start, end in subtask.words)
        return StepDraft(
            key=keys[subtask.order],
            name=offering.title,
            tool="ansible.playbook",
            input={name: filled.value for name, filled in subtask.parameters.items()},
            playbook={"path": playbook.path, "inventory": self.repository.inventory, "limit": limit, "tags": []},
            depends_on=tuple(keys[order] for order in subtask.depends_on),
            agent_type="infra",
            work_type=f"playbook:{playbook.path}",
            resources={"cpu": 1, "memory_mb": 256},
            risk=playbook.risk,
            timeout_seconds=600,
            hosts=self.facts.hosts_of(playbook.hosts, limit),
            reason=f"“{words}” asks for it. " + " ".join(subtask.explanation),
            service=playbook.service,
            origins={name: filled.origin for name, filled in subtask.parameters.items()},
            estimated_seconds=self._estimate(playbook),
            reversible_by=playbook.reversible_by,
            spans=subtask.words,
            takes=playbook.variables,
        )

    def _estimate(self, playbook: PlaybookFile) -> int:
        known = self.history.get(playbook.path)
        if known and known.seconds:
            return max(1, round(known.seconds))
        return max(1, round(START_SECONDS + SECONDS_PER_TASK * playbook.task_count))


def summary_of(steps: Sequence[StepDraft]) -> str:
    """What a plan from words does, step by step, as sentences."""
    return " Then: ".join(_sentence(step) for step in steps)


def _keys(subtasks: Sequence[Subtask]) -> dict[int, str]:
    """A short key for each subtask: its playbook's name, numbered where two would be the same."""
    keys: dict[int, str] = {}
    for subtask in subtasks:
        name = re.sub(r"[^a-z0-9]+", "-", subtask.playbook.rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()).strip("-")
        key = base = (name if name[:1].isalpha() else f"step-{name}")[:56] or "step"
        number = 2
        while key in keys.values():
            key, number = f"{base}-{number}", number + 1
        keys[subtask.order] = key
    return keys


def _goal(text: str) -> str:
    goal = " ".join(text.split())
    return goal if len(goal) <= 200 else goal[:199].rstrip() + "…"


def _sentence(step: StepDraft) -> str:
    where = f" on {', '.join(step.hosts)}" if step.hosts else ""
    lists = [f"{len(value)} {name}" for name, value in step.input.items() if isinstance(value, list)]
    return f"{step.name.rstrip('.')}{where}{' with ' + ', '.join(lists) if lists else ''}."
