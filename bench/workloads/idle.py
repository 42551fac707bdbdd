"""W5: what an installation that nobody uses costs, and how long it takes to start."""

from __future__ import annotations

import time

from bench import work
from bench.counters import cpu_seconds, memory, statement_log
from bench.figures import Result, rounded, scaled
from bench.workloads.common import Bench


def w5(bench: Bench) -> Result:
    """Memory, statements and CPU while nothing happens; seconds of a first and of a later start."""
    work.settled()
    seconds = scaled(60, bench.scale, least=2)
    processes = bench.installation.processes()
    with bench.installation.superuser() as link:
        before, cpu_before = _transactions(link), cpu_seconds(processes)
        time.sleep(seconds)
        transactions = (_transactions(link) - before) / seconds
    cpu = (sum(cpu_seconds(processes).values()) - sum(cpu_before.values())) / seconds
    with statement_log(bench.installation) as counted:
        began = time.monotonic()
        time.sleep(seconds)
        logged = time.monotonic() - began
    used = memory(bench.installation.processes())
    rss, pss = sum(each[0] for each in used.values()), sum(each[1] for each in used.values())
    statements = counted.of_processes() / logged
    by_process = {
        name.removeprefix("chiffon-"): rounded(count / logged)
        for name, count in sorted(counted.all.items())
        if name.startswith("chiffon-") and name != "chiffon-command"
    }
    fields = {
        "rss_mib": rounded(rss),
        "pss_mib": rounded(pss),
        "statements_per_s": rounded(statements),
        "statements_per_s_by_process": by_process,
        "transactions_per_s": rounded(transactions),
        "cpu_percent": rounded(cpu * 100),
        "processes": len(processes),
        "cold_s": rounded(bench.later_start[0]),
        "cold_agents_s": rounded(bench.later_start[1]),
        "first_start_s": rounded(bench.first_start[0]),
        "rss_mib_by_program": {name: rounded(each[0]) for name, each in sorted(used.items())},
    }
    programs = ", ".join(f"{name} {each[0]:.0f}" for name, each in sorted(used.items(), key=lambda item: -item[1][0]))
    told = ", ".join(f"{name} {rate:g}" for name, rate in by_process.items())
    return Result(
        "W5",
        f"idle for {seconds} s",
        fields,
        (
            ("memory", f"{rss:.0f} MiB resident ({programs}); {pss:.0f} MiB with shared pages counted once"),
            ("statements per second", f"{statements:.2f} ({told})"),
            ("transactions per second", f"{transactions:.2f} (pg_stat_database, commits and rollbacks)"),
            ("CPU", f"{cpu * 100:.1f} % of one core, {len(processes)} processes"),
            ("start", f"{bench.later_start[0]:.1f} s until pages, {bench.later_start[1]:.1f} s until both agents"),
            ("first start", f"{bench.first_start[0]:.1f} s, database made and migrated"),
        ),
    )


def _transactions(link: object) -> float:
    row = link.execute(  # type: ignore[attr-defined]
        "SELECT xact_commit + xact_rollback AS ended FROM pg_stat_database WHERE datname = 'chiffon'"
    ).fetchone()
    return float(row["ended"])
