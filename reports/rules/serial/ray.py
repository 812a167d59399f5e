"""A Ray driver that asks for each result before it sends the next task: one worker is used, and used again.

Ray keeps giving the next task to the worker that has just become free, so that nothing goes from worker to worker.
What tells this from a single task at a time that Ray itself allows is the driver: it is woken for each task.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.crew_time import idle_core_s, mean
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.findings import Evidence, Finding, Gain
from corelens.reports.rules.serial.crews import awaiting, faster, send_all

_RAY_WORKER = "ray-worker"
# Starting a worker costs 0.3 to 0.4 s of CPU; one that used no more had no task.
_STARTED_S = 0.6
_BUSY = 0.75
# Sending a task and taking its result costs a driver about a millisecond; waking up once a second to look for signals
# costs it some tens of microseconds.
_HANDLED_S = 0.0002
_LEAST_HANDLED = 5
_PARTS = 4
_DRIVER_CORES = 0.35


def findings(facts: Facts, slug: str) -> Iterator[Finding]:
    """One finding, where the driver is woken all along and one worker has all the work."""
    members = [process for process in facts.processes if process.role == _RAY_WORKER]
    used = [process for process in members if process.run_s >= _STARTED_S]
    if len(used) != 1 or len(members) < 2 or facts.report.capacity.cores < 2:
        return
    driver = next((thread for thread in facts.root.threads if thread.tid == facts.root.pid), None)
    bins = _at_work(facts, used[0])
    if driver is not None and len(bins) >= _LEAST_HANDLED and _is_handled(driver, bins):
        yield _finding(facts, used[0], driver, bins, slug)


def _at_work(facts: Facts, worker: ProcessFacts) -> range:
    """The longest time for which the worker was busy without a break."""
    step_s = facts.report.timeline.step_s
    total: dict[int, float] = {}
    for thread in worker.threads:
        for index, seconds in thread.run_s_by_bin.items():
            total[index] = total.get(index, 0.0) + seconds
    longest, begin = range(0), None
    for index in range(max(total, default=0) + 2):
        busy = total.get(index, 0.0) >= _BUSY * step_s
        if busy and begin is None:
            begin = index
        if not busy and begin is not None:
            longest = max(longest, range(begin, index), key=len)
            begin = None
    return longest


def _is_handled(driver: ThreadFacts, bins: range) -> bool:
    handled = _handled(driver, bins)
    # All along, and not at its beginning and end alone.
    parts = {(index - bins.start) * _PARTS // len(bins) for index in handled}
    cores = sum(driver.run_s_by_bin.get(index, 0.0) for index in bins)
    return len(handled) >= _LEAST_HANDLED and len(parts) == _PARTS and cores < _DRIVER_CORES * len(bins)


def _handled(driver: ThreadFacts, bins: range) -> list[int]:
    return [index for index in bins if driver.run_s_by_bin.get(index, 0.0) >= _HANDLED_S]


def _finding(facts: Facts, worker: ProcessFacts, driver: ThreadFacts, bins: range, slug: str) -> Finding:
    step_s, room = facts.report.timeline.step_s, facts.report.capacity.cores
    span_s, lost = len(bins) * step_s, idle_core_s(facts, bins)
    waiting = [where for where in awaiting(facts, facts.root) if where]
    cores = mean(driver.run_s_by_bin.get(index, 0.0) for index in bins) / step_s
    gain = faster(facts.wall_s, span_s, 1 / room)
    from_s, until_s = bins.start * step_s, bins.stop * step_s
    return Finding(
        slug=slug,
        variant="result-in-loop",
        cause=f"The Ray driver (process {facts.root.pid}) asks for each result before it sends the next task, so that"
        f" one worker (process {worker.pid}) has one task at a time.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.7,
        evidence=(
            Evidence(
                f"one of the Ray workers (process {worker.pid}) was busy from {from_s:.1f} to {until_s:.1f} s, and no"
                " other had a task",
                span_s, "s", worker.pid, None, from_s, until_s,
            ),
            Evidence(
                f"the driver was woken to handle results in {len(_handled(driver, bins)) / len(bins):.0%} of the looks"
                f" in that time, using {cores:.3f} cores",
                cores, "cores", driver.pid, driver.tid, from_s, until_s,
            ),
            Evidence(f"{lost:.1f} core-s of capacity were idle", lost, "core-s", None, None, from_s, until_s),
            *(Evidence(f"the driver was seen in {where}", None, None, driver.pid) for where in waiting[-1:]),
        ),
        remedy=send_all(True, int(room), facts.root.pid),
        gain=Gain(
            gain,
            f"{span_s:.1f} of {facts.wall_s:.1f} s pass with one task in flight, and {room:.0f} cores could have one"
            " each",
        ),
        excluded=("slot-starvation: with tasks pending, the driver would wait for all of them without being woken",),
        explains=("slot-starvation", "capped-native-threads"),
    )  # fmt: skip
