"""What one look of each slow probe costs on this machine: microseconds of CPU, and % of a core at its rate.

    python benchmarks/looks.py [--looks 300] [--repeats 7]

The probes look at this process and take turns. Printed are median, minimum and maximum over the repeats.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

from corelens.probes.host import HostProbe
from corelens.probes.limits import LimitsProbe
from corelens.probes.marks import MarksProbe
from corelens.probes.memory import MemoryProbe
from corelens.probes.packages import PackagesProbe
from corelens.probes.pools import PoolsProbe
from corelens.probes.probe import Moment, Probe, Process
from corelens.probes.spool import Spool


def main() -> int:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--looks", type=int, default=300)
    arguments.add_argument("--repeats", type=int, default=7)
    chosen = arguments.parse_args()
    spool = Spool.create(agent=False)
    own = os.getpid()
    probes: list[Probe] = [
        HostProbe(),
        LimitsProbe(own),
        MemoryProbe(),
        PackagesProbe(),
        MarksProbe(spool, 0),
        PoolsProbe(spool, 0),
    ]
    try:
        costs = [
            [look_us(probe, turn * chosen.looks, chosen.looks) for probe in probes]
            for turn in range(chosen.repeats)
        ]
    finally:
        for probe in probes:
            probe.close()
        spool.close()
    for probe, values in zip(probes, zip(*costs, strict=True), strict=True):
        print_line(probe, values)
    return 0


def look_us(probe: Probe, first: int, looks: int) -> float:
    """CPU per look, in microseconds, as the recorder calls it; the clock goes on from turn to turn."""
    processes = {os.getpid(): Process(os.getpid(), os.getppid(), 1, "main")}
    began_ns = time.thread_time_ns()
    for number in range(first, first + looks):
        for _ in probe.look(Moment(number * probe.period_ns, processes, frozenset(processes))):
            pass
    return (time.thread_time_ns() - began_ns) / looks / 1e3


def print_line(probe: Probe, values: tuple[float, ...]) -> None:
    """Print the cost of one probe."""
    median = statistics.median(values)
    share = median * 1e3 / probe.period_ns * 100
    print(
        f"{probe.name:<10} {median:>8.1f} us per look ({min(values):.1f} to {max(values):.1f}),"
        f" {share:.4f} % of a core at {1e9 / probe.period_ns:g} Hz"
    )


if __name__ == "__main__":
    sys.exit(main())
