"""The process that hands work out prepares each input itself, one after another, and the workers starve.

What it sees: one thread of the parent keeps a core busy with work of its own (the input generator of `Parallel` or
`imap`, a loop that decodes before it submits, a sampler that chooses the next trial or batch), seldom stops for
messages, and its workers wait for tasks most of the time. Or a DataLoader without workers that loads between two
steps of training.

Why it costs: the pipeline is as fast as its slowest part, and that part runs on one core. More workers only starve
more.

What to do: move the preparation into the task (`delayed(lambda i: model(prepare(i)))` instead of
`delayed(model)(prepare(i))`), so that the workers share it; hand out paths, indices or undecoded bytes. Give a
DataLoader workers (`num_workers`). Where a sampler costs more than a trial, use a cheaper one, fewer candidates, or
let each worker ask for its own trials.

When it is wrong: where the input arrives from a device or a socket that cannot go faster, or where the preparation
carries state from one item to the next.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.code_places import in_sampler
from corelens.reports.facts.crew import THREADS, crews
from corelens.reports.facts.facts import Facts, ThreadFacts
from corelens.reports.facts.handing import Handing, handing, moves_much
from corelens.reports.facts.handing_costs import MOST_GAIN
from corelens.reports.findings import Evidence, Finding, Gain, Remedy
from corelens.reports.rules import producing_alone
from corelens.reports.rules.producing_alone import IN_ONE_SHARE, active, cheaper_sampler, part_of

SLUG = "slow-producer"
_LOADER = "dataloader-worker"
# The producer is the bottleneck when it hardly ever waits.
_BUSIEST_CORES = 0.6
_STARVED_SHARE = 0.4
# One of them waits where tasks arrive; were it results that pile up, nobody would.
_TASK_WAIT = 0.4
# Work goes on for milliseconds between two stops; a thread that moves messages stops thousands of times a second.
_MOST_WAKES_PER_CORE_S = 1000.0
# Part of the samples that must show work of its own; fewer than three prove little.
_WORK_SHARE, _FEW = 0.6, 3


def check(facts: Facts) -> Iterator[Finding]:
    """Look at each crew whose boss is busy, and at programs that load or choose on the one thread that works."""
    found = False
    for crew in crews(facts):
        if crew.kind != THREADS:
            known = handing(facts, crew)
            asks = part_of(active(facts, crew.boss, known.busiest), in_sampler) >= IN_ONE_SHARE
            if _is_slow(known, asks):
                found = True
                yield _finding(facts, known, asks)
    if not found:
        yield from producing_alone.findings(facts, SLUG)


def _is_slow(handing: Handing, asks: bool) -> bool:
    code = handing.code
    if handing.crew.workers[0].process.role == _LOADER and not asks:
        # Whoever trains keeps its loader waiting: that is what a loader is for.
        return False
    return (
        handing.lasts
        and handing.busiest_cores >= _BUSIEST_CORES
        and handing.starved_share >= _STARVED_SHARE
        and handing.time.task_wait >= _TASK_WAIT
        and handing.time.workers_mean < handing.time.boss_cores
        and _wakes_per_core_s(handing.busiest) <= _MOST_WAKES_PER_CORE_S
        and not (moves_much(handing) and code.work <= code.moving)
        and (code.seen < _FEW or code.work >= _WORK_SHARE * code.seen)
    )


def _wakes_per_core_s(thread: ThreadFacts) -> float:
    return (thread.voluntary or 0) / max(thread.run_s, 0.05)


def _finding(facts: Facts, known: Handing, asking: bool) -> Finding:
    crew, time, boss = known.crew, known.time, known.crew.boss
    where = known.busiest_place
    batches = crew.workers[0].process.role == _LOADER
    chooses = "chooses the samples of each batch" if batches else "chooses the next trial"
    what = chooses if asking else "prepares each input"
    return Finding(
        slug=SLUG,
        variant="sampler" if asking else "slow-input-generator",
        cause=f"Process {boss.pid} ({boss.role}) {what}{f' in {where}' if where else ''} on one core, and"
        f" {len(crew.workers)} {crew.title} wait for it {known.starved_share:.0%} of the time.",
        lost_core_s=time.idle_core_s,
        lost_share=time.idle_core_s / facts.capacity_core_s,
        confidence=_confidence(known),
        evidence=tuple(_evidence(known)),
        remedy=(_cheaper_batches() if batches else cheaper_sampler()) if asking else _move(known),
        gain=_gain(facts, known, asking),
        against=_against(known),
        excluded=(
            f"fine-grained-tasks: the busy thread stopped {_wakes_per_core_s(known.busiest):.0f} times for each"
            " second on a core; moving small messages stops it thousands of times",
            f"data-transfer: {known.code.moving} of {known.code.seen} samples of the process show it moving data",
        ),
        explains=("load-imbalance", "serial-dispatch", "gil-contention", "capped-native-threads"),
    )


def _confidence(known: Handing) -> float:
    if known.code.work >= _FEW:
        return 0.9
    return 0.8 if known.code.work else 0.6


def _evidence(known: Handing) -> Iterator[Evidence]:
    crew, thread, time = known.crew, known.busiest, known.time
    yield Evidence(
        f"thread {thread.tid} of process {thread.pid} kept {known.busiest_cores:.2f} of a core busy while there were"
        " workers",
        known.busiest_cores, "cores", thread.pid, thread.tid, crew.from_s, crew.until_s,
    )  # fmt: skip
    yield Evidence(
        f"its {len(crew.workers)} workers used {time.workers_mean:.2f} cores together and waited for tasks"
        f" {known.starved_share:.0%} of the time",
        known.starved_share, "share", crew.boss.pid, None, crew.from_s, crew.until_s,
    )  # fmt: skip
    if known.busiest_place:
        yield Evidence(
            f"{known.code.work} of {known.code.seen} samples show it at work, last in {known.busiest_place}",
            float(known.code.work), "samples", thread.pid, thread.tid,
        )  # fmt: skip
    yield Evidence(
        f"{time.idle_core_s:.1f} core-s of capacity were idle meanwhile", time.idle_core_s, "core-s"
    )


def _against(known: Handing) -> tuple[Evidence, ...]:
    if known.code.seen:
        return ()
    return (Evidence("no sample shows what code the busy thread ran: the recording was too short for it"),)


def _move(known: Handing) -> Remedy:
    name = known.busiest_place.partition(" (")[0] if known.busiest_place else "prepare"
    return Remedy(
        f"Move the preparation ({name}) into the task, so that {known.time.room:.0f} workers share it; hand out"
        " indices, paths or undecoded bytes instead of prepared inputs.",
        ("def task(item):", "    return work(prepare(item))  # both run in the worker"),
        f"Python, where process {known.crew.boss.pid} hands work out",
    )


def _cheaper_batches() -> Remedy:
    return Remedy(
        "Choosing the samples of a batch costs more than loading them, and no worker can take part in it: draw the"
        " indices of a whole epoch with one call of NumPy or torch, and let the sampler cut them into batches.",
        ("order = torch.multinomial(weights, count, replacement=True).tolist()  # once per epoch",),
        "Python, in the sampler",
    )


def _gain(facts: Facts, known: Handing, asking: bool) -> Gain:
    time = known.time
    rest_s = max(facts.wall_s - time.span_s, 0.0)
    if asking:
        least_s = max(known.worker_run_s / time.room, time.span_s / MOST_GAIN)
        factor = time.span_s / least_s
        return Gain(
            factor,
            f"with a sampler that costs next to nothing the workers' {known.worker_run_s:.1f} core-s remain, on"
            f" {time.room:.0f} cores; what a cheaper one still costs is not known",
            at_least=True,
        )
    total_s = known.boss_run_s + known.worker_run_s
    factor = facts.wall_s / (rest_s + total_s / time.room)
    return Gain(
        max(factor, 1.0),
        f"{known.boss_run_s:.1f} core-s of preparation and {known.worker_run_s:.1f} core-s of tasks take"
        f" {total_s / time.room:.1f} s on {time.room:.0f} cores instead of {time.span_s:.1f} s",
    )
