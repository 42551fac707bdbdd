"""W1 and W2: finished steps per second, in sequences and side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import work
from bench.counters import cpu_seconds, look, statement_log
from bench.figures import Result, percentile, rounded, scaled
from bench.workloads.common import Bench, Round, rates

Plans = list[tuple[Any, str]]


def w1(bench: Bench) -> Result:
    """200 plans of 10 steps, one after the other; the counted cost of a step besides."""
    count, length = scaled(200, bench.scale), 10
    steps = count * length
    rounds, plans, spent = _interleaved(
        bench,
        lambda: [work.written(work.noops(length, chained=True)) for _ in range(count)],
        lambda: bench.raw.chains(count, length),
    )
    fields = rates(rounds, steps)
    took = work.step_milliseconds(plans)
    counted = _counted(bench, max(1, count // 4), length)
    fields |= {"p50_ms": percentile(took, 0.5), "p95_ms": percentile(took, 0.95), **counted}
    cpu = {name: seconds * 1000 / (steps * len(rounds)) for name, seconds in spent.items()}
    return Result(
        "W1",
        f"{count} plans of {length} no-op steps in sequence, {len(rounds)} rounds",
        {
            "steps": steps,
            "rounds": len(rounds),
            **{name: rounded(value) for name, value in fields.items()},
            "cpu_ms_per_step": {name: rounded(value) for name, value in sorted(cpu.items())},
            "ratios": [rounded(each.celery / each.chiffon) for each in rounds],
        },
        (
            *_rate_lines(fields, rounds),
            ("claim to end of a step", f"p50 {fields['p50_ms']:.1f} ms, p95 {fields['p95_ms']:.1f} ms"),
            ("CPU per step", _listed(cpu, "ms")),
            ("write transactions per step", f"{fields['write_transactions_per_step']:.2f}"),
            (
                "statements per step",
                f"{fields['statements_per_step']:.1f}, of them BEGIN, COMMIT and the like "
                f"{fields['control_statements_per_step']:.1f}",
            ),
            (
                "WAL per step",
                f"{fields['wal_kib_per_step']:.2f} KiB, {fields['page_images_per_step']:.2f} whole pages among it",
            ),
        ),
    )


def w2(bench: Bench) -> Result:
    """One plan of 500 steps that wait for nothing."""
    steps = scaled(500, bench.scale)
    rounds, plans, spent = _interleaved(
        bench, lambda: [work.written(work.noops(steps, chained=False))], lambda: bench.raw.group(steps)
    )
    fields = rates(rounds, steps)
    took = work.step_milliseconds(plans)
    fields |= {"p50_ms": percentile(took, 0.5), "p95_ms": percentile(took, 0.95)}
    cpu = {name: seconds * 1000 / (steps * len(rounds)) for name, seconds in spent.items()}
    return Result(
        "W2",
        f"one plan of {steps} no-op steps side by side, {len(rounds)} rounds",
        {
            "steps": steps,
            "rounds": len(rounds),
            **{name: rounded(value) for name, value in fields.items()},
            "cpu_ms_per_step": {name: rounded(value) for name, value in sorted(cpu.items())},
            "ratios": [rounded(each.celery / each.chiffon) for each in rounds],
        },
        (
            *_rate_lines(fields, rounds),
            ("claim to end of a step", f"p50 {fields['p50_ms']:.1f} ms, p95 {fields['p95_ms']:.1f} ms"),
            ("CPU per step", _listed(cpu, "ms")),
        ),
    )


def _interleaved(
    bench: Bench, write: Callable[[], Plans], celery: Callable[[], float]
) -> tuple[list[Round], Plans, dict[str, float]]:
    """Chiffon, Celery, Chiffon, Celery …; the times, all plans, and the CPU that Chiffon's processes used."""
    rounds: list[Round] = []
    all_plans: Plans = []
    spent: dict[str, float] = {}
    for _ in range(bench.rounds):
        plans = write()
        work.settled()
        before = cpu_seconds(bench.installation.processes())
        began = min([work.approve(plan)[0] for plan in plans])
        ours = work.ended(plans) - began
        work.settled()
        after = cpu_seconds(bench.installation.processes())
        for name, seconds in after.items():
            spent[name] = spent.get(name, 0.0) + seconds - before.get(name, 0.0)
        rounds.append(Round(ours, celery()))
        all_plans += plans
    return rounds, all_plans, spent


def _counted(bench: Bench, count: int, length: int) -> dict[str, float]:
    """Transactions, statements and WAL per finished step, on runs of their own: the log costs time.

    Approvals, the commits to the audit repository and what idle processes do meanwhile are part of it.
    """
    steps = count * length
    plans = [work.written(work.noops(length, chained=True)) for _ in range(count)]
    work.settled()
    with bench.installation.superuser() as link:
        before = look(link)
        _run(plans)
        cost = look(link) - before
    plans = [work.written(work.noops(length, chained=True)) for _ in range(count)]
    work.settled()
    with statement_log(bench.installation) as counted:
        _run(plans)
    control = sum(counted.control.values()) - counted.control["chiffon-command"]
    return {
        "write_transactions_per_step": cost.write_transactions / steps,
        "statements_per_step": counted.of_processes() / steps,
        "control_statements_per_step": control / steps,
        "wal_kib_per_step": cost.wal_bytes / 1024 / steps,
        "page_images_per_step": cost.page_images / steps,
    }


def _run(plans: Plans) -> None:
    for plan in plans:
        work.approve(plan)
    work.ended(plans)
    work.settled()


def _rate_lines(fields: dict[str, float], rounds: list[Round]) -> list[tuple[str, str]]:
    ratios = ", ".join(f"{each.celery / each.chiffon:.3f}" for each in rounds)
    return [
        ("steps per second", f"{fields['steps_per_s']:.1f}"),
        ("raw Celery, same run", f"{fields['celery_steps_per_s']:.1f}"),
        ("ratio to raw Celery", f"{fields['ratio_to_celery']:.3f} (by round: {ratios})"),
    ]


def _listed(values: dict[str, float], unit: str) -> str:
    parts = ", ".join(f"{name} {value:.1f}" for name, value in sorted(values.items(), key=lambda item: -item[1]))
    return f"{sum(values.values()):.1f} {unit} ({parts})"
