"""Plans and steps before anything is saved: frozen values that validation, risk and saving read."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from agents.playbooks.catalogue import Variable
from plans.dag import layers
from plans.retry import ONCE, RetryPolicy

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActionDraft:
    """What a step falls back on, or what undoes it: a tool with its input."""

    tool: str
    input: Json = field(default_factory=dict)
    playbook: Json | None = None
    work_type: str = ""
    idempotent: bool = False
    retry: RetryPolicy = ONCE
    risk: str = "medium"
    takes: tuple[Variable, ...] = ()  # what its playbook can be given

    def to_json(self) -> Json:
        """The action as a step keeps it and the digest covers it."""
        return {
            "tool": self.tool,
            "input": self.input,
            "playbook": self.playbook,
            "work_type": self.work_type or self.tool,
            "idempotent": self.idempotent,
            "retry": self.retry.to_json(),
        }


@dataclass(frozen=True, slots=True)
class StepDraft:
    """One step as intended. Seconds are seconds; `spans` are where its words stand in the request's text."""

    key: str
    name: str
    tool: str
    input: Json = field(default_factory=dict)
    playbook: Json | None = None
    depends_on: tuple[str, ...] = ()
    agent_type: str = "infra"
    work_type: str = ""
    resources: Json = field(default_factory=dict)
    risk: str = "medium"
    timeout_seconds: int = 600
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    idempotent: bool = False
    when: str = ""  # a condition over earlier results; empty: always
    on_failure: str = "stop"
    for_each: list[Any] | str | None = None  # a list, or one reference to a list
    fallback: ActionDraft | None = None
    rollback: ActionDraft | None = None
    hosts: tuple[str, ...] = ()
    reason: str = ""
    service: str = ""
    origins: dict[str, str] = field(default_factory=dict)
    estimated_seconds: int | None = None
    reversible_by: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    takes: tuple[Variable, ...] = ()  # what its playbook can be given


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step of the revision before says beyond the words of a program; kept while its tool and playbook stay the same."""

    name: str
    tool: str
    path: str  # of its playbook; empty without one
    limit: str
    tags: tuple[str, ...]
    idempotent: bool
    input: Json
    origins: dict[str, str]
    reason: str
    spans: tuple[tuple[int, int], ...]
    estimated_seconds: int | None


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """A plan as intended. `repository_id`, `commit` and `tree` name the exact playbooks; empty without playbooks."""

    goal: str
    summary: str
    steps: tuple[StepDraft, ...]
    service: str = ""
    complexity: str = "simple"
    priority: int = 3
    budget: Json = field(default_factory=dict)
    max_parallel: int | None = None
    repository_id: Any = None
    repository: str = ""
    commit: str = ""
    tree: str = ""
    risk_facts: tuple[Json, ...] = ()

    @property
    def risk(self) -> str:
        """The highest risk of any step; what is not known counts, so an effect nobody has previewed is medium at least."""
        order = ("low", "medium", "high")
        unseen = ["medium" for step in self.steps if step.playbook]
        others = [other.risk for step in self.steps for other in (step.fallback, step.rollback) if other]
        return max([*(step.risk for step in self.steps), *others, *unseen], key=order.index, default="low")

    @property
    def undoing(self) -> tuple[StepDraft, ...]:
        """The steps that say how they are undone, in the order in which that happens: the last of them first."""
        by_key = {step.key: step for step in self.steps}
        order = [key for layer in layers({step.key: step.depends_on for step in self.steps}) for key in layer]
        return tuple(by_key[key] for key in reversed(order) if by_key[key].rollback)

    @property
    def estimated_seconds(self) -> int | None:
        """How long its longest path takes; None as soon as one step is not known."""
        return self.seconds_without(())

    def seconds_without(self, done: Container[str]) -> int | None:
        """How long the longest path takes of what is not done yet; None as soon as one step of it is not known."""
        finish: dict[str, int] = {}
        for step in self.steps:
            if step.key in done:
                continue
            if step.estimated_seconds is None:
                return None
            begin = max((finish.get(key, 0) for key in step.depends_on), default=0)
            finish[step.key] = begin + step.estimated_seconds
        return max(finish.values(), default=0)
