"""What a recording costs: to write, to keep, to read and to sum up; and what a crash or bad bytes lose.

Writes the recording of one hour at 10 Hz of 20 processes with 400 threads, of which 10 % move between two
looks: 2.2 million rows. Run it with `python benchmarks/recording.py [--minutes 60]`; nothing is left behind.
"""

from __future__ import annotations

import argparse
import gzip
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from corelens.recording import RecordingWriter, read
from corelens.reports.facts import summarise
from corelens.vocabulary import FORMAT_VERSION, Line, columnar_line

PROCESSES = 20
THREADS_EACH = 20
HOT = 30
ALSO_MOVING = 10
PERIOD_NS = 100_000_000
TICKS_PER_FLUSH = 10
BAD_BYTES = 64
PLACES = 8
LEVELS = (1, 6)

_Value = TypeVar("_Value")


def main() -> None:
    """Print every figure; the unit stands in its name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the recording (default 60)")
    parser.add_argument("--endless", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.endless:
        write(args.endless, 10**9)
        return
    ticks = max(int(args.minutes * 600), TICKS_PER_FLUSH)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.corelens"
        report_writing(path, ticks)
        report_levels(path)
        report_damage(path, ticks)
        report_kill(Path(folder) / "killed.corelens")
        report_reading(path)


def report_writing(path: Path, ticks: int) -> None:
    """Print the cost of a row and the size of an hour; making up the rows is measured and taken off."""
    rows, making_s = cpu_of(lambda: sum(count_rows(lines) for lines in tick_lines(ticks)))
    _, writing_s = cpu_of(lambda: write(path, ticks))
    megabytes = path.stat().st_size / 1e6
    print(f"rows                     {rows:,}")
    print(f"write_us_per_row         {(writing_s - making_s) / rows * 1e6:.2f}")
    print(f"write_share_of_a_core    {(writing_s - making_s) / (ticks * PERIOD_NS / 1e9):.5f}")
    print(f"size_mb_per_hour         {megabytes * 36_000 / ticks:.1f}")


def report_levels(path: Path) -> None:
    """Print what gzip's levels cost and save on the members of this very recording."""
    members = [chunk.encode() for chunk in texts(path)]
    first_s = first_bytes = 0.0
    for level in LEVELS:
        packed, used_s = cpu_of(lambda level=level: sum(len(gzip.compress(m, level)) for m in members))
        first_s, first_bytes = first_s or used_s, first_bytes or packed
        print(
            f"gzip_level_{level}             {used_s:.2f} s CPU, {packed / 1e6:.1f} MB"
            f" ({used_s / first_s:.2f} x the CPU and {packed / first_bytes:.2f} x the size of level 1)"
        )


def report_damage(path: Path, ticks: int) -> None:
    """Print how many ticks are lost to 64 random bytes in each of several places."""
    whole = path.read_bytes()
    places = random.Random(3)
    lost: list[int] = []
    for _ in range(PLACES):
        start = places.randrange(len(whole) // 10, len(whole) - BAD_BYTES)
        spoiled = path.with_name("spoiled.corelens")
        spoiled.write_bytes(whole[:start] + places.randbytes(BAD_BYTES) + whole[start + BAD_BYTES :])
        lost.append(ticks - len(read(spoiled).lines("threads")))
    print(f"ticks_lost_to_64_bad_bytes   {sorted(lost)} of {ticks} ({TICKS_PER_FLUSH} a member)")


def report_kill(path: Path) -> None:
    """Print what is readable after the writer was killed with signal 9 in the middle."""
    writer = subprocess.Popen([sys.executable, __file__, "--endless", str(path)])
    try:
        while not path.exists() or path.stat().st_size < 1 << 20:
            time.sleep(0.01)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    recording = read(path)
    ticks, chunks = len(recording.lines("threads")), len(recording.lines("chunk")) + 1
    print(
        f"after_kill_9             {chunks} members with {ticks} ticks readable, damage: {recording.damage or 'none'}"
    )


def report_reading(path: Path) -> None:
    """Print the CPU and the memory of loading and of summing up."""
    recording, load_s = cpu_of(lambda: read(path))
    loaded_mb = peak_rss_mb()
    report, facts_s = cpu_of(lambda: summarise(recording))
    print(f"load_cpu_s               {load_s:.2f}")
    print(f"facts_cpu_s              {facts_s:.2f}")
    print(f"peak_rss_mb              {loaded_mb:.0f} after loading, {peak_rss_mb():.0f} after the facts")
    print(
        f"seen                     {report.cpu.busy_cores_mean:.2f} busy cores, {report.threads.peak} threads"
    )


def write(path: Path, ticks: int) -> None:
    """Write the recording of so many ticks, one member a second."""
    writer = RecordingWriter(path)
    writer.add(header())
    for number, lines in enumerate(tick_lines(ticks)):
        for line in lines:
            writer.add(line)
        if number % TICKS_PER_FLUSH == TICKS_PER_FLUSH - 1:
            writer.flush(number * PERIOD_NS)
    writer.add(footer(ticks))
    writer.close(ticks * PERIOD_NS)


def tick_lines(ticks: int) -> Iterator[list[Line]]:
    """Yield what the probes would have seen in each round."""
    moves = random.Random(1)
    threads = [[1000 + number, 0, 0, 0] for number in range(PROCESSES * THREADS_EACH)]
    cpu_ns = [0] * PROCESSES
    for tick in range(ticks):
        t_ns = tick * PERIOD_NS
        lines = births(threads) if tick == 0 else []
        moving = [*range(HOT), *moves.sample(range(HOT, len(threads)), ALSO_MOVING)]
        for index in moving:
            thread, ran = threads[index], moves.randrange(1_000_000, 100_000_000)
            thread[1] += ran
            thread[2] += moves.randrange(100_000_000 - ran)
            thread[3] += moves.randrange(1, 40)
            cpu_ns[index % PROCESSES] += ran
        rows = [tuple(threads[index]) for index in moving]
        lines.append(
            columnar_line("processes", t_ns, [(1 + n, ns, THREADS_EACH) for n, ns in enumerate(cpu_ns)])
        )
        lines.append(columnar_line("threads", t_ns, rows))
        yield lines


def births(threads: list[list[int]]) -> list[Line]:
    """The lines that introduce every process and thread."""
    lines: list[Line] = [
        {
            "kind": "process.born", "t_ns": 0, "pid": 1 + number, "ppid": min(number, 1), "start_ticks": 100,
            "comm": "python", "argv": ["python", "train.py"], "exe": "/usr/bin/python",
            "role": "main" if number == 0 else "loky-worker", "joined_by": "child" if number else "root",
            "uid": 1000, "affinity": [0, 1], "variables": {}, "cpu_ns": 0, "again": False,
        }
        for number in range(PROCESSES)
    ]  # fmt: skip
    rows = [(1 + index % PROCESSES, thread[0], 100, "python") for index, thread in enumerate(threads)]
    return [*lines, columnar_line("threads.born", 0, rows)]


def header() -> Line:
    """The first line of the recording."""
    return {
        "kind": "header", "format": FORMAT_VERSION, "corelens": "0", "started_unix_ns": 0,
        "t0_monotonic_ns": 0, "t0_boottime_ns": 1_000_000_000,
        "host": {
            "hostname": "benchmark", "kernel": "6", "machine": "x86_64", "cpu_model": "none",
            "logical_cores": 32, "physical_cores": 32, "numa_nodes": 1, "memory_bytes": 1 << 36,
            "clock_ticks_per_s": 100, "page_bytes": 4096, "python": "3",
        },
        "target": {"how": "started", "pid": 1, "argv": ["python", "train.py"]},
        "periods_ns": {"tree": PERIOD_NS, "threads": PERIOD_NS}, "budget_cores": None, "agent": False,
        "labels": {}, "sees": [],
    }  # fmt: skip


def footer(ticks: int) -> Line:
    """The last line of the recording."""
    return {
        "kind": "footer", "t_ns": ticks * PERIOD_NS, "reason": "target-ended", "exit_code": 0,
        "signal": None, "user_ns": None, "system_ns": None, "max_rss_bytes": None, "ticks": ticks,
        "ticks_missed": 0, "own_cpu_ns": 0, "own_max_rss_bytes": 0,
    }  # fmt: skip


def count_rows(lines: list[Line]) -> int:
    """Number of rows in columnar lines, each of another line counting as one."""
    return sum(
        len(line["tid"]) if "tid" in line else 1 if "role" in line else len(line["pid"]) for line in lines
    )


def texts(path: Path) -> Iterator[str]:
    """The text of the whole recording in pieces of about one member."""
    with gzip.open(path, "rt") as stream:
        while piece := stream.readlines(1 << 15):
            yield "".join(piece)


def cpu_of(work: Callable[[], _Value]) -> tuple[_Value, float]:
    """Do the work and tell the CPU seconds that it took."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def peak_rss_mb() -> float:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
