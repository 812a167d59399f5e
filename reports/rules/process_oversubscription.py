"""Several processes each bring a native thread pool, and together they have more runnable threads than there are cores.

What it sees: two or more processes of the program whose native pools (OpenBLAS, MKL, OpenMP, …) work at the same time;
their threads, callers included, are runnable far beyond the cores. Pools that sleep are not counted, however large.
Where the size comes from is told apart: nothing limited it, a limit was set after the library had read it, or a
variable that the user exported overrode the limit that the process pool would have set.

Why it costs: a parallel piece of work ends when the slowest thread of its team has run. With more runnable threads than
cores that thread waits for its turn for milliseconds, while the piece itself takes microseconds. The others either spin
meanwhile and burn the core that it needs (OpenBLAS, OpenMP with active waiting), or sleep and are woken hundreds of
thousands of times per second (libgomp with more threads than cores).

What to do: give each process cores / processes threads, usually one: by a variable before the first import, by
threadpoolctl or torch.set_num_threads in the worker's initializer, or by joblib's inner_max_num_threads.

When it is wrong: calls that run for much longer than a time slice (large matrix products) lose little, though their
threads crowd the cores in the same way; the recording cannot always tell. A memory system that is saturated is not
told from work here: that takes hardware counters, so memory bandwidth is never named without them.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports import pool_limits
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import OPENMP, Contention
from corelens.reports.facts.pool_costs import cost
from corelens.reports.facts.pool_shapes import PROCESSES, crowded
from corelens.reports.findings import Evidence, Finding, Remedy
from corelens.reports.report import Limit

SLUG = "process-oversubscription"
_TOO_LATE = "set-too-late"
_LOKY = "loky-worker"


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    found = crowded(facts, PROCESSES)
    if found is None:
        return
    judged, variant = cost(facts, found), _variant(facts, found)
    yield Finding(
        slug=SLUG,
        variant=variant,
        cause=_cause(facts, found, variant),
        lost_core_s=judged.lost_core_s,
        lost_share=judged.lost_core_s / facts.capacity_core_s,
        confidence=judged.confidence,
        evidence=_evidence(facts, found, variant),
        remedy=_remedy(found, variant),
        gain=judged.gain,
        against=judged.against,
        excluded=("one caller's pool: the pools of several processes worked at the same time",),
        explains=("synchronisation-overhead", "thread-oversubscription", "gil-contention", "load-imbalance"),
    )


def _cause(facts: Facts, found: Contention, variant: str) -> str:
    count, size = len(found.processes), max(team.size for team in found.teams)
    role, name = found.processes[0].role, pool_limits.named(found.teams)
    why = {
        "limit-set-after-import": "; the limit was set after the library had read it",
        "user-env-overrides-protection": f"; {_exported(found)} overrides the limit that joblib would set",
        "limit-above-share": f"; {_exported(found)} asks for them",
    }.get(variant, "")
    return (
        f"{count} processes ({role}) each run up to {size} threads of {name}:"
        f" {found.runnable:.0f} runnable threads on {found.cores:.3g} cores{why}"
    )


def _evidence(facts: Facts, found: Contention, variant: str) -> tuple[Evidence, ...]:
    said = [
        Evidence(
            f"{found.runnable:.1f} threads wanted one of {found.cores:.3g} cores while the pools worked",
            found.runnable, "threads", from_s=found.from_s, until_s=found.until_s,
        ),
        Evidence(
            f"threads of {pool_limits.named(found.teams)} ran for {found.pool_run_s:.1f} core-s and waited"
            f" {found.pool_wanted_s - found.pool_run_s:.1f} s for a core",
            found.pool_wanted_s - found.pool_run_s, "s",
        ),
        pacing(found),
    ]  # fmt: skip
    if variant == "limit-set-after-import":
        said.insert(1, Evidence(next(row.why for row in late(facts, found))))
    elif (exported := _exported(found)) is not None:
        said.insert(1, Evidence(f"{exported} in the environment of {found.processes[0].role}s at exec"))
    return tuple(said)


def pacing(found: Contention) -> Evidence:
    """How the pools' threads wait: on a core, or asleep."""
    if found.spin_share >= 0.5:
        return Evidence(
            f"they went to sleep {found.sleeps_per_s:.1f} times per second: they wait on a core, spinning",
            found.sleeps_per_s, "1/s",
        )  # fmt: skip
    return Evidence(
        f"they went to sleep {found.sleeps_per_s:,.0f} times per second, and the kernel used"
        f" {found.system_s / found.used_s:.0%} of the core time",
        found.sleeps_per_s, "1/s",
    )  # fmt: skip


def late(facts: Facts, found: Contention) -> list[Limit]:
    """Limits of its processes that came after the library had read them."""
    pids = {process.pid for process in found.processes} | {
        process.parent_pid for process in found.processes if process.parent_pid is not None
    }
    labels = {team.label for team in found.teams}
    return [
        row
        for row in facts.report.limits
        if row.verdict == _TOO_LATE
        and row.pid in pids
        and (row.library is None or row.library in labels or _any(row, found))
    ]


def _any(row: Limit, found: Contention) -> bool:
    return row.limit in {pool_limits.variable(team.kind) for team in found.teams} | {"OMP_NUM_THREADS"}


def _variant(facts: Facts, found: Contention) -> str:
    if late(facts, found):
        return "limit-set-after-import"
    if _exported(found) is not None:
        protected = found.processes[0].role == _LOKY and _is_from_outside(facts, found)
        return "user-env-overrides-protection" if protected else "limit-above-share"
    openmp = sum(team.wanted_s for team in found.teams if team.kind in OPENMP)
    return "procs-x-openmp-team" if openmp > found.pool_wanted_s / 2 else "procs-x-blas-pool"


def _is_from_outside(facts: Facts, found: Contention) -> bool:
    """Whether a process that is no worker has the variable too: joblib hands its own limits to workers alone."""
    name, _, value = (_exported(found) or "").partition("=")
    others = [one for one in facts.processes if one.role != _LOKY]
    return any(
        {**one.variables, **facts.variables_now.get(one.life, {})}.get(name) == value for one in others
    )


def _exported(found: Contention) -> str | None:
    """`OMP_NUM_THREADS=16` where that is what gave a team its size, and it does not fit beside the others."""
    for team in found.teams:
        name = pool_limits.variable(team.kind)
        for each in (name, "OMP_NUM_THREADS"):
            value = team.process.variables.get(each or "", "").partition(",")[0].strip()
            if (
                value.isdecimal()
                and int(value) == team.pool_size
                and int(value) * found.at_once > found.cores
            ):
                return f"{each}={value}"
    return None


def _remedy(found: Contention, variant: str) -> Remedy:
    count = len(found.processes)
    each = max(1, int(found.cores // count))
    threads = "1 thread" if each == 1 else f"{each} threads"
    what = f"Give each of the {count} processes {threads} ({found.cores:.3g} cores / {count} processes)."
    if variant == "user-env-overrides-protection":
        name = (_exported(found) or "").partition("=")[0]
        return Remedy(
            f"Take {name} out of the environment, so that joblib sets it to its share of the cores, or set it to"
            f" {each}.",
            (f"unset {name}", f"with joblib.parallel_config(backend='loky', inner_max_num_threads={each}):"),
            "the shell, before the program starts; or Python, around Parallel",
        )
    python = pool_limits.in_python(found.teams, each)
    shell = pool_limits.in_shell(found.teams, each)
    where = "the shell, before the program starts" + (
        "; or Python, in the worker's initializer" if python else ""
    )
    if variant == "limit-set-after-import":
        what += " Variables count only when they are set before the library is imported."
    return Remedy(what, (*shell, *python), where)
