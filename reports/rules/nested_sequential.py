"""An inner parallel level silently runs sequentially, because it is inside a worker of an outer one.

What it sees: a worker process that computes, and Python stacks in which joblib runs the tasks of a Parallel in the
calling thread, while cores idle. joblib does that inside daemonic processes (multiprocessing.Pool's workers are), which
may not have children, below a level of threads, and from the third nested level on.

Why it costs: the parallelism that was asked for does not happen; with fewer outer workers than cores the rest of the
machine idles, and nothing but a warning tells of it.

What to do: parallelise one level, best the outer one with as many workers as cores; or use an outer pool whose workers
may have children (loky, concurrent.futures).

When it is wrong: an inner level that was asked for one job looks the same from outside; the idle cores are as real, and
the remedy is the same, but no warning is to be expected.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.at_work import AtWork, at_work
from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "nested-sequential"
# Functions that run joblib's tasks one after another in the thread that asked for them.
_SEQUENTIAL = ("_get_sequential_output", "SequentialBackend")
_LOKY = "loky-worker"
# Below half, the sequential level is one part of what the worker does among others.
_LEAST_SHARE = 0.5
_IDLE_CORES = 0.5


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding, of all workers in which it happens."""
    work = at_work(facts)
    if work is None:
        return
    found = [(one, share) for one in work.processes if (share := _share(facts, one)) >= _LEAST_SHARE]
    cores = facts.report.capacity.cores
    idle = cores - work.run_s / work.length_s
    if not found or idle < _IDLE_CORES:
        return
    factor = cores / max(work.run_s / work.length_s, 1e-9)
    lost_core_s = idle * work.length_s
    workers = [one for one, _ in found]
    daemonic = _is_daemonic(facts, workers[0])
    yield Finding(
        slug=SLUG,
        variant=_variant(workers[0], daemonic),
        cause=_cause(facts, workers, daemonic),
        lost_core_s=lost_core_s,
        lost_share=lost_core_s / facts.capacity_core_s,
        confidence=0.9 if daemonic else 0.75,
        evidence=_evidence(found, work, idle, cores),
        remedy=_remedy(workers, cores),
        gain=Gain(
            factor,
            f"{cores:.3g} cores instead of {work.run_s / work.length_s:.2f}, if the inner level has as many tasks",
        ),
        excluded=("waiting: the worker was on a core all along, and no process below it computes",),
        explains=("load-imbalance", "serial-dispatch", "slot-starvation"),
    )


def _share(facts: Facts, process: ProcessFacts) -> float:
    """Part of its active samples that stand in a sequential inner level."""
    outer = process is facts.root
    seen = [sample for sample in facts.samples_of(process) if sample.active]
    whole = sum(sample.samples for sample in seen)
    inner = [
        sample for sample in seen if _is_sequential(sample) and not (outer and not _is_below_threads(sample))
    ]
    return sum(sample.samples for sample in inner) / whole if whole else 0.0


def _is_sequential(sample: StackSample) -> bool:
    return any(
        "/joblib/" in frame.file and any(name in frame.function for name in _SEQUENTIAL)
        for frame in sample.frames
    )


def _is_below_threads(sample: StackSample) -> bool:
    """Whether a level of threads stands around it: the main program's own level is not nested."""
    return any(
        frame.file.endswith(("/multiprocessing/pool.py", "/concurrent/futures/thread.py"))
        and frame.function in ("worker", "_worker")
        for frame in sample.frames
    )


def _caller(facts: Facts, process: ProcessFacts) -> str | None:
    """The program's function that asked for the inner level."""
    for sample in facts.samples_of(process):
        for frame, inner in zip(sample.frames, sample.frames[1:], strict=False):
            if (
                "/joblib/" in inner.file
                and "Parallel.__call__" in inner.function
                and "/joblib/" not in frame.file
            ):
                return frame.function
    return None


def _is_daemonic(facts: Facts, worker: ProcessFacts) -> bool:
    """Whether its stacks show a worker of multiprocessing.Pool, which is always daemonic."""
    return worker is not facts.root and any(
        frame.file.endswith("/multiprocessing/pool.py") and frame.function == "worker"
        for sample in facts.samples_of(worker)
        for frame in sample.frames
    )


def _variant(worker: ProcessFacts, daemonic: bool) -> str:
    if daemonic:
        return "daemonic-pool-worker"
    if worker.parent_pid is None:
        return "loky-below-threads"
    return "loky-in-loky" if worker.role == _LOKY else "nested-in-worker"


def _cause(facts: Facts, workers: list[ProcessFacts], daemonic: bool) -> str:
    asked = _caller(facts, workers[0])
    what = f"joblib.Parallel, called in {asked}," if asked else "joblib.Parallel"
    if workers[0] is facts.root:
        return f"The {what} runs its tasks one after another, because it stands below a level of threads"
    why = "daemonic, so it may not have children" if daemonic else "which is daemonic or nested already"
    return (
        f"The {what} runs its tasks one after another in {len(workers)} worker process(es)"
        f" ({workers[0].role}, {why})"
    )


def _evidence(
    found: list[tuple[ProcessFacts, float]], work: AtWork, idle: float, cores: float
) -> tuple[Evidence, ...]:
    worker, share = found[0]
    return (
        Evidence(
            f"{share:.0%} of the samples of process {worker.pid} ({worker.role}) show joblib running tasks in the"
            " thread that asked for them",
            share, "share", worker.pid,
        ),
        Evidence(
            f"{idle:.1f} of {cores:.3g} cores idled meanwhile", idle, "cores", from_s=work.from_s, until_s=work.until_s
        ),
        Evidence(
            f"process {worker.pid} used {worker.run_s:.1f} core-s and has no child that computes",
            worker.run_s, "core-s", worker.pid,
        ),
    )  # fmt: skip


def _remedy(workers: list[ProcessFacts], cores: float) -> Remedy:
    return Remedy(
        f"Parallelise one level only: {cores:.0f} tasks at once from the main process, instead of {len(workers)}"
        " worker(s) whose inner level is sequential.",
        (
            f"joblib.Parallel(n_jobs={cores:.0f})(...)  # in the main process, without the outer pool",
            "concurrent.futures.ProcessPoolExecutor()  # its workers may have children",
        ),
        "Python, where the outer pool is made",
    )
