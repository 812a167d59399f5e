"""Workers may only run on fewer cores than there are, because of a mask, and share them while others idle.

What it sees: threads that compute, whose masks together hold fewer cores than there are such threads, on a machine
that has more; they wait for a core, while cores outside the mask idle. Whether the program began with that mask, or
something changed it later (OMP_PROC_BIND and GOMP_CPU_AFFINITY make libgomp pin the thread that loads it, and children
inherit its mask), is told apart.

Why it costs: the workers take turns on the cores of the mask, and no scheduler may move them to a free one.

What to do: unset the variable, or give the mask back before workers are started.

When it is wrong: masks that do not overlap, one core for each worker, are placement on purpose; a mask that was given
from outside (taskset, a batch system, a container's cpuset) may be the share that the program is entitled to.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.at_work import AtWork, at_work
from corelens.reports.facts.facts import Facts
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "cpu-affinity"
_BINDING = ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES")
# A core busy for less than half of the time had room for another worker.
_IDLE_BELOW = 0.5
# Waiting less than a quarter of the time on a core is what any program with as many threads as cores does.
_LEAST_WAIT = 0.25
_MOST_GAIN = 5.0


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    work = at_work(facts)
    masks = _masks(work) if work is not None else []
    if work is None or not masks:
        return
    allowed = frozenset[int]().union(*masks)
    outside = _outside(facts, allowed)
    idle = [core for core in outside if _is_idle(facts, work, core)]
    waited_s = work.own_wanted_s - work.own_run_s
    if len(allowed) >= len(work.threads) or not outside or waited_s < _LEAST_WAIT * work.own_run_s:
        return
    usable = min(len(work.threads), len(allowed) + len(outside))
    # Not by what they used: others may have taken a part of the cores of the mask.
    factor = min(usable, work.own_wanted_s / work.length_s) / len(allowed)
    lost_core_s = (factor - 1) * work.own_run_s
    changed = len(allowed) < _at_first(facts)
    yield Finding(
        slug=SLUG,
        variant=_variant(facts, allowed, changed),
        cause=_cause(facts, work, allowed, changed),
        lost_core_s=lost_core_s,
        lost_share=min(1.0, lost_core_s / facts.capacity_core_s),
        confidence=(0.95 if changed else 0.7) - (0.0 if idle else 0.3),
        evidence=_evidence(facts, work, allowed, idle),
        remedy=_remedy(facts, changed),
        gain=_gain(work, factor, usable, allowed),
        against=_against(changed, idle),
        excluded=("workers pinned apart on purpose: their masks overlap",),
        explains=("process-oversubscription", "thread-oversubscription", "load-imbalance"),
    )


def _variant(facts: Facts, allowed: frozenset[int], changed: bool) -> str:
    if not changed:
        return "pinned-to-fewer"
    root = facts.root.affinity
    return "workers-on-same-cores" if root and root > allowed else "mask-changed-by-import"


def _masks(work: AtWork) -> list[frozenset[int]]:
    """Masks of those that compute; none where one of them was not read."""
    masks = [process.affinity for process, _ in work.threads]
    read = [mask for mask in masks if mask]
    return read if len(read) == len(masks) else []


def _at_first(facts: Facts) -> int:
    """Cores that the program might use when it began."""
    return round(max(facts.report.timeline.capacity_cores, default=1.0))


def _outside(facts: Facts, allowed: frozenset[int]) -> list[int]:
    return [core for core in facts.report.timeline.cores if core not in allowed]


def _is_idle(facts: Facts, work: AtWork, core: int) -> bool:
    timeline = facts.report.timeline
    first, last = int(work.from_s / timeline.step_s), int(work.until_s / timeline.step_s) + 1
    busy = timeline.core_busy[timeline.cores.index(core)][first:last]
    read = [value for value in busy if value is not None]
    return bool(read) and sum(read) / len(read) < _IDLE_BELOW


def _against(changed: bool, idle: list[int]) -> tuple[Evidence, ...]:
    said: list[Evidence] = []
    if not changed:
        said.append(Evidence("the program had this mask from its start: it may be meant"))
    if not idle:
        said.append(Evidence("the cores outside the mask were not idle: others used them"))
    return tuple(said)


def _binding(facts: Facts) -> str | None:
    told = {name: value for one in facts.variables_now.values() for name, value in one.items()}
    told |= {name: value for process in facts.processes for name, value in process.variables.items()}
    return next((f"{name}={told[name]}" for name in _BINDING if name in told), None)


def _listed(cores: frozenset[int] | list[int]) -> str:
    return ", ".join(str(core) for core in sorted(cores)[:8]) + (", …" if len(cores) > 8 else "")


def _cause(facts: Facts, work: AtWork, allowed: frozenset[int], changed: bool) -> str:
    how = ", a mask that was narrowed after the program had started" if changed else ""
    told = f" ({bound})" if changed and (bound := _binding(facts)) else ""
    return (
        f"{len(work.threads)} threads that compute, in {len(work.processes)} process(es)"
        f" ({work.processes[0].role}), may only run on core {_listed(allowed)} of"
        f" {facts.report.capacity.online_cores} cores{how}{told}"
    )


def _evidence(facts: Facts, work: AtWork, allowed: frozenset[int], idle: list[int]) -> tuple[Evidence, ...]:
    waited_s = work.own_wanted_s - work.own_run_s
    masks = f"the masks of {len(work.threads)} threads that compute hold core {_listed(allowed)} only"
    said = [Evidence(masks, float(len(allowed)), "cores", work.processes[0].pid)]
    if idle:
        text = f"core {_listed(idle)} idled meanwhile"
        said.append(Evidence(text, float(len(idle)), "cores", from_s=work.from_s, until_s=work.until_s))
    waited = f"they ran for {work.own_run_s:.1f} core-s and waited {waited_s:.1f} s for a core"
    said.append(Evidence(waited, waited_s, "s"))
    bound = _binding(facts)
    return (*said, Evidence(f"{bound} is set")) if bound else tuple(said)


def _remedy(facts: Facts, changed: bool) -> Remedy:
    cores = facts.report.capacity.online_cores
    restore = f"os.sched_setaffinity(0, range({cores}))"
    if not changed:
        return Remedy(
            f"Start the program with all {cores} cores, or no more workers than its mask has cores.",
            (f"taskset -c 0-{cores - 1} python …", restore),
            "the shell or the batch job; or Python, in each worker",
        )
    bound = (_binding(facts) or "").partition("=")[0]
    unset = (f"unset {bound}",) if bound else ()
    return Remedy(
        "Do not bind threads in a program that forks workers, or give the mask back before they start.",
        (*unset, restore),
        "the shell, before the program starts; or Python, after the imports and before the workers start",
    )


def _gain(work: AtWork, factor: float, usable: int, allowed: frozenset[int]) -> Gain:
    return Gain(
        min(factor, _MOST_GAIN),
        f"{len(work.threads)} threads that wanted {work.own_wanted_s / work.length_s:.2f} cores could use {usable}"
        f" instead of {len(allowed)}",
        at_least=factor > _MOST_GAIN,
    )
