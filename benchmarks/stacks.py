"""What Python stacks cost: py-spy per look, and the recorded program.

    python benchmarks/stacks.py [--looks 7] [--repeats 5] [--work 4] [--json]

First the CPU of one run of py-spy, by rusage, on programs of so many Python and native threads, three of which
compute: a dump, and what one more sample of a run of samples costs, stopping nothing and stopping every thread.
Then the slowdown of a program: it does a fixed amount of work, and is recorded without stacks, with stacks at
the default rate, and with --blocking-stacks, the ways taking turns. Printed are its own CPU time and its wall
time in proportion to those unrecorded, median (minimum-maximum) over the repeats, and what stacks cost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from corelens.probes import pyspy
from corelens.probes.pyspy import How, Job
from corelens.recording import read

SHAPES = ((4, 0), (40, 0), (400, 0), (4, 396))
SECONDS = 2
# A sample of the holder alone costs so little that it takes many of them to see it.
RATES_HZ: dict[How, int] = {"active": 10, "gil": 100}
RECORD = (sys.executable, "-m", "corelens", "record", "--quiet", "--force")
WAYS: dict[str, tuple[str, ...] | None] = {
    "unrecorded": None,
    "no stacks": ("--no-stacks",),
    "stacks, default": (),
    "stacks, blocking": ("--blocking-stacks",),
}

THREADS = """
import ctypes, sys, threading
python, native = int(sys.argv[1]), int(sys.argv[2])
threading.stack_size(1 << 18)
done = threading.Event()
def compute(rounds):
    for _ in range(rounds):
        sum(range(1000))
def start(rounds):
    workers = [threading.Thread(target=compute, args=[rounds], daemon=True) for _ in range(3)]
    for number in range(python - 4):
        threading.Thread(target=done.wait, daemon=True).start()
    libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
    attributes = ctypes.create_string_buffer(64)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(1 << 16))
    for _ in range(native):
        libc.pthread_create(ctypes.byref(thread), attributes, ctypes.cast(libc.pause, ctypes.c_void_p), None)
    for worker in workers:
        worker.start()
    return workers
"""
FOREVER = THREADS + "start(1 << 40); print('ready', flush=True); sys.stdin.read()"
WORK = (
    THREADS
    + """
import os, time
begun = time.monotonic()
for worker in start(int(sys.argv[3])):
    worker.join()
print(time.process_time(), time.monotonic() - begun, flush=True)
os._exit(0)
"""
)


@contextlib.contextmanager
def running(python: int, native: int) -> Generator[int]:
    """Run a program of so many threads until the block is left; gives its pid."""
    command = [sys.executable, "-c", FOREVER, str(python), str(native)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"the target could not start {python + native} threads")
            yield process.pid
        finally:
            process.kill()


def cpu_ms(job: Job) -> float | None:
    """CPU of one run of py-spy; None when it failed, as it does where a stack is torn."""
    executable = pyspy.find()
    if executable is None:
        raise SystemExit("py-spy is not installed")
    ended = pyspy.starter(executable)(job.arguments()).poll(60)
    return ended.cpu_ns / 1e6 if ended is not None and ended.ok else None


def costs(pid: int, looks: int, *, blocking: bool) -> dict[str, list[float]]:
    """CPU of dumps, and of each sample beyond the start, in ms."""
    found: dict[str, list[float]] = {"dump": [], "active sample": [], "gil sample": []}
    for _ in range(looks):
        dump = cpu_ms(Job(pid, "dump", blocking=blocking))
        found["dump"] += [] if dump is None else [dump]
    for how, rate_hz in RATES_HZ.items():
        for _ in range(max(1, looks // 2)):
            few, many = (sampling_ms(pid, how, seconds, blocking=blocking) for seconds in (1, 1 + SECONDS))
            if few is not None and many is not None:
                found[f"{how} sample"].append((many - few) / (SECONDS * rate_hz))
    return found


def sampling_ms(pid: int, how: How, seconds: int, *, blocking: bool) -> float | None:
    """CPU of a run of samples."""
    return cpu_ms(Job(pid, how, RATES_HZ[how], seconds, blocking))


def spread(values: list[float], digits: int = 2) -> str:
    """Median (minimum-maximum), and how many there are."""
    if not values:
        return "none succeeded"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f}, n={len(values)})"


def worked(folder: Path, way: str, shape: tuple[int, int], rounds: int) -> tuple[float, float, float | None]:
    """CPU and wall time of the fixed work, and cores that stacks cost."""
    flags = WAYS[way]
    path = folder / "r.corelens"
    record = [] if flags is None else [*RECORD, *flags, "-o", str(path), "--"]
    program = [sys.executable, "-c", WORK, *map(str, shape), str(rounds)]
    done = subprocess.run([*record, *program], check=True, stdout=subprocess.PIPE, text=True)
    cpu_s, wall_s = map(float, done.stdout.split())
    if flags is None:
        return cpu_s, wall_s, None
    last = read(path).lines("self")[-1]
    return cpu_s, wall_s, last["cpu_by_probe_ns"].get("stacks", 0) / last["t_ns"]


def slowdown(
    folder: Path, shape: tuple[int, int], repeats: int, work_s: float
) -> dict[str, dict[str, list[float]]]:
    """CPU and wall time of each way over those unrecorded in the same repeat, and the cost of stacks."""
    cpu_s, _, _ = worked(folder, "unrecorded", shape, 2000)
    rounds = round(2000 * work_s / cpu_s)
    found: dict[str, dict[str, list[float]]] = {
        way: {"cpu": [], "wall": [], "stacks_percent": []} for way in WAYS
    }
    for number in range(repeats):
        order = list(WAYS) if number % 2 == 0 else list(WAYS)[::-1]
        taken = {way: worked(folder, way, shape, rounds) for way in order}
        plain = taken["unrecorded"]
        for way, (cpu, wall, cores) in taken.items():
            found[way]["cpu"].append(cpu / plain[0])
            found[way]["wall"].append(wall / plain[1])
            found[way]["stacks_percent"] += [] if cores is None else [100 * cores]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--looks", type=int, default=7, help="dumps of each program and kind")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=float, default=8.0, help="CPU seconds of the fixed work")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results: dict[str, object] = {}
    for python, native in SHAPES:
        for blocking in (False, True):
            with running(python, native) as pid:
                found = costs(pid, args.looks, blocking=blocking)
            stopping = "stopping every thread" if blocking else "stopping nothing"
            name = f"{python} Python + {native} native threads, {stopping}"
            results[f"ms: {name}"] = found
            if not args.json:
                told = ", ".join(f"{key} {spread(values)}" for key, values in found.items())
                print(f"{name}: ms of CPU: {told}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for shape in ((4, 0), (4, 396)):
            ways = slowdown(Path(name), shape, args.repeats, args.work)
            results[f"slowdown: {shape[0]} Python + {shape[1]} native threads"] = ways
            for way, found in ways.items():
                if not args.json:
                    told = ", ".join(f"{key} {spread(values, 3)}" for key, values in found.items() if values)
                    print(f"{shape[0]} Python + {shape[1]} native threads, {way}: {told}", flush=True)
    if args.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
