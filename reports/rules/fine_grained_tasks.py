"""The tasks are so small that handing them out costs more than running them.

What it sees: the threads of the parent that send tasks and collect results, and Ray's threads in driver and workers,
stop and go on thousands of times a second for a few microseconds of CPU each; they use more CPU than the tasks
themselves; the workers stop for a new task just as often; and the messages are small.

Why it costs: each task is pickled, written, read, unpickled, run, and its result travels back. That is 50 to 200
microseconds for a process pool and about a millisecond for Ray, spent mostly in the parent, on one core.

What to do: put many items into one task, so that a task lasts tens of milliseconds: `pool.map(f, xs, chunksize=N)`,
`executor.map(f, xs, chunksize=N)`, joblib `batch_size="auto"` (its default), or a function that takes a list. In
Ray pass a list of items to one task.

When it is wrong: tasks that are large but wait for each other's locks or for a manager process also stop often; there
the parent is idle. Where the whole job takes a second, a plain loop may be the better program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from corelens.reports.facts.crew import RAY, THREADS, crews
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.handing import Handing, handing, moves_much
from corelens.reports.facts.handing_costs import (
    GOOD_TASK_S,
    calls,
    even_s,
    most_gain,
    overhead_s,
    wasted_s,
    work_s,
)
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "fine-grained-tasks"
# A tenth of a core in messages of 100 us each; large tasks make tens of messages a second.
_WAKES_PER_S = 1000.0
# Messages of less than half a millisecond of CPU each.
_WAKES_PER_CORE_S = 2000.0
_BOSS_CORES = 0.35
# Handing out costs as much as the tasks do.
_OVERHEAD = 1.0


def check(facts: Facts) -> Iterator[Finding]:
    """Look at each crew whose boss is busy with messages."""
    for crew in crews(facts):
        if crew.kind != THREADS:
            known = handing(facts, crew)
            if _is_fine(known):
                yield _finding(facts, known)


def _is_fine(known: Handing) -> bool:
    return (
        known.lasts
        and known.time.boss_cores >= _BOSS_CORES
        and max(known.wakes_per_s, known.worker_wakes_per_s) >= _WAKES_PER_S
        and known.wakes_per_core_s >= _WAKES_PER_CORE_S
        and overhead_s(known) >= _OVERHEAD * work_s(known)
        and not moves_much(known)
    )


def _finding(facts: Facts, known: Handing) -> Finding:
    crew, boss = known.crew, known.crew.boss
    lost = min(wasted_s(known), facts.capacity_core_s)
    variant = "ray-tiny-tasks" if crew.kind == RAY else _variant(known)
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=f"Process {boss.pid} ({boss.role}) hands about {calls(known):,} small tasks to {len(crew.workers)}"
        f" {crew.title}: moving them takes {overhead_s(known):.1f} core-s, the tasks themselves"
        f" {work_s(known):.1f} at most.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.9 if known.code.work <= known.code.moving + known.code.machinery else 0.6,
        evidence=tuple(_evidence(known)),
        remedy=_remedy(known),
        gain=_gain(facts, known),
        against=_against(known),
        excluded=(
            "data-transfer: the messages are small",
            "slow-producer: the busy threads stop for a message all the time instead of computing",
            "lock-contention: the parent itself is busy, not a manager or the holder of a lock",
        ),
        explains=(
            "load-imbalance",
            "gil-contention",
            "lock-contention",
            "serial-dispatch",
            "slot-starvation",
        ),
    )


def _variant(known: Handing) -> str:
    return "joblib-dispatch" if known.crew.workers[0].process.role == "loky-worker" else "tiny-tasks"


def _evidence(known: Handing) -> Iterator[Evidence]:
    crew, time = known.crew, known.time
    yield Evidence(
        f"threads of process {crew.boss.pid} used {time.boss_cores:.2f} cores and stopped {known.wakes_per_s:,.0f}"
        f" times a second, {1e6 / known.wakes_per_core_s:.0f} us of CPU for each",
        known.wakes_per_s, "1/s", crew.boss.pid, None, crew.from_s, crew.until_s,
    )  # fmt: skip
    yield Evidence(
        f"handing out and collecting used {overhead_s(known):.1f} core-s, the tasks {work_s(known):.1f} core-s at most",
        overhead_s(known), "core-s", crew.boss.pid,
    )  # fmt: skip
    if known.worker_wakes_per_s:
        yield Evidence(
            f"each worker stopped for something {known.worker_wakes_per_s:,.0f} times a second and starved"
            f" {known.starved_share:.0%} of the time",
            known.worker_wakes_per_s, "1/s",
        )  # fmt: skip
    code = known.code
    if code.seen:
        yield Evidence(
            f"{code.moving + code.machinery} of {code.seen} samples of the parent show it sending and collecting",
            float(code.moving + code.machinery), "samples", crew.boss.pid,
        )  # fmt: skip


def _against(known: Handing) -> tuple[Evidence, ...]:
    if known.code.work <= known.code.moving + known.code.machinery:
        return ()
    return (
        Evidence(f"{known.code.work} of {known.code.seen} samples of the parent show it at work of its own"),
    )


def _remedy(known: Handing) -> Remedy:
    crew = known.crew
    count = max(calls(known), 1)
    each_s = max(known.worker_run_s, 1e-3) / count
    size = _round(min(GOOD_TASK_S / each_s, max(count / (4 * len(crew.workers)), 2)))
    seen = f"a task cost its worker about {1e6 * each_s:.0f} us: with {size:,} items each, tasks last longer than"
    if crew.kind == RAY:
        return Remedy(
            f"Pass a list of about {size:,} items to each Ray task ({seen} Ray needs to run them).",
            (
                f"parts = [items[i:i + {size}] for i in range(0, len(items), {size})]",
                "results = sum(ray.get([task_over_list.remote(part) for part in parts]), [])",
            ),
            f"Python, in the driver (process {crew.boss.pid})",
        )
    if crew.workers[0].process.role == "loky-worker":
        paste: tuple[str, ...] = (
            f'Parallel(n_jobs={len(crew.workers)}, batch_size="auto")  # or batch_size={size}',
        )
    else:
        paste = (
            f"pool.map(task, items, chunksize={size})",
            f"executor.map(task, items, chunksize={size})  # or this",
        )
    return Remedy(
        f"Hand out about {size:,} items at a time ({seen} the pool needs to hand them out).",
        paste,
        f"Python, in process {crew.boss.pid}",
    )


def _round(size: float) -> int:
    """One digit: more would pretend to know."""
    whole = max(2, int(size))
    step = int(10 ** int(math.log10(whole)))
    return int(whole // step * step)


def _gain(facts: Facts, known: Handing) -> Gain:
    span_s, wall_s = known.time.span_s, facts.wall_s
    return Gain(
        most_gain(known),
        f"the tasks need {work_s(known):.2f} core-s at most, which with the start of the workers is"
        f" {even_s(known):.2f} s on {known.time.room:.0f} cores, and the parallel part takes"
        f" {span_s:.1f} of {wall_s:.1f} s now",
        at_least=True,
    )
