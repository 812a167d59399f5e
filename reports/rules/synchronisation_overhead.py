"""Native threads spend their time at barriers, spinning or falling asleep, instead of computing.

What it sees: one calling thread whose pool has more runnable threads than there are cores, so that each of its short
parallel pieces waits for threads without a core; OpenMP threads of several processes that a variable
(OMP_WAIT_POLICY=active, GOMP_SPINCOUNT, KMP_BLOCKTIME) tells to spin without end; or two libraries with a pool each,
used in turn by one thread, of which one spins while the other works.

Why it costs: starting and joining a team takes microseconds when all its threads are on a core, and a scheduler's
turn, milliseconds, when one is not. Threads that spin meanwhile hold the very cores for which that one waits.

What to do: one thread for small problems, no more threads than cores for large ones; passive waiting where processes
share cores; one runtime for both libraries.

When it is wrong: a pool that is no larger than the cores, whose threads spin between pieces that are too small, looks
from outside like one that computes: only samples of native code tell them apart, so it is not named. Large calls on a
pool beyond the cores lose less than predicted. Memory bandwidth is not looked at: that takes hardware counters.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports import pool_limits
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import Contention
from corelens.reports.facts.pool_costs import cost
from corelens.reports.facts.pool_shapes import ACTIVE_WAIT, ONE_CALLER, crowded
from corelens.reports.findings import Evidence, Finding, Remedy
from corelens.reports.rules.process_oversubscription import pacing

SLUG = "synchronisation-overhead"
_BOTH = 0.2


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    active = crowded(facts, ACTIVE_WAIT)
    found = active or crowded(facts, ONE_CALLER)
    if found is None:
        return
    judged = cost(facts, found)
    variant = _variant(found, active is not None)
    yield Finding(
        slug=SLUG,
        variant=variant,
        cause=_cause(found, variant),
        lost_core_s=judged.lost_core_s,
        lost_share=judged.lost_core_s / facts.capacity_core_s,
        confidence=judged.confidence,
        evidence=_evidence(found),
        remedy=_remedy(found, variant),
        gain=judged.gain,
        against=judged.against,
        excluded=_excluded(variant),
        explains=("process-oversubscription", "thread-oversubscription", "gil-contention"),
    )


def _variant(found: Contention, active: bool) -> str:
    if len(found.processes) == 1 and _two(found):
        return "two-runtimes"
    return "active-wait" if active else "regions-too-small"


def _two(found: Contention) -> bool:
    by_label: dict[str, float] = {}
    for team in found.teams:
        by_label[team.label] = by_label.get(team.label, 0.0) + team.wanted_s
    return sum(1 for wanted in by_label.values() if wanted >= _BOTH * found.pool_wanted_s) > 1


def _cause(found: Contention, variant: str) -> str:
    name, crowd = (
        pool_limits.named(found.teams),
        f"{found.runnable:.0f} runnable threads on {found.cores:.3g} cores",
    )
    size = max(team.size for team in found.teams)
    if variant == "active-wait":
        policy = next(iter(found.policies.values()))
        return (
            f"{policy.name}={policy.value} keeps waiting threads of {name} in {len(found.processes)} process(es)"
            f" spinning on the cores that the others need: {crowd}"
        )
    if variant == "two-runtimes":
        return f"one thread of process {found.processes[0].pid} uses {name} in turn, and the idle one spins: {crowd}"
    return (
        f"one thread of process {found.processes[0].pid} has {name} split each call over {size} threads that wait for"
        f" each other: {crowd}"
    )


def _evidence(found: Contention) -> tuple[Evidence, ...]:
    said = [
        Evidence(
            f"{found.runnable:.1f} threads wanted one of {found.cores:.3g} cores while the pools worked",
            found.runnable, "threads", from_s=found.from_s, until_s=found.until_s,
        ),
        pacing(found),
        Evidence(
            f"threads of {pool_limits.named(found.teams)} ran for {found.pool_run_s:.1f} core-s beside the thread"
            " that calls them",
            found.pool_run_s, "core-s",
        ),
    ]  # fmt: skip
    said[2:2] = [
        Evidence(f"{one.name}={one.value} in process {one.pid}") for one in list(found.policies.values())[:1]
    ]
    return tuple(said)


def _excluded(variant: str) -> tuple[str, ...]:
    if variant == "active-wait":
        return ("pools that are too large: threads that wait are told to spin, whatever their number",)
    return ("several processes or callers: one thread of one process calls the pool",)


def _remedy(found: Contention, variant: str) -> Remedy:
    cores, count = int(found.cores), len(found.processes)
    if variant == "active-wait":
        names = dict.fromkeys(policy.name for policy in found.policies.values())
        return Remedy(
            f"Let waiting threads sleep, or keep threads x {count} processes within {cores} cores.",
            (*(f"unset {name}" for name in names), "export OMP_WAIT_POLICY=passive"),
            "the shell, before the program starts",
        )
    more = " Give all libraries one runtime (one OpenMP, one BLAS)." if variant == "two-runtimes" else ""
    return Remedy(
        f"Use 1 thread for pieces this small, and never more than the {cores} cores.{more}",
        (*pool_limits.in_python(found.teams, 1), *pool_limits.in_shell(found.teams, 1)),
        "Python, before the small calls; or the shell, before the program starts",
    )
