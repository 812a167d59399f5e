"""A thread limit was set after the library had read it, so that it changed nothing.

What it sees: a limit variable (OMP_NUM_THREADS, OPENBLAS_NUM_THREADS, …) that code set after the library had been
loaded, while the library's pool in that process is larger than the limit, and its threads crowd the cores.

Why it costs: nothing by itself. It explains why a program that seems to be limited has pools of full size.

What to do: set the variable before the first import of the library, best in the shell; or limit the pool that
exists, with threadpoolctl or torch.set_num_threads.

When it is wrong: a variable that is set for child processes only is meant for them; processes that are executed (and
not forked) read it afresh.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports import pool_limits
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import contention
from corelens.reports.facts.pool_costs import cost, is_crowded
from corelens.reports.findings import Evidence, Finding, Gain, Remedy
from corelens.reports.rules.process_oversubscription import late

SLUG = "late-thread-limit"


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for all limits that came too late."""
    found = contention(facts)
    rows = late(facts, found) if found is not None and is_crowded(found) else []
    if found is None or not rows:
        return
    lost_core_s = cost(facts, found).lost_core_s
    first = rows[0]
    yield Finding(
        slug=SLUG,
        variant="limit-set-after-import",
        cause=f"{first.limit}={first.asked} was set in process {first.pid} after {first.library} had read its limits",
        lost_core_s=lost_core_s,
        lost_share=lost_core_s / facts.capacity_core_s,
        confidence=0.9,
        evidence=tuple(Evidence(row.why, pid=row.pid) for row in rows[:3]),
        remedy=Remedy(
            "Set it before the first import of the library, or limit the pool that exists.",
            (f"export {first.limit}={first.asked}", *pool_limits.in_python(found.teams, 1)),
            "the shell, before the program starts; or Python, in each process",
        ),
        gain=Gain(None, "what it would have gained is told with the cause that it failed to prevent"),
        contributing=True,
    )
