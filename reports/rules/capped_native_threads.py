"""Native code could use the cores that idle, but was limited to fewer threads, or has no threaded path.

What it sees: one worker whose calling thread is on a core all the time without the GIL (so it computes in native
code that let go of it), no threads of a native pool at work beside it, and cores that idle meanwhile with nothing else
to run. Then what limits it: Ray, which gives each worker OMP_NUM_THREADS = num_cpus of the task (1 by default); a limit
variable that was set; or a pool that exists and sleeps, because code limited it or the call has no threaded path.

Why it costs: the call takes as long as one core takes, whatever the machine.

What to do: allow the call more threads (num_cpus=n for a Ray task, a larger variable), or, where it has no threaded
path, split the work over threads: native code that lets go of the GIL runs beside itself.

When it is wrong: a limit is right where several workers share the cores; then they are busy and this stays silent.
Native code of another library than the limited one does not care about the limit; the gain is then nothing. Code that
is bound by memory gains less from more threads, which only hardware counters could prove.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corelens.reports.facts.at_work import AtWork, while_busiest
from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.facts.native_teams import COMPUTING
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "capped-native-threads"
# Native code that runs for long holds the GIL between its calls only.
_HELD_AT_MOST = 0.10
_ON_CORE = 0.8
_IDLE_CORES = 0.5
_PARKED = 0.05
_RAY = "ray-worker"
# They stand beside the program and have no work of their own.
_BYSTANDERS = frozenset({"resource-tracker", "forkserver"})
_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_CONFIDENCE = {"ray-default-omp-1": 0.85, "limit-variable": 0.75, "unthreaded-path": 0.55}


@dataclass(frozen=True, slots=True)
class _Capped:
    """The worker that is capped, and by what."""

    process: ProcessFacts
    held_share: float
    variant: str
    limit: str | None


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    work = while_busiest(facts)
    found = _capped(facts, work) if work is not None else None
    if work is None or found is None:
        return
    cores, used = facts.report.capacity.cores, work.run_s / work.length_s
    idle = cores - used
    if idle < _IDLE_CORES:
        return
    factor = 1 / (found.held_share + (1 - found.held_share) / (cores / max(used, 1.0)))
    yield Finding(
        slug=SLUG,
        variant=found.variant,
        cause=_cause(found, idle, cores),
        lost_core_s=idle * work.length_s,
        lost_share=idle * work.length_s / facts.capacity_core_s,
        confidence=_CONFIDENCE[found.variant]
        - (0.1 if found.variant.startswith("ray") and not found.limit else 0),
        evidence=_evidence(found, work, idle, cores),
        remedy=_remedy(found, cores),
        gain=Gain(
            factor,
            f"while the call ran, {1 - found.held_share:.0%} of it was native code, which {cores:.3g} threads could"
            " share",
        ),
        excluded=("the GIL: it was free nearly all the time", "other tasks: none wanted a core meanwhile"),
        explains=("slot-starvation", "load-imbalance", "serial-dispatch"),
    )


def _capped(facts: Facts, work: AtWork) -> _Capped | None:
    """The only worker that computes, where it does so in native code, alone."""
    if len(work.threads) != 1 or work.own_run_s < _ON_CORE * work.length_s:
        return None
    process, _ = work.threads[0]
    held = next((one.held_share for one in facts.report.gil if one.pid == process.pid), None)
    if held is None or held > _HELD_AT_MOST or _pool_works(process):
        return None
    told = facts.variables_now.get(process.life, process.variables)
    limit = next(
        (f"{name}={told[name]}" for name in _LIMITS if told.get(name, "").partition(",")[0] == "1"), None
    )
    if process.role == _RAY:
        return _Capped(process, held, "ray-default-omp-1", limit)
    if _has_helpers(facts, process):
        return None
    if limit is not None:
        return _Capped(process, held, "limit-variable", limit)
    pools = any(thread.owner.kind in COMPUTING for thread in process.threads)
    return _Capped(process, held, "unthreaded-path", None) if pools else None


def _pool_works(process: ProcessFacts) -> bool:
    pools = [thread for thread in process.threads if thread.owner.kind in COMPUTING]
    return sum(thread.run_s for thread in pools) > _PARKED * process.run_s


def _has_helpers(facts: Facts, process: ProcessFacts) -> bool:
    """Whether other processes might take the work: then it is a matter of handing it out."""
    others = [one for one in facts.processes if one is not process and one is not facts.root]
    return any(one.role not in _BYSTANDERS for one in others)


def _cause(found: _Capped, idle: float, cores: float) -> str:
    why = {
        "ray-default-omp-1": f"Ray limits it to the 1 CPU that its task asked for ({found.limit or 'OMP_NUM_THREADS'})",
        "limit-variable": f"{found.limit} limits it",
        "unthreaded-path": "no thread of its library's pool takes part",
    }[found.variant]
    return (
        f"Native code in process {found.process.pid} ({found.process.role}) runs on one thread while {idle:.1f} of"
        f" {cores:.3g} cores idle: {why}"
    )


def _evidence(found: _Capped, work: AtWork, idle: float, cores: float) -> tuple[Evidence, ...]:
    pid = found.process.pid
    said = [
        Evidence(
            f"its thread was on a core {work.own_run_s / work.length_s:.0%} of the time and held the GIL"
            f" {found.held_share:.0%} of it: it computes in native code",
            found.held_share, "share", pid, from_s=work.from_s, until_s=work.until_s,
        ),
        Evidence(
            f"{idle:.1f} of {cores:.3g} cores idled meanwhile", idle, "cores",
            from_s=work.from_s, until_s=work.until_s,
        ),
        Evidence("no thread of a native pool worked beside it", 0.0, "threads", pid),
    ]  # fmt: skip
    if found.limit is not None:
        said.insert(1, Evidence(f"{found.limit} is set in process {pid}", 1.0, "threads", pid))
    return tuple(said)


def _remedy(found: _Capped, cores: float) -> Remedy:
    count = max(2, int(cores))
    if found.variant == "ray-default-omp-1":
        return Remedy(
            f"Let the task reserve the {count} cores that its native code can use; Ray then sets"
            f" OMP_NUM_THREADS={count}.",
            (f"@ray.remote(num_cpus={count})", f"task.options(num_cpus={count}).remote(…)"),
            "Python, where the task is defined or called",
        )
    if found.variant == "limit-variable":
        name = (found.limit or "").partition("=")[0]
        return Remedy(
            f"Allow {count} threads, as nothing else wants the cores.",
            (f"export {name}={count}",),
            "the shell, before the program starts",
        )
    return Remedy(
        f"Where code limits the library, allow it {count} threads; where the call has no threaded path, split the work"
        f" over {count} Python threads: it lets go of the GIL, so they run side by side.",
        (
            f"torch.set_num_threads({count})",
            f"threadpoolctl.threadpool_limits({count})",
            f"concurrent.futures.ThreadPoolExecutor({count}).map(…)",
        ),
        "Python: the first two where a limit is set, the last around the call",
    )
