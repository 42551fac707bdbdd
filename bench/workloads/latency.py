"""W3 and W4: from approval to start, and whether a step of a long chain costs what a step of a short one does."""

from __future__ import annotations

from bench import work
from bench.counters import Cost, look
from bench.figures import Result, middle, percentile, rounded, scaled
from bench.workloads.common import Bench


def w3(bench: Bench) -> Result:
    """From the approving call to the moment when the first step's tool is about to run."""
    count = scaled(50, bench.scale, least=2)
    starts: list[float] = []
    claims: list[float] = []
    calls: list[float] = []
    raw: list[float] = []
    for _ in range(count):
        plan = work.written(work.noops(1, chained=False))
        before, after = work.approve(plan)
        work.ended([plan], every=0.02)
        starts.append((work.tool_began(plan[0]) - before) * 1000)
        claims.append((work.times(plan[0])[0] - before) * 1000)
        calls.append((after - before) * 1000)
        raw.append(bench.raw.start_delay() * 1000)
    fields = {
        "p50_ms": percentile(starts, 0.5),
        "p95_ms": percentile(starts, 0.95),
        "claimed_p50_ms": percentile(claims, 0.5),
        "claimed_p95_ms": percentile(claims, 0.95),
        "approve_call_p50_ms": percentile(calls, 0.5),
        "celery_p50_ms": percentile(raw, 0.5),
        "celery_p95_ms": percentile(raw, 0.95),
    }
    return Result(
        "W3",
        f"from the approving call to the first step's start, {count} times, two agents",
        {"count": count, **{name: rounded(value) for name, value in fields.items()}},
        (
            ("tool about to run", f"p50 {fields['p50_ms']:.1f} ms, p95 {fields['p95_ms']:.1f} ms"),
            ("claimed by an agent", f"p50 {fields['claimed_p50_ms']:.1f} ms, p95 {fields['claimed_p95_ms']:.1f} ms"),
            ("the approving call alone", f"p50 {fields['approve_call_p50_ms']:.1f} ms"),
            ("raw Celery, same run", f"p50 {fields['celery_p50_ms']:.1f} ms, p95 {fields['celery_p95_ms']:.1f} ms"),
        ),
    )


def w4(bench: Bench) -> Result:
    """Chains of 10, 100 and 1000 steps: time and WAL per step, from the first claim to the last end."""
    lengths = [scaled(length, bench.scale, least=2) for length in (10, 100, 1000)]
    # One short chain alone would be measured by its noise.
    repeats = [scaled(times, bench.scale) for times in (10, 3, 1)]
    by_length = {}
    for length, times in zip(lengths, repeats, strict=True):
        ours, wal, raw = [], [], []
        for _ in range(times):
            seconds, cost = _chain(bench, length)
            ours.append(seconds * 1000 / length)
            wal.append(cost.wal_bytes / 1024 / length)
            raw.append(bench.raw.chains(1, length) * 1000 / length)
        by_length[str(length)] = {
            "ms_per_step": rounded(middle(ours)),
            "wal_kib_per_step": rounded(middle(wal)),
            "celery_ms_per_step": rounded(middle(raw)),
        }
    short, long = by_length[str(lengths[0])], by_length[str(lengths[-1])]
    fields = {
        "by_length": by_length,
        "time_ratio": rounded(long["ms_per_step"] / short["ms_per_step"]),
        "wal_ratio": rounded(long["wal_kib_per_step"] / short["wal_kib_per_step"]),
    }
    told = [
        (
            f"{length} steps",
            f"{one['ms_per_step']:g} ms and {one['wal_kib_per_step']:g} KiB of WAL per step; "
            f"raw Celery {one['celery_ms_per_step']:g} ms",
        )
        for length, one in by_length.items()
    ]
    name = f"{lengths[-1]} against {lengths[0]}"
    return Result(
        "W4",
        f"one chain of {', '.join(map(str, lengths))} steps",
        fields,
        (*told, (name, f"time × {fields['time_ratio']:g}, WAL × {fields['wal_ratio']:g}")),
    )


def _chain(bench: Bench, length: int) -> tuple[float, Cost]:
    plan = work.written(work.noops(length, chained=True))
    work.settled()
    with bench.installation.superuser() as link:
        before = look(link)
        work.approve(plan)
        work.ended([plan])
        work.settled()
        cost = look(link) - before
    first, last = work.times(plan[0])
    return last - first, cost
