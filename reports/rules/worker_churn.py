"""Workers or whole pools are created over and over, and their start costs more than their work.

What it sees: many more worker processes than ever live at once, in waves or one by one, each short-lived. A worker
that begins as a new program (spawn, loky, a Ray worker) imports everything again, which is the largest part of the CPU
that it ever uses.

Why it costs: starting Python takes tens of milliseconds, importing numpy a tenth of a second, torch a second and
more: for each worker and each time. The parent waits meanwhile, and after the last task of a wave again until
everybody has ended.

What to do: create the pool once, outside of the loop, and hand it tasks as they come; `persistent_workers=True` for
a DataLoader; keep Ray actors and give them one trial after the other. What a task needs to load belongs in the
initializer of the pool.

When it is wrong: workers that are replaced seldom, and long after they began, cost little however many there were in
the end. Processes that lived shorter than the time between two looks may have been missed, so that the number of births
is a lower bound. The cost of a start is taken from the cheapest worker and from the parent's own imports: tasks that
all do the same import hide in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.respawning import Respawning, respawning
from corelens.reports.facts.stretches import idle_core_s
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "worker-churn"

# Fork is quick: only births at this rate cost as much as the work.
LEAST_FORKS_PER_S = 5.0
# Starts that took less than this part of the workers' CPU are not what holds a program up.
LEAST_START_SHARE = 0.25
PROVEN_START_SHARE = 0.5
# Less than a fiftieth of the time is not worth a line.
LEAST_SAVED_SHARE = 0.02
BIG_GAIN = 5.0


def check(facts: Facts) -> Iterator[Finding]:
    """One finding per parent that makes workers over and over."""
    for found in respawning(facts):
        if found.stretch.length_s - found.kept_s < LEAST_SAVED_SHARE * facts.wall_s:
            continue
        rate = len(found.members) / max(found.stretch.length_s, 1e-9)
        if found.executed and found.start_share >= LEAST_START_SHARE:
            yield _finding(facts, found, 0.9 if found.start_share >= PROVEN_START_SHARE else 0.7)
        elif not found.executed and rate >= LEAST_FORKS_PER_S:
            yield _finding(facts, found, 0.6)


def _finding(facts: Facts, found: Respawning, confidence: float) -> Finding:
    saved_s = max(0.0, found.stretch.length_s - found.kept_s)
    lost = saved_s * found.cores
    variant = _variant(found)
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=_cause(found, variant),
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=confidence,
        evidence=tuple(_evidence(facts, found)),
        remedy=_remedy(found, variant),
        gain=_gain(found),
        excluded=("long tasks: the workers ended soon after they had begun, and others took their place",),
        explains=(
            "load-imbalance", "slow-producer", "serial-dispatch", "process-oversubscription",
            "synchronisation-overhead", "gil-contention", "io-bound", "fine-grained-tasks",
        ),
    )  # fmt: skip


def _variant(found: Respawning) -> str:
    if any(member.role == "ray-worker" for member in found.members):
        return "ray-actor-per-trial"
    if any(member.role == "dataloader-worker" for member in found.members):
        return "respawn-each-epoch"
    return "pool-per-iteration" if len(found.members) >= 1.5 * found.waves else "process-per-task"


def _cause(found: Respawning, variant: str) -> str:
    parent = f"Process {found.parent.pid} ({found.parent.role})"
    count, waves = len(found.members), found.waves
    if variant == "respawn-each-epoch":
        return (
            f"{parent} starts its DataLoader workers anew {waves} times, and each imports everything again."
        )
    if variant == "pool-per-iteration":
        again = ", and each worker imports everything again" if found.executed else ""
        return f"{parent} builds and tears down a pool {waves} times{again}."
    if variant == "ray-actor-per-trial":
        return f"Ray started {count} worker processes one after the other, {found.at_once} at a time at most."
    return f"{parent} starts a process for every task: {count} of them, {found.at_once} at a time at most."


def _evidence(facts: Facts, found: Respawning) -> Iterator[Evidence]:
    span = found.stretch
    when = span.when
    count = len(found.members)
    yield Evidence(
        f"{count} workers were born in {span.length_s:.1f} s, {found.at_once} at once at most",
        count / span.length_s, "1/s", found.parent.pid, **when,
    )  # fmt: skip
    if found.executed:
        yield Evidence(
            f"each used {found.start_s:.2f} core-s before its first task: {found.start_share:.0%} of the CPU of all",
            found.start_share, "share", **when,
        )  # fmt: skip
    life = sum((facts.wall_s if m.died_s is None else m.died_s) - m.born_s for m in found.members) / count
    yield Evidence(f"they lived {life:.2f} s on average", life, "s", **when)
    yield Evidence(f"their work took {found.useful_s:.1f} core-s", found.useful_s, "core-s", **when)
    idle = idle_core_s(facts, span)
    yield Evidence(f"{idle:.1f} core-s were idle meanwhile", idle, "core-s", **when)


def _gain(found: Respawning) -> Gain:
    factor = found.stretch.length_s / max(found.kept_s, 0.01)
    reasoning = (
        f"{found.stretch.length_s:.1f} s with {len(found.members)} starts; with {found.at_once} workers that stay,"
        f" {found.at_once} starts of {found.start_s:.2f} s and {found.useful_s:.1f} core-s of work on"
        f" {min(found.cores, found.at_once):.1f} cores take {found.kept_s:.1f} s"
    )
    if factor > BIG_GAIN:
        return Gain(BIG_GAIN, f"{reasoning}; more than {BIG_GAIN:.0f} times", at_least=True)
    return Gain(max(1.0, factor), reasoning)


def _remedy(found: Respawning, variant: str) -> Remedy:
    width = found.at_once
    if variant == "respawn-each-epoch":
        return Remedy(
            f"Keep the {width} loader workers from epoch to epoch.",
            (f"DataLoader(…, num_workers={width}, persistent_workers=True)",),
            "Python, where the DataLoader is made, once and outside of the loop over epochs",
        )
    if variant == "ray-actor-per-trial":
        return Remedy(
            f"Keep {width} actors and give them one trial after the other.",
            (
                f"actors = [Trial.remote() for _ in range({width})]  # once",
                "pool = ray.util.ActorPool(actors)",
                "results = list(pool.map_unordered(lambda actor, p: actor.run.remote(p), parameters))",
                "# Ray Tune: TuneConfig(reuse_actors=True), and a reset_config() method",
            ),
            "Python, in the driver",
        )
    return Remedy(
        f"Create one pool of {width} workers before the loop and keep it.",
        (
            f"with ProcessPoolExecutor(max_workers={width}) as pool:  # once, outside of the loop",
            "    for step in range(steps):",
            "        results = list(pool.map(task, inputs))",
        ),
        "Python, around the loop",
    )
