"""Nothing will ever move again: everybody waits for somebody who waits.

What it sees: a stretch of at least three seconds, up to the end of the program, in which no process of the tree used
more CPU than polling takes, none began and none ended; and in it a chain of waits that nobody can end. Every thread
waits without a timeout for a lock in its own process, for a pipe whose other end is open in recorded processes alone,
or for the end of a child; and each of those who could end its wait waits in the same way. The form is told from who
waits where: a forked child that waits for a thread which the fork did not copy (`fork-after-openmp`,
`lock-held-at-fork`), a parent that joins a child whose pipe it does not read (`join-before-drain`), two processes that
both write and do not read (`both-sides-write`), a pool that lost a worker with its task (`worker-killed-task-lost`),
tasks that wait for tasks in their own full pool (`pool-waits-for-itself`), locks taken in opposite order
(`lock-cycle`), a lock that nobody opens (`lock-never-released`), a queue that nobody fills (`queue-never-filled`).

Why it costs: from that moment on no core is used, and the program never ends. It is no matter of speed: what had been
computed before is lost too, unless it was written down.

What to do: it depends on the form, and the report gives the lines. Start workers with `spawn` or `forkserver`, read a
queue before you join who fills it, use an executor that raises when a worker dies, give inner tasks a pool of their
own, take locks in one order. While you look for it, `corelens record --watch -- CMD` tells the chain at once, and
`--kill-deadlocked` ends the program with exit code 12.

When it is wrong: a program may wait for a signal on purpose, and a handler then sets the event; a timer of the program
(`signal.alarm`) does not show either. A socket that leads out of the tree is taken for a wait that can end, so that a
deadlock between a program and a server of its own which it reaches over TCP is missed. So is one beside a thread that
keeps computing or polling often. Recordings without a look at everybody (py-spy or the rights to trace were missing)
do not tell a lock with a timeout from one without, and confidence is lower.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts import deadlock_forms as forms
from corelens.reports.facts import waits
from corelens.reports.facts.deadlock_forms import Form, form
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.standstill import Still
from corelens.reports.facts.wait_chain import Place, sentence, where, worth_telling
from corelens.reports.findings import Evidence, Finding, Gain
from corelens.reports.rules.deadlock_texts import cause, remedy

SLUG = "deadlock"

# Every thread was looked at in one moment, and its timeouts and the ends of its pipes with it.
_LOOKED = 0.95
# The waits are those that were last seen of each thread: a lock with a timeout looks like one without.
_PIECED_TOGETHER = 0.75
# Beside it threads poll, which may be a scheduler that will give work to somebody.
_BESIDE_POLLING = 0.8
_LEFT_OVER = 0.9
_ENDED_WELL = 0.8
_LONE_THREAD = 0.4
# Below this part of the recording a standstill is told as what it is: the end of a program that delivers nothing.
_LEAST_SHARE = 0.10
# A thread that woke up so often during the standstill and changed nothing does not hold the others up or on.
_LEAST_WAKES = 2
_SYMPTOMS = (
    "load-imbalance", "serial-dispatch", "slot-starvation", "lock-contention", "slow-producer", "io-bound",
    "nested-sequential", "worker-churn", "capped-native-threads",
)  # fmt: skip


def check(facts: Facts) -> Iterator[Finding]:
    """Find a standstill whose waits nobody can end."""
    still = facts.standstill
    if still is None or not still.stuck or not still.to_the_end:
        return
    confidence, against = _proof(facts, still)
    if not confidence:
        return
    found = form(facts, still)
    lost = _lost_core_s(facts, still)
    yield Finding(
        slug=SLUG,
        variant=found.variant,
        cause=cause(facts, still, found),
        lost_core_s=lost,
        lost_share=min(1.0, lost / facts.capacity_core_s) if facts.capacity_core_s else 0.0,
        confidence=confidence * (1.0 if found.direct else _LEFT_OVER),
        evidence=tuple(_evidence(facts, still, found)),
        remedy=remedy(facts, found),
        gain=Gain(None, "nothing moves without the remedy, so there is no speed to compare with"),
        against=tuple(against),
        excluded=tuple(_excluded(still)),
        explains=_SYMPTOMS,
    )


def _proof(facts: Facts, still: Still) -> tuple[float, list[Evidence]]:
    """How well the waits prove that nothing will move, and what speaks against it; 0: not at all."""
    against: list[Evidence] = []
    looked = still.scene.looked
    confidence = _LOOKED if looked else _PIECED_TOGETHER
    if still.awake:
        if not (looked and _only_polling(still) and _is_gone_child(facts, still)):
            return 0.0, []
        confidence = _BESIDE_POLLING
        against.append(Evidence(f"{len(still.awake)} threads woke up now and then, and changed nothing"))
    elif not still.nobody_can_move:
        confidence = _LONE_THREAD
        against.append(Evidence("the program is one waiting thread, and may wait for a signal"))
    if facts.root.exit_code == 0 and not still.killed:
        if not looked:
            return 0.0, []
        confidence *= _ENDED_WELL
        against.append(Evidence("the program ended with exit code 0 after it", facts.root.died_s, "s"))
    if not looked:
        against.append(Evidence("nobody looked whether the waits have timeouts"))
    return confidence, against


def _only_polling(still: Still) -> bool:
    """Whether everybody who could move had the chance to, more than once, and went back to waiting."""
    return all(
        place.timed is True and place.what != waits.GIL and still.wakes.get(place.tid, 0) >= _LEAST_WAKES
        for place in still.awake
    )


def _is_gone_child(facts: Facts, still: Still) -> bool:
    """Whether a forked child waits for a thread that it does not have: nobody else can ever help it."""
    return form(facts, still).variant in (forms.FORK_AFTER_OPENMP, forms.LOCK_HELD_AT_FORK)


def _lost_core_s(facts: Facts, still: Still) -> float:
    """Idle core-seconds of the standstill; where it is short, the work that came to nothing is lost with it."""
    idle = max(0.0, facts.report.capacity.cores * still.length_s - still.used_core_s)
    if idle >= _LEAST_SHARE * facts.capacity_core_s:
        return idle
    return min(facts.capacity_core_s, idle + facts.report.cpu.used_core_s)


def _evidence(facts: Facts, still: Still, found: Form) -> Iterator[Evidence]:
    yield Evidence(
        f"nothing moved for {still.length_s:.1f} s: {still.used_core_s * 1e3:.1f} ms of CPU in the whole tree, no"
        " process began or ended",
        still.length_s,
        "s",
        from_s=still.start_s,
        until_s=still.end_s,
    )
    if found.dead is not None:
        died_s = found.dead.died_s
        how = (
            f"by signal {found.dead.signal}"
            if found.dead.signal is not None
            else f"with code {found.dead.exit_code}"
        )
        yield Evidence(
            f"process {found.dead.pid} ({found.dead.role}) ended {how} at {died_s or 0:.1f} s",
            died_s,
            "s",
            found.dead.pid,
        )
    for place in _told(still, found):
        yield Evidence(
            sentence(place, still.scene),
            pid=place.pid,
            tid=place.tid,
            from_s=still.start_s,
            until_s=still.end_s,
        )
    if found.library is not None:
        yield Evidence(
            f"its parent had threads of {found.library} when it forked; a fork copies the calling thread alone"
        )


def _told(still: Still, found: Form) -> list[Place]:
    """The waits of the form first, then the rest of the chain."""
    chain = worth_telling(still.scene, still.stuck)
    first = worth_telling(still.scene, found.culprits, most=4)
    return first + [place for place in chain if place not in first and where(place) not in map(where, first)]


def _excluded(still: Still) -> Iterator[str]:
    if still.scene.looked:
        yield "sleeping or waiting for a time: none of these waits has a timeout"
        yield "waiting for the network, a terminal or another program: nobody outside the tree can end these waits"
    yield "work that is merely slow: the threads used no CPU and waited for no disk"
