"""What a verdict costs: CPU seconds from a long recording, and of a whole `corelens report` from a short one.

    python benchmarks/verdict.py [--minutes 10] [--moving 40 100 400] [--short FILE ...]

The long recording is made: 20 Python processes with 400 threads, looked at 10 times a second, with all that the
probes write of them: scheduler counters, what threads wait for, the interpreter locks, the cores. `--moving` says
how many of the threads run between two looks; each number makes a recording of its own. It is read, summed up and
diagnosed in this process. For each file of `--short`, such as those that `benchmarks/healthy.py --keep` leaves,
the command is started afresh; without any, a five-second program is recorded first.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from corelens.recording import RecordingWriter, read
from corelens.reports.diagnosis import diagnosed
from corelens.vocabulary import FORMAT_VERSION, Line, columnar_line, columns

PROCESSES = 20
THREADS = 400
CORES = 32
PERIOD_NS = 100_000_000
TICKS_PER_S = 10
TICKS_PER_REPETITION = 300
Cell = int | str | float | bool | None
DOINGS: tuple[tuple[str, int | None, str | None], ...] = (
    ("running", None, None),
    ("futex", 4096, None),
    ("futex", 8192, None),
    ("read", None, "pipe"),
)
FIVE_SECONDS = """
import threading, time
def work(until):
    while time.monotonic() < until:
        sum(range(10_000))
until = time.monotonic() + 5
workers = [threading.Thread(target=work, args=(until,)) for _ in range(2)]
for worker in workers: worker.start()
for worker in workers: worker.join()
"""


def main() -> None:
    """Print every figure; the unit stands in its name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long one (default 10)")
    parser.add_argument("--moving", type=int, nargs="+", default=[40, 100, THREADS], help="threads that run")
    parser.add_argument("--short", type=Path, nargs="+", metavar="FILE", help="recordings to report on")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for moving in args.moving:
            report_long(
                Path(folder) / f"{moving}.corelens", max(int(args.minutes * 600), TICKS_PER_S), moving
            )
        for path in args.short or [five_seconds(Path(folder))]:
            report_short(path)


def report_long(path: Path, ticks: int, moving: int) -> None:
    """Print what a verdict from a long recording takes."""
    write(path, ticks, moving)
    began = time.process_time()
    recording = read(path)
    loaded = time.process_time()
    report = diagnosed(recording)
    ended = time.process_time()
    assert report.diagnosis is not None
    print(
        f"{moving:4} of {report.threads.peak} threads moving, {report.wall_s:.0f} s,"
        f" {path.stat().st_size / 1e6:.1f} MB: verdict_cpu_s {ended - began:.2f}"
        f" (reading {loaded - began:.2f}, facts and rules {ended - loaded:.2f}), {report.diagnosis.verdict}",
        flush=True,
    )


def report_short(path: Path) -> None:
    """Print what `corelens report` takes from its start to its end, the interpreter's own start included."""
    for form in ("terminal", "json"):
        before = children_cpu_s()
        command = [sys.executable, "-m", "corelens", "report", str(path), "--format", form]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(f"{path.name}: report_{form}_cpu_s {children_cpu_s() - before:.2f}", flush=True)


def five_seconds(folder: Path) -> Path:
    """Record a program of five seconds."""
    program, path = folder / "program.py", folder / "five-seconds.corelens"
    program.write_text(FIVE_SECONDS)
    record = [
        sys.executable,
        "-m",
        "corelens",
        "record",
        "-q",
        "-o",
        str(path),
        "--",
        sys.executable,
        str(program),
    ]
    subprocess.run(record, check=True)
    return path


def children_cpu_s() -> float:
    """CPU of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write(path: Path, ticks: int, moving: int) -> None:
    """Write the recording of so many rounds, one member a second."""
    writer = RecordingWriter(path)
    writer.add(header())
    for tick, lines in enumerate(rounds(ticks, moving)):
        for line in lines:
            writer.add(line)
        if tick % TICKS_PER_S == TICKS_PER_S - 1:
            writer.flush(tick * PERIOD_NS)
    writer.add(footer(ticks))
    writer.close(ticks * PERIOD_NS)


def rounds(ticks: int, moving: int) -> Iterator[list[Line]]:
    """Yield what the probes would have written in each round."""
    moves = random.Random(1)
    counters = [[tid_of(number), 0, 0, 0] for number in range(THREADS)]
    cpu_ns = [0] * PROCESSES
    for tick in range(ticks):
        chosen = range(THREADS) if moving >= THREADS else sorted(moves.sample(range(THREADS), moving))
        lines = births(tick * PERIOD_NS) if tick % TICKS_PER_REPETITION == 0 else []
        run_ns = min(PERIOD_NS, CORES * PERIOD_NS // moving)
        for number in chosen:
            ran = moves.randrange(run_ns)
            counters[number][1] += ran
            counters[number][2] += moves.randrange(PERIOD_NS - ran)
            counters[number][3] += moves.randrange(1, 40)
            cpu_ns[number % PROCESSES] += ran
        yield lines + readings(tick, [tuple(counters[number]) for number in chosen], cpu_ns, moves)


def readings(tick: int, rows: list[tuple[int, ...]], cpu_ns: list[int], moves: random.Random) -> list[Line]:
    """What one round reads; the slower probes take part once a second."""
    t_ns = tick * PERIOD_NS
    pids = range(1, PROCESSES + 1)
    doing = [(pid_of(tid), tid, *moves.choice(DOINGS)) for tid, *_ in moves.sample(rows, len(rows) // 2)]
    lines = [
        filled("processes", t_ns, [(pid, cpu_ns[pid - 1], THREADS // PROCESSES) for pid in pids]),
        filled("threads", t_ns, rows),
        filled("waits", t_ns, doing),
        filled("gil", t_ns, [(pid, tick * 60, tick * 40, tick * 9, True, None) for pid in pids]),
    ]
    if tick % TICKS_PER_S == 0:
        cores = [(core, tick * 8, 0, tick, tick, 0, 0, 0) for core in range(CORES)]
        slow = [(tid, slices, slices) for tid, _, _, slices in rows]
        lines += [filled("cores", t_ns, cores), filled("threads.detail", t_ns, slow)]
    return lines


def filled(kind: str, t_ns: int, rows: Iterable[tuple[Cell, ...]]) -> Line:
    """A columnar line whose last fields, where rows do not give them, are null."""
    width = len(columns(kind))
    return columnar_line(kind, t_ns, [(*row, *[None] * (width - len(row))) for row in rows])


def births(t_ns: int) -> list[Line]:
    """The lines that introduce every process and thread, at the begin and repeated every 30 s."""
    lines: list[Line] = [
        {
            "kind": "process.born", "t_ns": t_ns, "pid": pid, "ppid": 0 if pid == 1 else 1, "start_ticks": 100,
            "comm": "python", "argv": ["python", "train.py"], "exe": "/usr/bin/python",
            "role": "main" if pid == 1 else "loky-worker", "joined_by": "root" if pid == 1 else "child",
            "uid": 1000, "affinity": list(range(CORES)), "variables": {}, "cpu_ns": 0, "again": t_ns > 0,
        }
        for pid in range(1, PROCESSES + 1)
    ]  # fmt: skip
    tids = [tid_of(number) for number in range(THREADS)]
    found = [(pid, "3.11", "yes", "offsets", 4096, 4200, 5000, None) for pid in range(1, PROCESSES + 1)]
    return [
        *lines,
        filled("threads.born", t_ns, [(pid_of(tid), tid, 100, "python") for tid in tids]),
        filled("gil.found", t_ns, found),
    ]


def tid_of(number: int) -> int:
    """Id of a thread; the first of each process has the process's own."""
    return number + 1 if number < PROCESSES else 1000 + number


def pid_of(tid: int) -> int:
    """Process of a thread."""
    return tid if tid <= PROCESSES else 1 + tid % PROCESSES


def header() -> Line:
    """The first line of the recording."""
    return {
        "kind": "header", "format": FORMAT_VERSION, "corelens": "0", "started_unix_ns": 0,
        "t0_monotonic_ns": 0, "t0_boottime_ns": 1_000_000_000,
        "host": {
            "hostname": "benchmark", "kernel": "6", "machine": "x86_64", "cpu_model": "none",
            "logical_cores": CORES, "physical_cores": CORES, "numa_nodes": 1, "memory_bytes": 1 << 36,
            "clock_ticks_per_s": 100, "page_bytes": 4096, "python": "3",
        },
        "target": {"how": "started", "pid": 1, "argv": ["python", "train.py"]},
        "periods_ns": dict.fromkeys(("tree", "threads", "waits", "gil"), PERIOD_NS),
        "budget_cores": None, "agent": False, "labels": {}, "sees": [],
    }  # fmt: skip


def footer(ticks: int) -> Line:
    """The last line of the recording."""
    return {
        "kind": "footer", "t_ns": ticks * PERIOD_NS, "reason": "target-ended", "exit_code": 0,
        "signal": None, "user_ns": None, "system_ns": None, "max_rss_bytes": None, "ticks": ticks,
        "ticks_missed": 0, "own_cpu_ns": 0, "own_max_rss_bytes": 0,
    }  # fmt: skip


if __name__ == "__main__":
    main()
