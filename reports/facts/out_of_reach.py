"""Cores that the program could not reach: other programs used them, or its threads may not run there."""

from __future__ import annotations

from corelens.reports.facts import binned
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.taken import Taken

_NS_PER_S = 1_000_000_000
# /proc/stat counts in steps of 10 ms and is read twice a second, so other programs are smoothed over so long.
_SMOOTH_S = 1.0


def others(facts: Facts, taken: Taken, ran: list[float]) -> list[float]:
    """What other programs and the hypervisor left less than the capacity."""
    if not taken.read:
        return [0.0] * len(ran)
    reach = round(_SMOOTH_S / facts.report.timeline.step_s / 2)
    busy = binned.smoothed([time_ns / _NS_PER_S for time_ns in taken.busy], reach)
    own = binned.smoothed(ran, reach)
    theirs = [max(0.0, everybody - ours) for everybody, ours in zip(busy, own, strict=True)]
    theirs = binned.smoothed(theirs, reach)
    stolen = [time_ns / _NS_PER_S for time_ns in taken.stolen]
    online = facts.report.capacity.online_cores
    allowed = facts.report.timeline.capacity_cores
    return [
        max(0.0, other + steal - (online - cores) * width)
        for other, steal, cores, width in zip(theirs, stolen, allowed, binned.widths(facts), strict=True)
    ]


def kept_off(facts: Facts) -> list[float]:
    """Run-queue wait of processes that may run on fewer cores than the program."""
    allowed = facts.report.capacity.cores
    return binned.gathered(
        facts,
        (
            thread.queue_s_by_bin
            for process in facts.processes
            if process.affinity is not None and len(process.affinity) < allowed
            for thread in process.threads
        ),
    )
