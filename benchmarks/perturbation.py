"""What watching costs the watched: a torch program's throughput alone, under corelens, and under py-spy.

    python benchmarks/perturbation.py [--threads 128 320] [--repeats 9] [--seconds 4] [--json]

The target computes small batches in one Python thread, as a search over tiny networks does; N threads of
native pools, used once, sit idle beside it. It is started without any observer, and
each observer attaches to it as a user would: `corelens record -p PID` at 10 Hz with every probe that is on by
default, and `py-spy record -p PID` with its own defaults. In each repeat the three states take turns in
random order; an observer is waited for until it has begun. Printed are the work done per second of wall time
and the CPU per piece of work, relative to the state without an observer in the same repeat: median, minimum
and maximum over the repeats. The observers' own CPU is given in % of a core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from corelens.probes import pidfd

TARGET = """
import mmap, struct, sys, torch
native, path = int(sys.argv[1]), sys.argv[2]
# Half of them make an OpenMP team, half the pool that set_num_threads builds.
torch.set_num_threads(native // 2 + 1)
torch.randn(512, 512) @ torch.randn(512, 512)
torch.randn(4_000_000).add_(1)
file = open(path, "r+b")
board = mmap.mmap(file.fileno(), 8)
layer, state, done = torch.randn(4, 16), torch.randn(4), 0
print("ready", flush=True)
while True:
    for _ in range(20):
        torch.tanh(state @ layer)
    sum(range(500))
    done += 1
    struct.pack_into("<Q", board, 0, done)
"""
ALONE, CORELENS, PY_SPY = "alone", "corelens", "py-spy"
STATES = (ALONE, CORELENS, PY_SPY)
POLL_S = 0.002
LONGEST_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """A running target; `board` holds the pieces of work that it has done."""

    pid: int
    board: mmap.mmap

    def progress(self) -> tuple[int, int, int]:
        """Pieces done, wall ns, CPU ns of the target."""
        done: int = struct.unpack_from("<Q", self.board, 0)[0]
        return done, time.monotonic_ns(), time.clock_gettime_ns(pidfd.cpu_clock(self.pid))


@dataclass(frozen=True, slots=True)
class Pace:
    """What a target did in one stretch, and what its observer used meanwhile."""

    per_wall_s: float
    cpu_us_each: float
    observer_cores: float


@dataclass(frozen=True, slots=True)
class Effect:
    """One observer against none: medians, minima and maxima over the repeats."""

    observer: str
    threads: int
    """All threads of the target."""
    repeats: int
    throughput_ratio: tuple[float, float, float]
    cpu_each_ratio: tuple[float, float, float]
    observer_percent_of_core: tuple[float, float, float]


@contextlib.contextmanager
def target(folder: Path, threads: int) -> Generator[Target]:
    """Start a target and wait until its team is there."""
    path = folder / f"board-{threads}"
    path.write_bytes(bytes(8))
    argv = [sys.executable, "-c", TARGET, str(threads), str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process, path.open("r+b") as file:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("the target did not start; it needs torch: pip install 'corelens[lab]'")
        try:
            yield Target(process.pid, mmap.mmap(file.fileno(), 8))
        finally:
            process.kill()


@contextlib.contextmanager
def observed(state: str, seen: Target, folder: Path) -> Generator[subprocess.Popen[bytes] | None]:
    """Have the target observed while the block runs."""
    if state == ALONE:
        yield None
        return
    output = folder / f"{state}.out"
    output.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(_command(state, seen.pid, output), stdout=words, stderr=words)
        try:
            _wait_until_begun(state, process, output, words)
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _command(state: str, pid: int, output: Path) -> list[str]:
    if state == CORELENS:
        record = [sys.executable, "-m", "corelens", "record", "--quiet", "--force"]
        return [*record, "-o", str(output), "-p", str(pid)]
    return [_py_spy(), "record", "--format", "raw", "-o", str(output), "-p", str(pid)]


def _py_spy() -> str:
    found = Path(sys.executable).with_name("py-spy")
    return str(found) if found.exists() else shutil.which("py-spy") or "py-spy"


def _wait_until_begun(state: str, process: subprocess.Popen[bytes], output: Path, words: IO[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_START_S
    while not _has_begun(state, output, words):
        if process.poll() is not None or time.monotonic() > deadline:
            words.seek(0)
            raise SystemExit(f"{state} did not begin: {words.read().decode(errors='replace')}")
        time.sleep(POLL_S)


def _has_begun(state: str, output: Path, words: IO[bytes]) -> bool:
    if state == CORELENS:
        return output.exists() and output.stat().st_size > 0
    return b"Sampling process" in os.pread(words.fileno(), 1 << 16, 0)


def pace(state: str, seen: Target, folder: Path, seconds: float) -> Pace:
    """Let the target work for a while in one state."""
    with observed(state, seen, folder) as observer:
        own_before = _cpu_ns(observer)
        done, wall_ns, cpu_ns = seen.progress()
        time.sleep(seconds)
        done_after, wall_after, cpu_after = seen.progress()
        own_ns = _cpu_ns(observer) - own_before
    pieces, wall = done_after - done, wall_after - wall_ns
    return Pace(pieces / wall * 1e9, (cpu_after - cpu_ns) / pieces / 1000, own_ns / wall)


def _cpu_ns(process: subprocess.Popen[bytes] | None) -> int:
    """CPU of an observer and of the children that it has waited for."""
    if process is None:
        return 0
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    reaped_ns = (int(fields[13]) + int(fields[14])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.clock_gettime_ns(pidfd.cpu_clock(process.pid)) + reaped_ns


def measure(folder: Path, threads: int, repeats: int, seconds: float) -> list[Effect]:
    """Watch one target in every state, in random order, again and again."""
    order = random.Random(threads)
    found: list[dict[str, Pace]] = []
    with target(folder, threads) as seen:
        for _ in range(repeats):
            states = order.sample(STATES, len(STATES))
            found.append({state: pace(state, seen, folder, seconds) for state in states})
        team = len(os.listdir(f"/proc/{seen.pid}/task"))  # noqa: PTH208
    return [_effect(state, team, found) for state in (CORELENS, PY_SPY)]


def _effect(state: str, threads: int, found: Sequence[dict[str, Pace]]) -> Effect:
    return Effect(
        observer=state,
        threads=threads,
        repeats=len(found),
        throughput_ratio=_spread([one[state].per_wall_s / one[ALONE].per_wall_s for one in found]),
        cpu_each_ratio=_spread([one[state].cpu_us_each / one[ALONE].cpu_us_each for one in found]),
        observer_percent_of_core=_spread([100 * one[state].observer_cores for one in found]),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _shown(values: tuple[float, float, float], digits: int = 3) -> str:
    median, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{median} ({low}-{high})"


def show(effects: Sequence[Effect]) -> None:
    """Print one line per observer."""
    print(
        f"{'observer':<10} {'threads':>7} {'work/s vs alone':>24} {'CPU/work vs alone':>24} {'own CPU, %':>20}"
    )
    for one in effects:
        print(
            f"{one.observer:<10} {one.threads:>7} {_shown(one.throughput_ratio):>24}"
            f" {_shown(one.cpu_each_ratio):>24} {_shown(one.observer_percent_of_core, 2):>20}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[128, 320], help="native threads")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each stretch")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    effects: list[Effect] = []
    with tempfile.TemporaryDirectory() as name:
        for threads in args.threads:
            effects += measure(Path(name), threads, args.repeats, args.seconds)
    if args.json:
        print(json.dumps([asdict(effect) for effect in effects], indent=1))
    else:
        show(effects)


if __name__ == "__main__":
    main()
