"""What the in-process agent costs a program: CPU added to small programs, and what one report takes.

    python benchmarks/agent.py [--repeats 25] [--json]

Each program runs with and without the agent by turns, so that a noisy neighbour hits both alike. Printed are
milliseconds of CPU by wait4: median, minimum and maximum without and with it, and the median of the pairwise
differences. Bytecode is cached, as Python does unless told otherwise. A program whose library is not
installed is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec

from corelens.probes.spool import Spool

FORKS = 50
PROGRAMS = {
    "pass": (None, "pass"),
    "import numpy": ("numpy", "import numpy"),
    "import torch": ("torch", "import torch"),
    f"{FORKS} forks": (
        None,
        f"import os\nfor _ in range({FORKS}):\n if os.fork() == 0: os._exit(0)\n os.wait()",
    ),
    f"numpy, {FORKS} forks": (
        "numpy",
        f"import os, numpy\nfor _ in range({FORKS}):\n if os.fork() == 0: os._exit(0)\n os.wait()",
    ),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of one program, in milliseconds, children included."""

    program: str
    repeats: int
    without_ms: tuple[float, float, float]
    """Median, minimum, maximum."""
    with_ms: tuple[float, float, float]
    added_ms: float
    """Median of the differences between neighbouring runs."""


def main() -> int:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=25)
    arguments.add_argument("--json", action="store_true")
    chosen = arguments.parse_args()
    there = {name: code for name, (module, code) in PROGRAMS.items() if module is None or find_spec(module)}
    costs = [measured(name, code, chosen.repeats) for name, code in there.items()]
    if chosen.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))
    else:
        print_table(costs)
        print(*(f"left out: {name}" for name in PROGRAMS if name not in there), sep="\n", end="")
    return 0


def measured(name: str, code: str, repeats: int) -> Cost:
    """Run one program by turns with and without the agent; the first pair only warms the caches."""
    spool = Spool.create(agent=True)
    try:
        base = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        watched = spool.environment(base)
        pairs = [(cpu_ms(code, base), cpu_ms(code, watched)) for _ in range(repeats + 1)][1:]
    finally:
        spool.close()
    without, beside = zip(*pairs, strict=True)
    added = statistics.median(two - one for one, two in pairs)
    return Cost(name, repeats, spread(without), spread(beside), added)


def cpu_ms(code: str, environment: Mapping[str, str]) -> float:
    """CPU of a Python program and the children it waited for, in milliseconds."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=dict(environment))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the program ended with {process.returncode}: {code}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def spread(values: tuple[float, ...]) -> tuple[float, float, float]:
    """Median, minimum, maximum."""
    return statistics.median(values), min(values), max(values)


def print_table(costs: list[Cost]) -> None:
    """Print one line per program."""
    print(f"{'CPU in ms':<18} {'without':>24} {'with the agent':>24} {'added':>8}")
    for cost in costs:
        one, two = (f"{m:.1f} ({low:.1f} to {high:.1f})" for m, low, high in (cost.without_ms, cost.with_ms))
        print(f"{cost.program:<18} {one:>24} {two:>24} {cost.added_ms:>8.2f}")


if __name__ == "__main__":
    sys.exit(main())
