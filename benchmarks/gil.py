"""How true the share is that an interpreter lock is found held, against a program that knows it.

    python benchmarks/gil.py [--seconds 10] [--repeats 1] [--json]

A thread holds the lock for a part of a cycle and frees it for the rest, spinning in C so that short cycles keep
their length, and measures both on its own clock; a second thread makes the lock change hands now and then. Printed
are, per length of cycle and share, what the program measured, what the recorder saw over the same stretch in that
many looks, and what recording cost. The hand-offs of two threads that take turns are counted as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from corelens.recording import Recording, read

CYCLES_US = (20, 1_000, 20_000)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.95)
RECORD = (sys.executable, "-m", "corelens", "record", "--quiet", "--force", "--budget", "0")

SPIN_C = r"""
#include <time.h>
void spin(long ns) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    do clock_gettime(CLOCK_MONOTONIC, &b);
    while ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec < ns);
}
"""
DUTY = """
import ctypes, sys, threading, time
# Otherwise the second thread makes the first let go in the midst of what it takes for holding.
sys.setswitchinterval(1000)
library, hold_ns, free_ns, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
hold, free = ctypes.PyDLL(library).spin, ctypes.CDLL(library).spin
hold.argtypes = free.argtypes = [ctypes.c_long]
ended = threading.Event()
def second():
    while not ended.wait(0.02): pass
threading.Thread(target=second).start()
clock, freed = time.monotonic_ns, 0
begun = last = clock()
while last - begun < seconds * 1e9:
    hold(hold_ns)
    at = clock()
    free(free_ns)
    last = clock()
    freed += last - at
ended.set()
print(begun, last, 1 - freed / (last - begun))
"""
TURNS = """
import sys, threading
sys.setswitchinterval(1000)
first, second = threading.Lock(), threading.Lock()
first.acquire(); second.acquire()
def ping():
    for _ in range(int(sys.argv[1])): first.acquire(); second.release()
def pong():
    for _ in range(int(sys.argv[1])): second.acquire(); first.release()
threads = [threading.Thread(target=one) for one in (ping, pong)]
for thread in threads: thread.start()
import time; time.sleep(0.5)
first.release()
for thread in threads: thread.join()
time.sleep(0.3)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what was true, what was seen, and from how many looks."""

    cycle_us: int
    held: float
    seen: float
    looks: int
    probe_cores: float
    """CPU of the probe, waking up for its looks included."""


def recorded(folder: Path, *command: str) -> tuple[str, Recording]:
    """Record a program; returns what it printed, and the recording."""
    path = folder / "gil.corelens"
    done = subprocess.run(
        [*RECORD, "-o", str(path), "--", sys.executable, "-c", *command],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout, read(path)


def measure(folder: Path, library: Path, cycle_us: int, share: float, seconds: float) -> Measured:
    """Run one duty cycle."""
    hold_ns = round(cycle_us * 1000 * share)
    arguments = (str(library), str(hold_ns), str(cycle_us * 1000 - hold_ns), str(seconds))
    said, recording = recorded(folder, DUTY, *arguments)
    begun_ns, ended_ns, held = said.split()
    t0_ns = recording.header["t0_monotonic_ns"]
    inside = [
        line for line in recording.lines("gil") if int(begun_ns) <= t0_ns + line["t_ns"] <= int(ended_ns)
    ]
    looks = inside[-1]["looks"][0] - inside[0]["looks"][0]
    last = recording.lines("self")[-1]
    return Measured(
        cycle_us=cycle_us,
        held=float(held),
        seen=(inside[-1]["held"][0] - inside[0]["held"][0]) / looks,
        looks=looks,
        probe_cores=last["cpu_by_probe_ns"]["gil"] / last["t_ns"],
    )


def handoffs(folder: Path, turns: int) -> int:
    """Hand-offs counted while two threads took so many turns each; twice as many are true."""
    _, recording = recorded(folder, TURNS, str(turns))
    lines = recording.lines("gil")
    return int(lines[-1]["switches"][0] - lines[0]["switches"][0])


def every(folder: Path, library: Path, seconds: float, repeats: int) -> Iterator[Measured]:
    """Each length and share in turn, again and again."""
    for _ in range(repeats):
        for cycle_us in CYCLES_US:
            for share in SHARES:
                yield measure(folder, library, cycle_us, share, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = folder / "spin.so"
        (folder / "spin.c").write_text(SPIN_C)
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(folder / "spin.c")]
        subprocess.run(command, check=True)
        found = list(every(folder, library, args.seconds, args.repeats))
        counted = handoffs(folder, 20_000)
    if args.json:
        print(json.dumps({"runs": [asdict(one) for one in found], "handoffs_of_40000": counted}, indent=1))
        return
    print("cycle us   held   seen   error  looks  probe % of a core")
    for one in found:
        print(
            f"{one.cycle_us:8} {one.held:6.3f} {one.seen:6.3f} {one.seen - one.held:+7.3f} {one.looks:6}"
            f" {100 * one.probe_cores:18.2f}"
        )
    print(f"largest error {max(abs(one.seen - one.held) for one in found):.3f}")
    print(f"hand-offs counted of 40,000 made: {counted:,}")


if __name__ == "__main__":
    main()
