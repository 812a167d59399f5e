"""Tasks wait for logical slots while cores are free.

What it sees: a steady number of workers busy with one thread each, fewer than there are cores and never more, for as
long as the work lasts; they have a core whenever they want one; the caller waits for results; cores stay idle. With
Ray: idle workers or none beside the busy ones, because each task has reserved more than it uses. With a
pool: all of its workers are busy and there are fewer of them than cores.

Why it costs: slots are counted and not measured. A task that reserves `num_cpus=2` and computes on one thread keeps
the other core empty, however long the queue behind it.

What to do: reserve what a task uses: `num_cpus=1` for one thread, fractions for tasks that wait, less of a
custom resource or of memory; give a pool as many workers as there are cores for it.

When it is wrong: the queue itself is inside the scheduler, where it is not seen from outside, so that a program with
only so many tasks looks alike, and so does one that submits the next task when it has the result of the last. Native
code that runs on one thread by a limit is another cause. All of these lower the confidence.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.places import passes_through, samples_of, top_place
from corelens.reports.facts.slots import BusySlots, caller_share, pool_slots, ray_slots, results_seen
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "slot-starvation"

# A worker whose GIL is free for more than this runs native code: that it uses one thread may be a limit's doing.
LEAST_HELD_SHARE = 0.5
# A caller that is idle in more of the bins than this has handed over its tasks beforehand.
CALLER_ACTS_SHARE = 0.05
# With fewer results for each slot than this, there may have been no more tasks than slots.
LEAST_RESULTS_PER_SLOT = 3
_INNER_POOLS = ("/joblib/parallel.py",)


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding: Ray's slots, or those of a pool."""
    ray = ray_slots(facts)
    if ray is not None:
        if not _is_actor(ray):
            yield _finding(facts, ray, "num-cpus-too-large", 0.75)
        return
    pool = pool_slots(facts)
    if pool is not None and not _masked(pool):
        yield _finding(facts, pool, "executor-smaller-than-cores", 0.6)


def _is_actor(found: BusySlots) -> bool:
    """An actor runs one call at a time whatever it reserves."""
    return any(
        title.startswith("ray::") and "." in title for worker in found.workers for title in worker.life.titles
    )


def _masked(found: BusySlots) -> bool:
    return any(
        worker.affinity is not None and len(worker.affinity) < found.cores - 0.5 for worker in found.workers
    )


def _finding(facts: Facts, found: BusySlots, variant: str, confidence: float) -> Finding:
    lost = found.idle_cores * found.stretch.length_s
    against = tuple(_against(facts, found, variant))
    place = top_place(samples_of(facts, found.workers)) if variant != "num-cpus-too-large" else None
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=_cause(found, variant) + (f" ({place})." if place else "."),
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=max(0.1, confidence - 0.3 * len(against)),
        evidence=tuple(_evidence(found)),
        remedy=_remedy(found, variant),
        gain=_gain(found),
        against=against,
        excluded=(
            "lack of cores: busy workers had a core whenever they wanted one",
            "a straggler at the end: the number of busy workers was the same all the time",
        ),
        explains=("load-imbalance", "capped-native-threads"),
    )


def _cause(found: BusySlots, variant: str) -> str:
    if variant == "num-cpus-too-large":
        return (
            f"Ray runs {found.slots} of its tasks at a time on {found.cores:.0f} cores: each reserves more than the one"
            " thread that it uses"
        )
    return f"The pool has {found.slots} workers for {found.cores:.0f} cores, and all of them are always busy"


def _evidence(found: BusySlots) -> Iterator[Evidence]:
    when = found.stretch.when
    yield Evidence(
        f"{found.at_once:.2f} workers were busy at a time, on one thread each", found.at_once, None, **when
    )
    yield Evidence(
        f"{found.idle_cores:.2f} of {found.cores:.1f} cores had no worker", found.idle_cores, "cores", **when
    )
    yield Evidence(
        f"the caller, process {found.caller.pid}, waited for results", None, None, found.caller.pid, **when
    )
    yield Evidence(f"{len(found.spare)} more workers had nothing to do", float(len(found.spare)))


def _against(facts: Facts, found: BusySlots, variant: str) -> Iterator[Evidence]:
    if found.held is not None and found.held < LEAST_HELD_SHARE * found.at_once:
        yield Evidence(
            f"the busy workers held their GIL only {found.held / found.at_once:.0%} of the time: they run native code,"
            " whose threads may be limited",
            found.held, "share",
        )  # fmt: skip
    acts = caller_share(facts, found)
    if acts > CALLER_ACTS_SHARE:
        yield Evidence(
            f"the caller acted in {acts:.0%} of the time, as one does that sends the next task when it has a result",
            acts, "share", found.caller.pid,
        )  # fmt: skip
    if variant == "num-cpus-too-large":
        return
    results = results_seen(facts, found.caller)
    if results < LEAST_RESULTS_PER_SLOT * found.slots:
        yield Evidence(
            f"the caller was woken {results} times by results: there may have been no task waiting",
            float(results),
        )
    if passes_through(samples_of(facts, found.workers), *_INNER_POOLS):
        yield Evidence("the workers run a parallel loop of their own, which runs sequentially")


def _remedy(found: BusySlots, variant: str) -> Remedy:
    cores = max(2, round(found.cores))
    if variant == "num-cpus-too-large":
        return Remedy(
            f"Reserve one CPU for each task, or what it really uses: {cores} tasks can then run on {cores} cores, where"
            f" {found.slots} do now.",
            ("@ray.remote(num_cpus=1)", "# or at the call: task.options(num_cpus=1).remote(…)"),
            "Python, where the task is declared; a custom resource or memory= that is reserved likewise",
        )
    return Remedy(
        f"Give the pool {cores} workers in place of {found.slots}.",
        (f"ProcessPoolExecutor(max_workers={cores})   # or multiprocessing.Pool({cores})",),
        "Python, where the pool is made",
    )


def _gain(found: BusySlots) -> Gain:
    factor = found.cores / max(found.at_once, 0.1)
    reasoning = (
        f"{found.cores:.1f} cores can run what {found.at_once:.2f} ran, if enough tasks wait; each as long"
    )
    if factor > 5.0:
        return Gain(5.0, f"{reasoning}; more than 5 times", at_least=True)
    return Gain(factor, reasoning)
