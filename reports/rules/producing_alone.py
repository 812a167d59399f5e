"""Programs of which one thread works, and mostly at what others could do: loading a batch, or choosing a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from corelens.reports.facts import waits
from corelens.reports.facts.code_places import in_sampler, is_startup, loads_here, place, work
from corelens.reports.facts.crew_time import idle_core_s
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.handing_costs import MOST_GAIN
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

_BUSY_SHARE = 0.7
# Others that use a fifth of what it does are workers of some kind.
_ALONE = 1.2
_FEW = 3
IN_ONE_SHARE = 0.5
"""Half of the samples: what it is seen at is then what it mostly does."""


def findings(facts: Facts, slug: str) -> Iterator[Finding]:
    """One thread works, and what it mostly does could be done by others or for less."""
    root = facts.root
    thread = max(root.threads, key=lambda each: each.run_s, default=None)
    if thread is None or thread.run_s < _BUSY_SHARE * facts.wall_s or facts.report.capacity.cores < 1.5:
        return
    if facts.report.cpu.used_core_s > _ALONE * thread.run_s:
        return
    samples = active(facts, root, thread)
    if sum(one.samples for one in samples) < _FEW:
        return
    loading, choosing = part_of(samples, loads_here), part_of(samples, in_sampler)
    if loading >= IN_ONE_SHARE:
        yield _loads_in_main(facts, thread, samples, loading, slug)
    elif choosing >= IN_ONE_SHARE:
        yield _chooses_alone(facts, thread, samples, choosing, slug)


def _idle(facts: Facts) -> float:
    return idle_core_s(facts, range(len(facts.report.timeline.busy_cores)))


def _shown(samples: list[StackSample], part: float, what: str) -> tuple[Evidence, ...]:
    places = [frame for one in samples if (frame := work(one)) is not None]
    where = f", as in {place(places[-1])}" if places else ""
    total = sum(one.samples for one in samples)
    return (
        Evidence(f"{part:.0%} of {total} samples of the busy thread show it {what}{where}", part, "share"),
    )


def _loads_in_main(
    facts: Facts, thread: ThreadFacts, samples: list[StackSample], part: float, slug: str
) -> Finding:
    idle, room = _idle(facts), facts.report.capacity.cores
    # Loading overlaps with the rest, and the cores share all of it.
    left = max(1 - part, 1 / room)
    factor = facts.wall_s / (facts.wall_s - thread.run_s + thread.run_s * left)
    return Finding(
        slug=slug,
        variant="main-process-loads",
        cause=f"The DataLoader of process {facts.root.pid} ({facts.root.role}) has no workers, so that the main"
        f" thread loads for {part:.0%} of its time and trains in the rest.",
        lost_core_s=idle * part,
        lost_share=idle * part / facts.capacity_core_s,
        confidence=0.85,
        evidence=(
            *_shown(samples, part, "loading a batch"),
            Evidence(
                f"thread {thread.tid} was on a core for {thread.run_s:.1f} of {facts.wall_s:.1f} s, and hardly any"
                " other thread was",
                thread.run_s, "s", thread.pid, thread.tid,
            ),
            Evidence(f"{idle:.1f} core-s of capacity were idle", idle, "core-s"),
        ),
        remedy=Remedy(
            f"Give the DataLoader {max(1, round(room))} workers that stay.",
            (f"DataLoader(..., num_workers={max(1, round(room))}, persistent_workers=True)",),
            "Python, where the DataLoader is made",
        ),
        gain=Gain(factor, f"loading ({part:.0%}) overlaps with training and is shared by {room:.0f} cores"),
        explains=("capped-native-threads",),
    )  # fmt: skip


def _chooses_alone(
    facts: Facts, thread: ThreadFacts, samples: list[StackSample], part: float, slug: str
) -> Finding:
    idle, waited = _idle(facts), thread.doing.get(waits.LOCK, 0.0)
    lost = thread.run_s * part + idle * part
    return Finding(
        slug=slug,
        variant="sampler",
        cause=f"Process {facts.root.pid} ({facts.root.role}) spends {part:.0%} of its time in an Optuna sampler that"
        " chooses the next trial: more than in the trials.",
        lost_core_s=min(lost, facts.capacity_core_s),
        lost_share=min(lost / facts.capacity_core_s, 1.0),
        confidence=0.75,
        evidence=(
            *_shown(samples, part, "choosing parameters"),
            Evidence(
                f"thread {thread.tid} was on a core for {thread.run_s:.1f} of {facts.wall_s:.1f} s and waited for a"
                f" lock for {waited:.1f} s",
                thread.run_s, "s", thread.pid, thread.tid,
            ),
            Evidence(f"{idle:.1f} core-s of capacity were idle", idle, "core-s"),
        ),
        remedy=cheaper_sampler(),
        gain=Gain(
            1 / max(1 - part, 1 / MOST_GAIN), f"without the sampler {1 - part:.0%} of the time remain", at_least=True
        ),
    )  # fmt: skip


def cheaper_sampler() -> Remedy:
    """What to do where a sampler costs more than a trial."""
    return Remedy(
        "Choosing a trial costs more than running it: use a cheaper sampler or fewer candidates, choose for several"
        " trials at once, or give each worker its own study on shared storage, so that all of them choose.",
        (
            "sampler = optuna.samplers.RandomSampler()",
            "sampler = optuna.samplers.TPESampler(n_ei_candidates=8, multivariate=False)  # or this",
        ),
        "Python, where the study is created",
    )


def active(facts: Facts, process: ProcessFacts, thread: ThreadFacts) -> list[StackSample]:
    """Samples of one thread in which it was active, start-up left out."""
    return [
        one
        for one in facts.samples_of(process)
        if one.tid == thread.tid and one.active is not False and not is_startup(one)
    ]


def part_of(samples: list[StackSample], is_so: Callable[[StackSample], bool]) -> float:
    """Part of some samples, 0 of none."""
    total = sum(one.samples for one in samples)
    return sum(one.samples for one in samples if is_so(one)) / total if total else 0.0
