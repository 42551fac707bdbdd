"""Plans and steps before anything is saved: frozen values that validation, risk and saving read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plans.retry import RetryPolicy

Json = dict[str, Any]


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
    hosts: tuple[str, ...] = ()
    reason: str = ""
    service: str = ""
    origins: dict[str, str] = field(default_factory=dict)
    estimated_seconds: int | None = None
    reversible_by: str = ""
    spans: tuple[tuple[int, int], ...] = ()


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
        return max([*(step.risk for step in self.steps), *unseen], key=order.index, default="low")

    @property
    def estimated_seconds(self) -> int | None:
        """How long its longest path takes; None as soon as one step is not known."""
        finish: dict[str, int] = {}
        for step in self.steps:
            if step.estimated_seconds is None:
                return None
            begin = max((finish.get(key, 0) for key in step.depends_on), default=0)
            finish[step.key] = begin + step.estimated_seconds
        return max(finish.values(), default=0)
