"""One worker, or a few, have much more work than the others, which run out of it and idle.

What it sees: a time at the end of the parallel part in which some workers compute without a break while the others
have ended or wait for tasks that do not come, and the process that hands work out waits too. Either all were busy
before (a straggler, or uneven shares), or the others never had anything (fewer pieces than workers, or one chunk
that holds all the costly ones).

Why it costs: the parallel part lasts as long as its longest worker. Every core-second between the end of the others
and its end is lost.

What to do: cut the long piece into several. Where that is not possible, start the longest pieces first, so that the
short ones fill the gap. Hand pieces out one at a time or in small chunks (`pool.map(f, xs, chunksize=1)`,
`imap_unordered`, joblib `batch_size=1`) instead of in one chunk per worker; deal them out interleaved rather than in
blocks where cost rises along the list.

When it is wrong: a short tail is natural, and the last tasks of a run always end at different times. Where the long
piece can be neither cut nor begun earlier, the gain cannot be had.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.code_places import is_startup, place, work
from corelens.reports.facts.crew import PROCESSES, RAY, THREADS, Crew, Worker, crews
from corelens.reports.facts.crew_ends import Ends, Waves, ends, is_clean, waves
from corelens.reports.facts.facts import Facts
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "load-imbalance"
# The last bins of every run are uneven: a tail must be longer than a few readings, and a real part of the span.
_LEAST_BINS = 2
_LEAST_PART = 0.12
# Before the tail the workers had enough to do; a crew that never filled its cores suffers from something else.
_BODY_SHARE = 0.7
_BOSS_CORES = 0.35
_STARVED_SHARE = 0.7
# Between the stragglers of two waves there is work for all; where there never is, tasks are sent one by one.
_FULL_SHARE = 0.15


def check(facts: Facts) -> Iterator[Finding]:
    """Look at the end of each crew's work."""
    for crew in crews(facts):
        tail = ends(facts, crew)
        again = waves(facts, crew)
        if again is not None and _is_uneven_again(crew, again):
            yield _finding_again(facts, crew, again)
        elif tail is not None and _is_uneven(facts, crew, tail):
            yield _finding(facts, crew, tail)


def _is_uneven(facts: Facts, crew: Crew, tail: Ends) -> bool:
    never = tail.body_share is None
    if never and crew.kind != PROCESSES:
        # Whether Ray's idle workers, or threads without work, were ever meant to have any cannot be told.
        return False
    return (
        is_clean(tail)
        and tail.length_s >= _LEAST_BINS * facts.report.timeline.step_s
        and tail.length_s >= _LEAST_PART * crew.span_s
        and (tail.body_share is None or tail.body_share >= _BODY_SHARE)
        and tail.boss_cores <= _BOSS_CORES
        and tail.starved_share >= _STARVED_SHARE
    )


def _finding(facts: Facts, crew: Crew, tail: Ends) -> Finding:
    where = _code(facts, crew, tail.alone[0])
    variant = "too-few-tasks" if tail.body_share is None else "straggler"
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=_cause(crew, tail, where),
        lost_core_s=tail.idle_core_s,
        lost_share=tail.idle_core_s / facts.capacity_core_s,
        confidence=_confidence(crew, tail),
        evidence=tuple(_evidence(crew, tail, where)),
        remedy=_remedy(crew, tail),
        gain=_gain(facts, crew, tail),
        excluded=(
            "serial-dispatch: no worker got work again after it had run out of it",
            f"slow-producer: the process that hands work out used {tail.boss_cores:.2f} cores meanwhile",
        ),
    )


def _is_uneven_again(crew: Crew, again: Waves) -> bool:
    return (
        again.alone_s >= _LEAST_PART * crew.span_s
        and again.full_share >= _FULL_SHARE
        and again.boss_cores <= _BOSS_CORES
        and again.starved_share >= _STARVED_SHARE
    )


def _finding_again(facts: Facts, crew: Crew, again: Waves) -> Finding:
    count = len(crew.workers)
    span_s = crew.until_s - max(crew.from_s, crew.first_work_s)
    return Finding(
        slug=SLUG,
        variant="straggler-in-each-wave",
        cause=f"In {again.count} waves of work one of {count} {crew.title} goes on alone after the others have run out"
        f" of it, for {again.alone_s:.1f} s together.",
        lost_core_s=again.idle_core_s,
        lost_share=again.idle_core_s / facts.capacity_core_s,
        confidence=0.8 - (0.2 if crew.kind == THREADS else 0.0),
        evidence=(
            Evidence(
                f"{again.count} times a single worker was busy while {count - 1} others were idle,"
                f" {again.alone_s / again.count:.1f} s each time on average",
                again.alone_s, "s", crew.boss.pid, None, again.from_s, again.until_s,
            ),
            Evidence(
                f"between these times there was work for all cores: {again.full_share:.0%} of the parallel part",
                again.full_share, "share",
            ),
            Evidence(
                f"{again.idle_core_s:.1f} core-s of capacity were idle in these times, and the process that hands work"
                f" out used {again.boss_cores:.2f} cores",
                again.idle_core_s, "core-s", crew.boss.pid,
            ),
        ),
        remedy=Remedy(
            "Let the next wave begin before the last task of this one has ended (an asynchronous search, or"
            " `imap_unordered` and a new task for each result); or cut the longest tasks, and begin them first.",
            ("tasks.sort(key=expected_seconds, reverse=True)",),
            f"Python, where process {crew.boss.pid} hands work out",
        ),
        gain=_even(facts, span_s, again.work_s, again.room),
        excluded=("serial-dispatch: there are times with work for all workers",),
    )  # fmt: skip


def _confidence(crew: Crew, tail: Ends) -> float:
    sure = 0.65 if tail.body_share is None else 0.9
    # Threads wait for tasks and for locks alike.
    return sure - (0.15 if crew.kind == THREADS else 0.0)


def _cause(crew: Crew, tail: Ends, where: str) -> str:
    alone = f"{len(tail.alone)} of {len(crew.workers)} {crew.title}"
    first = _name(tail.alone[0])
    if tail.body_share is None:
        return (
            f"Only {alone} ({first}{where}) had work, {tail.length_s:.1f} s of it; the others never had any."
        )
    return (
        f"{alone} ({first}{where}) went on for {tail.length_s:.1f} s after the others had run out of work:"
        " the work is unevenly shared."
    )


def _name(worker: Worker) -> str:
    if worker.thread.tid == worker.process.pid:
        return f"process {worker.process.pid}"
    return f"thread {worker.thread.tid} of process {worker.process.pid}"


def _code(facts: Facts, crew: Crew, worker: Worker) -> str:
    """Where the straggler was last seen at work."""
    seen = [
        frame
        for sample in facts.samples_of(worker.process)
        if sample.tid == worker.thread.tid and sample.active is not False and not is_startup(sample)
        if (frame := work(sample)) is not None
    ]
    return f", in {place(seen[-1])}" if seen else ""


def _evidence(crew: Crew, tail: Ends, where: str) -> Iterator[Evidence]:
    yield Evidence(
        f"from {tail.from_s:.1f} to {tail.until_s:.1f} s {_name(tail.alone[0])} was busy {tail.alone_share:.0%} of"
        f" the time and {len(tail.finished)} others {tail.rest_share:.0%}",
        tail.length_s, "s", tail.alone[0].process.pid, tail.alone[0].thread.tid, tail.from_s, tail.until_s,
    )  # fmt: skip
    yield Evidence(
        f"{tail.idle_core_s:.1f} core-s of capacity were idle in that time",
        tail.idle_core_s, "core-s", None, None, tail.from_s, tail.until_s,
    )  # fmt: skip
    if tail.body_share is not None:
        yield Evidence(
            f"before it the workers kept {tail.body_share:.0%} of the cores busy",
            tail.body_share, "share", None, None, crew.first_work_s, tail.from_s,
        )  # fmt: skip
    else:
        yield Evidence(
            f"the others used {max(worker.wanted_s for worker in tail.finished):.2f} core-s at most",
            max(worker.wanted_s for worker in tail.finished), "core-s",
        )  # fmt: skip
    yield Evidence(
        f"the others waited for tasks, or had ended, and the process that hands work out used"
        f" {tail.boss_cores:.2f} cores",
        tail.boss_cores, "cores", crew.boss.pid, None, tail.from_s, tail.until_s,
    )  # fmt: skip


def _remedy(crew: Crew, tail: Ends) -> Remedy:
    pieces = max(4 * int(tail.room), 2)
    cut = (
        f"Cut the work of {_name(tail.alone[0])} into pieces of {tail.length_s / pieces:.2g} s or less"
        f" ({pieces} or more), or begin the longest piece first; hand pieces out singly"
    )
    if crew.kind == RAY:
        return Remedy(
            cut + ".", ("tasks.sort(key=expected_seconds, reverse=True)",), "Python, before `.remote()`"
        )
    return Remedy(
        cut + " (`chunksize=1`), not in one block per worker.",
        ("tasks.sort(key=expected_seconds, reverse=True)", "results = pool.map(work, tasks, chunksize=1)"),
        f"Python, where process {crew.boss.pid} hands work out",
    )


def _gain(facts: Facts, crew: Crew, tail: Ends) -> Gain:
    return _even(facts, crew.until_s - max(crew.from_s, crew.first_work_s), tail.work_s, tail.room)


def _even(facts: Facts, span_s: float, work_s: float, room: float) -> Gain:
    rest_s = max(facts.wall_s - span_s, 0.0)
    factor = facts.wall_s / max(rest_s + work_s / room, 1e-3)
    return Gain(
        max(factor, 1.0),
        f"{work_s:.1f} core-s of work spread evenly over {room:.0f} cores take {work_s / room:.1f} s instead of"
        f" {span_s:.1f} s; the other {rest_s:.1f} s stay",
    )
