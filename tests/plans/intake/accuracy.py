"""Measures how well words become plans on the labelled set; `python -m tests.plans.intake.accuracy` prints it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.playbooks.discovery import scan
from agents.playbooks.facts import read_facts
from plans.intake.decomposer import Decomposition, RequestDecomposer

LABELLED = Path(__file__).with_name("labelled.json")
HOMELAB = Path(__file__).resolve().parents[3] / "examples" / "homelab"


@dataclass
class Tally:
    requests: int = 0
    intents: int = 0
    playbooks: int = 0
    slots: int = 0
    slots_right: int = 0
    questions: int = 0
    left_out: int = 0
    wrong: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)
    milliseconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        return {
            "intent": round(self.intents / self.requests, 3),
            "playbook": round(self.playbooks / self.requests, 3),
            "slots": round(self.slots_right / self.slots, 3),
            "wrong_without_question": len(self.wrong),
            "ms_per_request": round(self.milliseconds / self.requests, 2),
        }


def measure() -> Tally:
    facts = read_facts(HOMELAB)
    catalogue = scan(HOMELAB).catalogue(facts)
    decomposer = RequestDecomposer()
    tally = Tally()
    for row in json.loads(LABELLED.read_text(encoding="utf-8")):
        began = time.perf_counter()
        found = decomposer.decompose(row["text"], catalogue, facts)
        tally.milliseconds += (time.perf_counter() - began) * 1000
        _count(tally, row, found)
    return tally


def _count(tally: Tally, row: dict[str, Any], found: Decomposition) -> None:
    wanted, planned = row["subtasks"], found.subtasks
    tally.requests += 1
    playbooks = [s.playbook for s in planned] == [s["playbook"] for s in wanted]
    intents = [s.intent for s in planned] == [s["intent"] for s in wanted]
    asked = sorted(a.key.partition(":")[2] for a in found.ambiguities) == sorted(row["asks"])
    left = [part.words for part in found.out_of_scope] == row["out_of_scope"]
    right = 0
    invented = False
    for at, subtask in enumerate(wanted):
        values = _said(planned[at]) if at < len(planned) else {}
        right += sum(values.get(name) == value for name, value in subtask["slots"].items())
        invented |= bool(set(values) - set(subtask["slots"]))
        tally.slots += len(subtask["slots"])
    tally.playbooks += playbooks and ("offering" in row["asks"]) == any(":offering" in a.key for a in found.ambiguities)
    tally.intents += intents
    tally.slots_right += right
    tally.questions += asked
    tally.left_out += left
    complete = right == sum(len(s["slots"]) for s in wanted) and not invented
    if planned and not found.ambiguities and not (playbooks and complete and not row["asks"]):
        tally.wrong.append(row["text"])
    if not (playbooks and intents and asked and left and complete):
        tally.misses.append(f"{row['text']}: {json.dumps(found.to_json(), ensure_ascii=False)}")


def _said(subtask: Any) -> dict[str, Any]:
    """The values that the words gave; a list counts by its names."""
    values = {name: f.value for name, f in subtask.parameters.items() if "request" in f.origin or " of " in f.origin}
    return {
        n: [i["name"] for i in v] if isinstance(v, list) and isinstance(v[0], dict) else v for n, v in values.items()
    }


if __name__ == "__main__":
    result = measure()
    for miss in result.misses:
        print("missed:", miss)
    for text in result.wrong:
        print("wrong without a question:", text)
    print(f"{result.requests} requests, questions right {result.questions}, left out right {result.left_out}")
    print(json.dumps(result.summary()))
