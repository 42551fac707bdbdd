"""W9: a playbook as a step of an approved plan, against the same playbook by bare `ansible-playbook`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import work
from bench.figures import Result, middle, percentile, rounded, scaled
from bench.installation import BenchError
from bench.playbooks import PLAYBOOK, run_bare
from bench.workloads.common import Bench


def w9(bench: Bench) -> Result:
    """The step's own time, from its claim to its recorded end, divided by the program's time; medians."""
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        raise BenchError(f"There is no ansible-playbook beside {sys.executable}.")
    count = scaled(15, bench.scale, least=2)
    folder = bench.installation.playbooks
    run_bare(folder, program)  # whoever came first would pay for cold files
    _step()
    ours, bare = [], []
    for _ in range(count):
        ours.append(_step() * 1000)
        bare.append(run_bare(folder, program) * 1000)
    ratio = middle(ours) / middle(bare)
    fields = {
        "p50_ms": percentile(ours, 0.5),
        "p95_ms": percentile(ours, 0.95),
        "bare_p50_ms": percentile(bare, 0.5),
        "bare_p95_ms": percentile(bare, 0.95),
        "ratio_to_ansible_playbook": ratio,
    }
    return Result(
        "W9",
        f"a playbook of 7 tasks that changes nothing, {count} times",
        {"count": count, **{name: rounded(value) for name, value in fields.items()}},
        (
            ("as a step", f"p50 {fields['p50_ms']:.0f} ms, p95 {fields['p95_ms']:.0f} ms"),
            ("bare ansible-playbook", f"p50 {fields['bare_p50_ms']:.0f} ms, p95 {fields['bare_p95_ms']:.0f} ms"),
            ("ratio", f"{ratio:.2f}"),
        ),
    )


def _step() -> float:
    plan = work.written([{"key": "look", "tool": "ansible.playbook", "input": {"playbook": PLAYBOOK}}])
    work.approve(plan)
    work.ended([plan])
    first, last = work.times(plan[0])
    return last - first
