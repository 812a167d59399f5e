"""Several calling threads of one process each bring a native team, or fight over one native pool.

What it sees: one process in which two or more threads call into a library that splits work over its own threads. Each
thread that enters an OpenMP region gets a team of its own (callers x team threads); OpenBLAS has one pool for which its
callers queue. The threads that are runnable at once go far beyond the cores.

Why it costs: a team waits for its slowest thread, which waits for a core that others hold, spinning or being woken and
put to sleep all the time. The calling threads alone would keep the cores busy.

What to do: one thread per caller (torch.set_num_threads(1), threadpoolctl.threadpool_limits(1) around the threaded
section), or one caller with the whole pool. joblib limits inner pools of process workers only, not of its threads.

When it is wrong: callers that mostly wait for something else (requests, files) may want a team each; then their
threads are seldom runnable at once, and this stays silent. Memory bandwidth is not looked at: that takes counters.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports import pool_limits
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import OPENMP, Contention
from corelens.reports.facts.pool_costs import cost
from corelens.reports.facts.pool_shapes import CALLERS, crowded
from corelens.reports.findings import Evidence, Finding, Remedy
from corelens.reports.rules.process_oversubscription import pacing

SLUG = "thread-oversubscription"


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    found = crowded(facts, CALLERS)
    if found is None:
        return
    judged, openmp = cost(facts, found), _is_openmp(found)
    yield Finding(
        slug=SLUG,
        variant="omp-team-per-calling-thread" if openmp else "blas-pool-shared-by-threads",
        cause=_cause(found, openmp),
        lost_core_s=judged.lost_core_s,
        lost_share=judged.lost_core_s / facts.capacity_core_s,
        confidence=judged.confidence,
        evidence=_evidence(found),
        remedy=_remedy(found),
        gain=judged.gain,
        against=judged.against,
        excluded=("several processes: one of them has the pools that worked",),
        explains=("synchronisation-overhead", "gil-contention", "lock-contention", "load-imbalance"),
    )


def _is_openmp(found: Contention) -> bool:
    return sum(team.wanted_s for team in found.teams if team.kind in OPENMP) > found.pool_wanted_s / 2


def _process(found: Contention) -> int:
    return max(found.callers, key=lambda pid: found.callers[pid])


def _cause(found: Contention, openmp: bool) -> str:
    pid, name = _process(found), pool_limits.named(found.teams)
    callers, size = found.callers[pid], max(team.size for team in found.teams)
    each = f"each have a team of {size} threads of" if openmp else f"share one pool of {size} threads of"
    return (
        f"{callers} calling threads of process {pid} {each} {name}:"
        f" {found.runnable:.0f} runnable threads on {found.cores:.3g} cores"
    )


def _evidence(found: Contention) -> tuple[Evidence, ...]:
    pid = _process(found)
    return (
        Evidence(
            f"{found.runnable:.1f} threads wanted one of {found.cores:.3g} cores while the pools worked",
            found.runnable, "threads", pid, from_s=found.from_s, until_s=found.until_s,
        ),
        Evidence(
            f"{sum(len(team.threads) for team in found.teams)} threads of {pool_limits.named(found.teams)} ran for"
            f" {found.pool_run_s:.1f} core-s and waited {found.pool_wanted_s - found.pool_run_s:.1f} s for a core",
            found.pool_wanted_s - found.pool_run_s, "s", pid,
        ),
        pacing(found),
    )  # fmt: skip


def _remedy(found: Contention) -> Remedy:
    callers = found.callers[_process(found)]
    return Remedy(
        f"Let each of the {callers} calling threads compute alone: they fill the {found.cores:.3g} cores by"
        " themselves.",
        (*pool_limits.in_python(found.teams, 1), *pool_limits.in_shell(found.teams, 1)),
        "Python, before the threads start; or the shell, before the program starts",
    )
