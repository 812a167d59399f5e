"""What a thread-sample costs: ours, psutil's, and a C loop over the same files, side by side in one run.

    python benchmarks/sampling.py [--threads 4 400 2600] [--repeats 5] [--seconds 40] [--json]

The target has N threads, of which a tenth (at least one) wakes every 20 ms. Each method reads all of them,
the methods taking turns so that a noisy neighbour hits all alike: first as fast as it can, then 20 times a
second, when caches are as cold as in use. Printed are microseconds of CPU per thread and look: median,
minimum and maximum over the repeats. Then the whole recorder runs at 10 Hz on 400 threads, of a C program and of a
Python program whose threads hand the interpreter lock on 2,000 times a second, and its own CPU after the first two
seconds is given in % of a core, by probe.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import psutil

from corelens.probes import procfs
from corelens.probes.births import Births
from corelens.probes.probe import Moment, Process
from corelens.probes.threads import ThreadsProbe
from corelens.recording import read

PACED_S = 0.05
PACED_LOOKS = 8
# As fast as it can, so many thread readings per repeat.
FAST_READINGS = 20_000
RECORD = (sys.executable, "-m", "corelens", "record", "--quiet", "--force")
FAR_AWAY_NS = 1 << 62

TARGET_C = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static void *idle(void *a) { for (;;) pause(); }
static void *busy(void *a) {
    struct timespec nap = {0, 20000000};
    volatile unsigned x = 0;
    for (;;) { for (int i = 0; i < 2000; i++) x += i; nanosleep(&nap, 0); }
}
int main(int argc, char **argv) {
    int threads = atoi(argv[1]), moving = atoi(argv[2]);
    pthread_attr_t small; pthread_attr_init(&small); pthread_attr_setstacksize(&small, 65536);
    for (int i = 1; i < threads; i++) {
        pthread_t t;
        if (pthread_create(&t, &small, i <= moving ? busy : idle, 0)) return 1;
    }
    puts("ready"); fflush(stdout);
    char c; while (read(0, &c, 1) > 0) ;
    return 0;
}
"""

TARGET_PYTHON = """
import sys, threading, time
threads, moving = int(sys.argv[1]), int(sys.argv[2])
threading.stack_size(65536)
def busy():
    while True:
        time.sleep(0.02)
for i in range(1, threads):
    threading.Thread(target=busy if i <= moving else threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

LOOP_C = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char path[128], line[64]; int looks = atoi(argv[2]), count = 0, *fds = 0;
    long pace = atol(argv[3]);
    unsigned long long (*seen)[3] = 0, sum = 0, cpu = 0;
    snprintf(path, sizeof path, "/proc/%s/task", argv[1]);
    DIR *d = opendir(path); struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", argv[1], e->d_name);
        fds = realloc(fds, (count + 1) * sizeof *fds);
        fds[count++] = open(path, O_RDONLY);
    }
    seen = calloc(count, sizeof *seen);
    for (int l = -1; l < looks; l++) {
        struct timespec nap = {pace / 1000000000, pace % 1000000000}, a, b;
        if (pace) nanosleep(&nap, 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        for (int i = 0; i < count; i++) {
            ssize_t n = pread(fds[i], line, sizeof line - 1, 0);
            if (n <= 0) continue;
            line[n] = 0;
            char *p = line;
            for (int k = 0; k < 3; k++) seen[i][k] = strtoull(p, &p, 10);
            sum += seen[i][0];
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        if (l >= 0) cpu += (b.tv_sec - a.tv_sec) * 1000000000ULL + b.tv_nsec - a.tv_nsec;
    }
    printf("%llu %d %llu\n", cpu, count, sum);
    return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A running program with a known number of threads."""

    pid: int
    threads: int


def moving_of(threads: int) -> int:
    """A tenth of the threads, at least one."""
    return max(1, threads // 10)


def compiled(folder: Path, name: str, source: str) -> Path | None:
    """Compile a C program; None without gcc."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    path = folder / f"{name}.c"
    path.write_text(source)
    subprocess.run([compiler, "-O2", "-pthread", "-o", str(folder / name), str(path)], check=True)
    return folder / name


@contextlib.contextmanager
def target(folder: Path, threads: int, *, python: bool = False) -> Generator[Target]:
    """Run the target until the block is left."""
    program = None if python else compiled(folder, "target", TARGET_C)
    command = [str(program)] if program else [sys.executable, "-c", TARGET_PYTHON]
    with subprocess.Popen(
        [*command, str(threads), str(moving_of(threads))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the target could not start {threads} threads")
        try:
            yield Target(process.pid, threads)
        finally:
            process.stdin.close()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is looked, and how many times in one repeat."""

    name: str
    pause_s: float
    looks: int


def paces(threads: int) -> tuple[Pace, Pace]:
    """As fast as possible, and 20 times a second."""
    fast = max(4, FAST_READINGS // threads)
    return Pace("as fast as possible", 0.0, fast), Pace("20 looks a second", PACED_S, PACED_LOOKS)


def cpu_ns(look: Callable[[], object], pace: Pace) -> int:
    """CPU ns of all looks, with a pause before each; one more look before them is not counted."""
    look()
    spent = 0
    for _ in range(pace.looks):
        if pace.pause_s:
            time.sleep(pace.pause_s)
        before = time.process_time_ns()
        look()
        spent += time.process_time_ns() - before
    return spent


def our_look(seen: Target, *, check_sums: bool) -> tuple[Callable[[], object], ThreadsProbe]:
    """A look of our probe, without the slower counters that it reads once a second."""
    process = Process(seen.pid, None, 0, "main")
    probe = ThreadsProbe(check_sums=check_sums, detail_period_ns=FAR_AWAY_NS)
    start = time.monotonic_ns()

    def look() -> object:
        moment = Moment(time.monotonic_ns() - start, {seen.pid: process}, frozenset({seen.pid}))
        return list(probe.look(moment))

    return look, probe


def c_loop(program: Path, seen: Target, pace: Pace) -> int:
    """CPU ns of all rounds of the C loop."""
    arguments = [str(program), str(seen.pid), str(pace.looks), str(round(pace.pause_s * 1e9))]
    spent, count, _ = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
    assert int(count) == seen.threads
    return int(spent)


def measure(seen: Target, folder: Path, repeats: int, pace: Pace) -> dict[str, list[float]]:
    """Microseconds per thread and look of each method, once per repeat, the methods taking turns."""
    every, probe_every = our_look(seen, check_sums=False)
    sums, probe_sums = our_look(seen, check_sums=True)
    process = psutil.Process(seen.pid)
    program = compiled(folder, "loop", LOOP_C)
    methods: dict[str, Callable[[], int]] = {
        "ours, every thread read": lambda: cpu_ns(every, pace),
        "ours, with the sum check": lambda: cpu_ns(sums, pace),
        "psutil threads()": lambda: cpu_ns(process.threads, pace),
    }
    if program is not None:
        methods["C loop"] = lambda: c_loop(program, seen, pace)
    found: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(repeats):
        for name, method in methods.items():
            found[name].append(method() / 1000 / pace.looks / seen.threads)
    probe_every.close()
    probe_sums.close()
    return found


def whole_recorder(folder: Path, threads: int, seconds: float, *, python: bool) -> dict[str, float]:
    """Cores that `corelens record` used at 10 Hz after its first two seconds, in all and by probe."""
    path = folder / "whole.corelens"
    with target(folder, threads, python=python) as seen:
        subprocess.run(
            [*RECORD, "-o", str(path), "-d", str(seconds), "-p", str(seen.pid)],
            check=True,
        )
    recording = read(path)
    for change in recording.lines("rate"):
        print(f"not comparable: the governor looked at {change['probe']} less often", file=sys.stderr)
    lines = [line for line in recording.lines("self") if line["t_ns"] >= 2_000_000_000]
    first, last = lines[0], lines[-1]
    wall_ns = last["t_ns"] - first["t_ns"]
    before, after = first["cpu_by_probe_ns"], last["cpu_by_probe_ns"]
    shares = {name: (after[name] - before.get(name, 0)) / wall_ns for name in sorted(after)}
    return {"all": (last["cpu_ns"] - first["cpu_ns"]) / wall_ns, **shares}


def birth_costs() -> dict[str, float]:
    """Microseconds for one look for new processes when nothing was born, and for listing /proc."""
    births = Births()
    births.look()
    births.look()
    costs: dict[str, float] = {}
    for name, look in {
        "look for births, none": births.look,
        "listing /proc": lambda: procfs.process_ids(procfs.PROC),
    }.items():
        before = time.process_time_ns()
        for _ in range(200):
            look()
        costs[name] = (time.process_time_ns() - before) / 200 / 1000
    births.close()
    return costs


def spread(values: list[float]) -> str:
    """Median (minimum-maximum)."""
    return f"{statistics.median(values):7.2f} ({min(values):.2f}-{max(values):.2f})"


def show(threads: int, pace: Pace, found: dict[str, list[float]]) -> None:
    """Print the methods on one number of threads, and what they mean in the goals' terms."""
    print(f"{threads} threads, {moving_of(threads)} moving, {pace.name}: us of CPU per thread and look")
    for name, values in found.items():
        print(f"  {name:26} {spread(values)}")
    medians = {name: statistics.median(values) for name, values in found.items()}
    ours, sums = medians["ours, every thread read"], medians["ours, with the sum check"]
    if "C loop" in medians:
        print(f"  every thread read / C loop {ours / medians['C loop']:7.2f} x")
        print(f"  with sum check / C loop    {sums / medians['C loop']:7.2f} x")
    print(f"  psutil / every thread read {medians['psutil threads()'] / ours:7.1f} x")
    print(f"  psutil / with sum check    {medians['psutil threads()'] / sums:7.1f} x", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[4, 400, 2600])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=40.0, help="length of each whole recording")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for threads in args.threads:
            for pace in paces(threads):
                with target(folder, threads) as seen:
                    found = measure(seen, folder, args.repeats, pace)
                results[f"us_per_thread_look: {threads} threads, {pace.name}"] = found
                if not args.json:
                    show(threads, pace, found)
        whole = {
            language: [
                whole_recorder(folder, 400, args.seconds, python=language == "Python") for _ in range(3)
            ]
            for language in ("C", "Python")
        }
    results["recorder_cores_400_threads_10_hz"] = whole
    results["births_us"] = birth_costs()
    if args.json:
        print(json.dumps(results, indent=1))
        return
    for language, costs in whole.items():
        print(f"whole recorder, 400 threads of a {language} program at 10 Hz: % of a core")
        for part in costs[0]:
            print(f"  {part:26} {spread([100 * cost.get(part, 0.0) for cost in costs])}")
    for name, cost in birth_costs().items():
        print(f"{name:26} {cost:7.2f} us ({len(procfs.process_ids(procfs.PROC))} processes)")


if __name__ == "__main__":
    main()
