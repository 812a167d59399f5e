"""Workers that are busy all the time, fewer than there are cores, while somebody waits for all of their results."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.facts.blocking import alive_s
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.stretches import Stretch, bins, capacity_core_s, shared
from corelens.reports.facts.waits import CHILD, LOCK, PIPE, POLL

# A worker that has a core for less of a bin than this was between two tasks, or had none.
BUSY_BIN = 0.5
# Tasks that follow on each other leave no bins empty but those in which a slot was given to the next.
STEADY_SHARE = 0.85
LEAST_STRETCH_S = 1.0
# Less than this of a core idle is what starts and ends of tasks leave.
LEAST_IDLE_CORES = 0.5
# A worker that is short of cores, or waits for the GIL of others, is not held back by slots.
LEAST_CORE_SHARE = 0.85
CALLER_WAITS = 0.5
# A driver in one ray.get looks for signals twice a second, 0.05 ms each time; to send a task takes it 0.3 ms.
CALLER_ACTS_S = 0.0002
CALLER_EDGE_BINS = 3


@dataclass(frozen=True, slots=True)
class BusySlots:
    """A steady number of busy workers, below the number of cores."""

    workers: tuple[ProcessFacts, ...]
    """Those that were ever busy within the stretch."""
    spare: tuple[ProcessFacts, ...]
    """Workers that were there and had nothing to do."""
    caller: ProcessFacts
    stretch: Stretch
    at_once: float
    """Workers that were busy at a time, on average."""
    cores: float
    idle_cores: float
    """Cores without a worker: those that workers leave, not what services used."""
    held: float | None
    """Part of the time for which busy workers held their GIL: they run Python code, on one thread each."""

    @property
    def slots(self) -> int:
        """Workers that ran at a time."""
        return max(1, round(self.at_once))


def ray_slots(facts: Facts) -> BusySlots | None:
    """Ray workers that run fewer at a time than there are cores, while the driver waits."""
    workers = [process for process in facts.processes if process.role == "ray-worker"]
    driver = next((p for p in facts.processes if p.role == "ray-driver"), facts.root)
    stretch = busy_stretch(facts, workers)
    if stretch is None or not _waits(driver, stretch):
        return None
    return _slots(facts, driver, workers, stretch)


def pool_slots(facts: Facts) -> BusySlots | None:
    """A pool of processes that is smaller than the number of cores, while its parent waits."""
    for parent in facts.processes:
        workers = [child for child in facts.children(parent) if _in_pool(child)]
        spans = [(w.born_s, facts.wall_s if w.died_s is None else w.died_s) for w in workers]
        stretch = shared(spans, at_least=len(workers)) if workers else None
        if stretch is not None and _waits(parent, stretch):
            found = _slots(facts, parent, workers, stretch)
            if found is not None and _all_busy(found, workers):
                return found
    return None


def _all_busy(found: BusySlots, workers: list[ProcessFacts]) -> bool:
    """Whether each of them works all the time: workers that take turns are not short of slots."""
    least_s = STEADY_SHARE * found.stretch.length_s
    return len(workers) == found.slots and all(worker.run_s >= least_s for worker in workers)


def _in_pool(process: ProcessFacts) -> bool:
    return process.role in {
        "pool-worker-fork", "pool-worker-spawn", "pool-worker-forkserver", "loky-worker",
    }  # fmt: skip


def _slots(
    facts: Facts, caller: ProcessFacts, workers: list[ProcessFacts], stretch: Stretch
) -> BusySlots | None:
    if stretch.length_s < LEAST_STRETCH_S:
        return None
    step_s = facts.report.timeline.step_s
    inside = [index for index, part in bins(facts, stretch) if part > 0.9 * step_s]
    runs = {worker: per_bin(worker) for worker in workers}
    sums = [sum(run.get(index, 0.0) for run in runs.values()) / step_s for index in inside]
    if not sums:
        return None
    at_once = sum(sums) / len(sums)
    cores = capacity_core_s(facts, stretch) / stretch.length_s
    if not _steady(sums, max(1, round(at_once))) or cores - at_once < LEAST_IDLE_CORES:
        return None
    busy = [w for w in workers if sum(runs[w].get(index, 0.0) for index in inside) >= 0.5]
    if not busy or any(not _has_its_core(worker) for worker in busy):
        return None
    spare = tuple(worker for worker in workers if worker not in busy)
    held = _held(facts, busy, inside)
    return BusySlots(tuple(busy), spare, caller, stretch, at_once, cores, cores - at_once, held)


def _steady(sums: list[float], slots: int) -> bool:
    """Whether that many workers were busy nearly always, and never more."""
    full = sum(one >= slots - 0.4 for one in sums) / len(sums)
    more = sum(one > slots + 0.4 for one in sums) / len(sums)
    return full >= STEADY_SHARE and more <= 1 - STEADY_SHARE


def _has_its_core(worker: ProcessFacts) -> bool:
    """One busy thread that gets a core whenever it wants one; a team of threads is more than a slot."""
    threads = sorted(worker.threads, key=lambda thread: -thread.run_s)
    if not threads or threads[0].run_s < 0.8 * worker.run_s:
        return False
    return threads[0].run_s >= LEAST_CORE_SHARE * threads[0].wanted_s


def _held(facts: Facts, workers: list[ProcessFacts], inside: list[int]) -> float | None:
    pids = {worker.pid for worker in workers}
    series = [gil.held_share_by_bin for gil in facts.report.gil if gil.pid in pids]
    sums = [
        sum(shares[i] or 0.0 for shares in series if i < len(shares))
        for i in inside
        if any(i < len(shares) and shares[i] is not None for shares in series)
    ]
    return sum(sums) / len(sums) if sums else None


def per_bin(process: ProcessFacts) -> dict[int, float]:
    """Core time of a process in each bin."""
    used: dict[int, float] = {}
    for thread in process.threads:
        for index, spent in thread.run_s_by_bin.items():
            used[index] = used.get(index, 0.0) + spent
    return used


def busy_stretch(facts: Facts, workers: list[ProcessFacts]) -> Stretch | None:
    """From the first to the last bin in which any of them used most of a core, their start left out."""
    step_s = facts.report.timeline.step_s
    busy = sorted(
        {
            index
            for worker in workers
            for index, spent in per_bin(worker).items()
            if spent >= BUSY_BIN * step_s
        }
    )
    runs = _runs(busy)
    if not runs:
        return None
    first, last = max(runs, key=lambda run: run[1] - run[0])
    return Stretch(first * step_s, min((last + 1) * step_s, facts.wall_s))


def _runs(busy: list[int]) -> list[tuple[int, int]]:
    """Stretches of bins that follow on each other, single gaps allowed."""
    runs: list[tuple[int, int]] = []
    for index in busy:
        if runs and index - runs[-1][1] <= 2:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


def _waits(caller: ProcessFacts, stretch: Stretch) -> bool:
    """Whether the main thread of the caller waits for results most of that time."""
    main = next((thread for thread in caller.threads if thread.tid == caller.pid), None)
    if main is None:
        return False
    waited = sum(main.doing.get(what, 0.0) for what in (LOCK, CHILD, PIPE, POLL))
    return waited >= CALLER_WAITS * stretch.length_s


def results_seen(facts: Facts, caller: ProcessFacts) -> int:
    """How often a thread of the caller was woken by results: about once for each."""
    helpers = [thread for thread in caller.threads if thread.tid != caller.pid]
    readers = [thread for thread in helpers if _reads(thread, facts, PIPE)]
    pollers = [thread for thread in helpers if _reads(thread, facts, POLL)]
    return max((thread.voluntary or 0 for thread in readers or pollers), default=0)


def caller_share(facts: Facts, found: BusySlots) -> float:
    """Part of the bins in which the main thread of the caller did something: it does where it sends each task.

    The beginning and the end are left out, where it sends the first tasks and takes the last results.
    """
    main = next(thread for thread in found.caller.threads if thread.tid == found.caller.pid)
    inside = [index for index, _ in bins(facts, found.stretch)][CALLER_EDGE_BINS:-CALLER_EDGE_BINS]
    acts = sum(main.run_s_by_bin.get(index, 0.0) >= CALLER_ACTS_S for index in inside)
    return acts / len(inside) if inside else 0.0


def _reads(thread: ThreadFacts, facts: Facts, what: str) -> bool:
    return thread.doing.get(what, 0.0) >= 0.5 * alive_s(thread, facts.wall_s)
