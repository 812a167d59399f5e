"""Reasons not to call a program healthy although no cause was found, and what to record instead."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts import waits
from corelens.reports.facts.crew import Crew, crews
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.owned import UNKNOWN
from corelens.reports.findings import INSUFFICIENT_EVIDENCE, Evidence, Finding, Gain, Remedy

# Ten looks at the usual rate, of which the first and the last show starting and ending.
_LEAST_S = 1.0
# Attaching misses how the program began; a few seconds show neither a wave of tasks nor a tail.
_LEAST_ATTACHED_S = 3.0
# Members hold a second each: a fifth of the recording lost.
_DAMAGED_PART = 0.2
# Waits were looked at for at least so much of the time of the threads, or rules on waiting had nothing to go by.
_LOOKED_SHARE = 0.5
# POP calls a parallel efficiency below 0.8 worth a look; far below that it needs a reason.
_IDLE_SHARE = 0.4
_CREW_PART = 0.5
_UNKNOWN_PART = 0.5
# Workers that wait for sockets, disks and clocks do their work in that way.
_AWAY_PART = 0.3
# A service waits for requests most of the time, in its main thread.
_OUTSIDE_PART = 0.5


def doubt(facts: Facts, findings: tuple[Finding, ...] = ()) -> Finding | None:
    """The strongest reason not to call a program healthy in which no cause was found; None where there is none.

    `findings` are those that were too small or too badly proven to be the verdict.
    """
    return next(_doubts(facts, findings), None)


def _doubts(facts: Facts, findings: tuple[Finding, ...]) -> Iterator[Finding]:
    yield from _too_short(facts)
    yield from _damaged(facts)
    yield from _not_looked_at(facts)
    yield from _nobodys_threads(facts)
    yield from _unexplained(facts, findings)


def _idle_share(facts: Facts) -> float:
    capacity = facts.capacity_core_s
    return max(0.0, 1 - facts.report.cpu.used_core_s / capacity) if capacity else 0.0


def _too_short(facts: Facts) -> Iterator[Finding]:
    source, wall_s = facts.report.source, facts.wall_s
    if source.how == "attached" and wall_s < _LEAST_ATTACHED_S:
        yield _finding(
            facts,
            "attached-briefly",
            f"The program was looked at for {wall_s:.1f} s of its life: too short to tell why it does not scale.",
            Evidence(f"recording was attached and lasted {wall_s:.1f} s", wall_s, "s"),
            Remedy(
                "Attach for as long as a few tasks take, or start the program under the recorder, which shows how it"
                " begins and ends.",
                (f"corelens record -d 30 -p {facts.root.pid}", "corelens record -- COMMAND"),
                "shell",
            ),
        )
    elif wall_s < _LEAST_S:
        yield _finding(
            facts,
            "too-short",
            f"The recording lasts {wall_s:.2f} s: too short to tell why the program does not scale.",
            Evidence(f"recording lasted {wall_s:.2f} s", wall_s, "s"),
            Remedy(
                "Give the program ten times the work, or look at it more often.",
                ("corelens record -r 50 -- COMMAND",),
                "shell",
            ),
        )


def _damaged(facts: Facts) -> Iterator[Finding]:
    damage = facts.report.source.damage
    if damage and len(damage) >= _DAMAGED_PART * facts.wall_s:
        yield _finding(
            facts,
            "damaged",
            "Parts of the recording cannot be read, and what is left does not tell why the program does not scale:"
            f" {len(damage)} in {facts.wall_s:.1f} s.",
            Evidence(damage[0], float(len(damage)), "stretches"),
            Remedy(
                "Record again, or copy the file again in binary mode.",
                ("corelens record -- COMMAND",),
                "shell",
            ),
        )


def _not_looked_at(facts: Facts) -> Iterator[Finding]:
    lived_s = sum((thread.died_s or facts.wall_s) - thread.born_s for thread in facts.threads)
    looked_s = sum(sum(thread.doing.values()) for thread in facts.threads)
    if lived_s <= 0 or looked_s >= _LOOKED_SHARE * lived_s or _idle_share(facts) < _IDLE_SHARE:
        return
    yield _finding(
        facts,
        "waits-unseen",
        f"{_idle_share(facts):.0%} of the capacity was idle, and what the threads waited for could not be seen.",
        Evidence(
            f"what threads waited for was seen for {looked_s / lived_s:.0%} of their time",
            looked_s / lived_s,
            "share",
        ),
        Remedy(
            "Record with permission to look at the waiting threads: as the user of the program with"
            " `kernel.yama.ptrace_scope=0`, with CAP_SYS_PTRACE, or as root; `corelens doctor` says what is missing.",
            ("corelens doctor", "sudo corelens record -- COMMAND"),
            "shell",
        ),
    )


def _nobodys_threads(facts: Facts) -> Iterator[Finding]:
    wanted_s = sum(thread.wanted_s for thread in facts.threads)
    unknown_s = sum(thread.wanted_s for thread in facts.threads if thread.owner.kind == UNKNOWN)
    cpu = facts.report.cpu
    if unknown_s < _UNKNOWN_PART * wanted_s or cpu.run_queue_wait_s <= cpu.used_core_s:
        return
    yield _finding(
        facts,
        "owners-unseen",
        f"Threads waited {cpu.run_queue_wait_s:.0f} s for a core, more than they ran, and what made them could not be"
        " seen: a native pool that is too large looks so, and so do threads that are many on purpose.",
        Evidence(
            f"threads of unknown owner had {unknown_s / wanted_s:.0%} of the time on and for a core",
            unknown_s / wanted_s,
            "share",
        ),
        Remedy(
            "Record with permission to read the memory of the program: as its user with"
            " `kernel.yama.ptrace_scope=0`, with CAP_SYS_PTRACE, or as root.",
            ("corelens doctor", "sudo corelens record -- COMMAND"),
            "shell",
        ),
    )


def _unexplained(facts: Facts, findings: tuple[Finding, ...]) -> Iterator[Finding]:
    idle = _idle_share(facts)
    crew = next(iter(crews(facts)), None)
    if crew is None or idle < _IDLE_SHARE or crew.span_s < _CREW_PART * facts.wall_s:
        return
    away_s = sum(worker.away_s for worker in crew.workers)
    lived_s = len(crew.workers) * crew.span_s
    if away_s >= _AWAY_PART * lived_s or _serves(crew, facts.wall_s) or _is_crowded_out(facts):
        return
    near = ", ".join(finding.slug for finding in findings[:3])
    guess = f" The nearest guesses, not proven: {near}." if near else ""
    yield _finding(
        facts,
        "unexplained",
        f"{idle:.0%} of the capacity was idle while there were {len(crew.workers)} {crew.title}, and no known cause"
        f" explains it.{guess}",
        Evidence(
            f"{facts.report.cpu.busy_cores_mean:.2f} of {facts.report.capacity.cores:g} cores were busy on average",
            facts.report.cpu.busy_cores_mean, "cores", crew.boss.pid,
        ),
        Remedy(
            "Record the slow part for a minute with more samples of Python stacks, which show what the workers wait"
            " for.",
            ("corelens record --stacks-rate 50 --budget 0.05 -d 60 -- COMMAND",),
            "shell",
        ),
    )  # fmt: skip


def _is_crowded_out(facts: Facts) -> bool:
    """Whether the program wanted the cores that it did not get: other programs had them."""
    cpu = facts.report.cpu
    return cpu.used_core_s + cpu.run_queue_wait_s > (1 - _IDLE_SHARE) * facts.capacity_core_s


def _serves(crew: Crew, wall_s: float) -> bool:
    """Whether the main thread of the boss waits for somebody outside: a service that nobody asks for more."""
    main = next((thread for thread in crew.bosses if thread.tid == crew.boss.pid), None)
    if main is None:
        return False
    return main.doing.get(waits.POLL, 0.0) + main.doing.get(waits.SOCKET, 0.0) >= _OUTSIDE_PART * wall_s


def _finding(facts: Facts, variant: str, cause: str, evidence: Evidence, remedy: Remedy) -> Finding:
    share = _idle_share(facts)
    return Finding(
        slug=INSUFFICIENT_EVIDENCE,
        variant=variant,
        cause=cause,
        lost_core_s=share * facts.capacity_core_s,
        lost_share=share,
        confidence=1.0,
        evidence=(evidence,),
        remedy=remedy,
        gain=Gain(None, "It cannot be predicted: the cause is not known."),
    )
