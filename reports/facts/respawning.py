"""Worker processes that are born again and again: how many, in waves or one by one, and what their start costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.facts.stretches import Stretch, capacity_core_s, run_s

# A pool whose workers are replaced once (a crash, a second pool) has twice as many births as it is wide.
LEAST_GENERATIONS = 3
LEAST_BIRTHS = 4
# Processes are looked for ten times a second, so that the next wave may be seen this long before the end of the last.
OVERLAP_S = 0.15

# What a worker does beyond the imports of its parent: read what it is to run, and end. Workers of torch with next to
# no work used 0.07 s more than their parent's start, and more where two of them ended at once.
SPAWN_S = 0.05

# A child of the fork server imports the main module of the program again, as a spawned one does.
_EXECUTED = frozenset({"pool-worker-spawn", "pool-worker-forkserver", "loky-worker", "ray-worker"})
_WORKERS = _EXECUTED | {"pool-worker-fork", "dataloader-worker", "child"}


@dataclass(frozen=True, slots=True)
class Respawning:
    """Worker processes of one parent, more than ever lived at once."""

    parent: ProcessFacts
    members: tuple[ProcessFacts, ...]
    at_once: int
    """Most that lived at once."""
    waves: int
    """Groups that began after the one before had ended; as many as members where each came alone."""
    stretch: Stretch
    """From the first birth to the last end."""
    executed: bool
    """They began as a new program, so that each imports everything again."""
    start_s: float
    """CPU that each spent before its first task, as far as can be told; see `_start_s`."""
    run_s: float
    """CPU of all of them."""
    cores: float
    """That the program could use meanwhile."""

    @property
    def useful_s(self) -> float:
        """What is left of their CPU without their starts."""
        return max(0.0, self.run_s - self.start_s * len(self.members))

    @property
    def start_share(self) -> float:
        """Part of their CPU that went into starting."""
        return 1.0 - self.useful_s / self.run_s if self.run_s else 0.0

    @property
    def kept_s(self) -> float:
        """How long it would have taken with workers that stay: one start of each, and the work."""
        usable = min(self.cores, float(self.at_once))
        return (self.start_s * self.at_once + self.useful_s) / usable


def respawning(facts: Facts) -> tuple[Respawning, ...]:
    """Every parent that makes workers over and over."""
    found = [_respawning(facts, parent) for parent in facts.processes]
    return tuple(one for one in found if one is not None)


def _respawning(facts: Facts, parent: ProcessFacts) -> Respawning | None:
    members = [child for child in facts.children(parent) if _is_worker(facts, child)]
    at_once = _at_once(facts, members)
    if len(members) < max(LEAST_BIRTHS, LEAST_GENERATIONS * at_once):
        return None
    stretch = Stretch(members[0].born_s, max(_end_s(facts, member) for member in members))
    executed = sum(member.role in _EXECUTED or _executes(parent, member) for member in members)
    is_executed = 2 * executed > len(members)
    return Respawning(
        _who_asks(facts, parent), tuple(members), at_once, _waves(facts, members), stretch, is_executed,
        start_s=_start_s(facts, parent, members) if is_executed else 0.0,
        run_s=sum(member.run_s for member in members),
        cores=capacity_core_s(facts, stretch) / max(stretch.length_s, 1e-9),
    )  # fmt: skip


def _who_asks(facts: Facts, parent: ProcessFacts) -> ProcessFacts:
    """The program that wants the workers, where a fork server makes them for it."""
    if parent.role != "forkserver" or parent.parent_pid is None:
        return parent
    return facts.process(parent.parent_pid) or parent


def _is_worker(facts: Facts, process: ProcessFacts) -> bool:
    """A worker that came while we looked; of other children those that run Python, compilers and shells not."""
    if process.role not in _WORKERS or process.life.began_before:
        return False
    return process.role != "child" or _runs_python(facts, process)


def _runs_python(facts: Facts, process: ProcessFacts) -> bool:
    """By its interpreter lock, or, where it ended before that was found, by its command."""
    command = (process.life.argv or ("",))[0].rpartition("/")[2]
    return command.startswith("python") or any(gil.pid == process.pid for gil in facts.report.gil)


def _executes(parent: ProcessFacts, member: ProcessFacts) -> bool:
    """Whether it was started as a program of its own: its command line is not its parent's."""
    return member.life.argv is not None and member.life.argv != parent.life.argv


def _end_s(facts: Facts, process: ProcessFacts) -> float:
    return facts.wall_s if process.died_s is None else process.died_s


def _at_once(facts: Facts, members: Iterable[ProcessFacts]) -> int:
    events = [(member.born_s, 1) for member in members]
    events += [(max(member.born_s + 0.001, _end_s(facts, member) - OVERLAP_S), -1) for member in members]
    now = most = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return max(most, 1)


def _waves(facts: Facts, members: list[ProcessFacts]) -> int:
    waves, until_s = 0, -1.0
    for member in members:
        if member.born_s >= until_s - OVERLAP_S:
            waves += 1
        until_s = max(until_s, _end_s(facts, member))
    return waves


def _had_work(member: ProcessFacts) -> bool:
    """Whether a Ray worker ever took the title of a task or an actor."""
    return any(title.startswith("ray::") and title != "ray::IDLE" for title in member.life.titles)


def _start_s(facts: Facts, parent: ProcessFacts, members: list[ProcessFacts]) -> float:
    """CPU of one start: no more than what a thrifty one of them used, and what the parent needed to get so far.

    The thriftiest of all may have been ended before it had started, as the last replacements of a pool are.

    A spawned worker imports what its parent's main module imports, so that the parent's own start bounds it.
    Ray's workers and other programs import things of their own, so that equal tasks cannot be told from the start.
    """
    at_work = [member for member in members if member.role != "ray-worker" or _had_work(member)]
    spent = sorted(member.run_s for member in at_work or members)
    least = spent[len(spent) // 4]
    if members[0].role in ("ray-worker", "child"):
        return least
    before = run_s(facts, parent.threads, Stretch(0.0, members[0].born_s))
    return min(least, before + SPAWN_S) if parent.life is facts.root.life and before > 0 else least
