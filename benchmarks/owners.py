"""What telling the owner of every thread costs, once per thread and in each round after that.

    python benchmarks/owners.py [--threads 400 2600] [--repeats 7] [--json]

Two C programs per number of threads: one whose threads are plain ones, and one whose threads are libgomp teams
of eight, each with its own master. A look at all of them is made by a fresh probe, the programs taking turns so
that a noisy neighbour hits all alike. Reading the list of mapped files is timed by itself as well, since it is
paid once per process however many threads it has. Then come a round in which nothing was born, and one in which
one thread was. All figures are CPU time of the looking process, user and system: median (minimum-maximum) over
the repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corelens.probes.owners import OwnersProbe
from corelens.probes.probe import Moment, Process
from corelens.probes.process_maps import read_maps
from corelens.vocabulary import Line

TEAM = 8
QUIET_LOOKS = 200
BIRTHS = 50
ROUND_NS = 100_000_000

PLAIN = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *idle(void *a) { for (;;) pause(); return a; }
int main(int argc, char **argv) {
    pthread_attr_t small; pthread_attr_init(&small); pthread_attr_setstacksize(&small, 65536);
    for (int i = 1; i < atoi(argv[argc - 1]); i++) {
        pthread_t t;
        if (pthread_create(&t, &small, idle, 0)) return 1;
    }
    puts("ready"); fflush(stdout);
    char c; while (read(0, &c, 1) > 0) ;
    return 0;
}
"""
TEAMS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_barrier_t there;
static void region(void) {
    #pragma omp parallel num_threads(8)
    { usleep(1000); }
    pthread_barrier_wait(&there);
}
static void *master(void *a) { region(); for (;;) pause(); return a; }
int main(int argc, char **argv) {
    int masters = atoi(argv[argc - 1]) / 8;
    pthread_barrier_init(&there, 0, masters);
    for (int i = 1; i < masters; i++) {
        pthread_t t;
        if (pthread_create(&t, 0, master, 0)) return 1;
    }
    region();
    puts("ready"); fflush(stdout);
    char c; while (read(0, &c, 1) > 0) ;
    return 0;
}
"""


@dataclass(slots=True)
class Target:
    """A running program, and its threads as the threads probe would tell of them."""

    kind: str
    pid: int
    threads: dict[int, object] = field(default_factory=dict[int, object])
    changes: int = 0

    def living(self, pid: int) -> tuple[int, Mapping[int, object]]:
        """What `ThreadsProbe.living` says."""
        return self.changes, self.threads

    def bear(self) -> None:
        """Let the first of the others pass for one that was just born."""
        tid = next(tid for tid in self.threads if tid != self.pid)
        self.threads = {**self.threads, tid: object()}
        self.changes += 1


@contextlib.contextmanager
def target(folder: Path, kind: str, source: str, threads: int) -> Generator[Target]:
    """Compile and run a program until the block is left."""
    path = folder / f"{kind}.c"
    path.write_text(source)
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise SystemExit("this benchmark needs gcc")
    subprocess.run([compiler, "-O1", "-fopenmp", "-pthread", "-o", str(folder / kind), str(path)], check=True)
    command = [str(folder / kind), str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{kind}: could not start {threads} threads")
            tids = sorted(map(int, os.listdir(f"/proc/{process.pid}/task")))  # noqa: PTH208
            if len(tids) != threads:
                raise SystemExit(f"{kind}: {len(tids)} threads in place of {threads}")
            yield Target(kind, process.pid, {tid: object() for tid in tids})
        finally:
            process.stdin.close()


def cpu_us(work: Callable[[], object]) -> float:
    """CPU of this process, in microseconds."""
    before = time.process_time_ns()
    work()
    return (time.process_time_ns() - before) / 1000


class Probe:
    """A fresh probe on one target."""

    def __init__(self, seen: Target) -> None:
        self._seen = seen
        self._probe = OwnersProbe(seen.living)
        self._process = {seen.pid: Process(seen.pid, None, 0, "main")}
        self._round = 0

    def look(self) -> list[Line]:
        """One round in which the process moved."""
        self._round += 1
        # Never reaching the time of a keyframe.
        moment = Moment(self._round * ROUND_NS % ROUND_NS, self._process, frozenset(self._process))
        return list(self._probe.look(moment))

    def close(self) -> None:
        """Give the descriptors back."""
        self._probe.close()


def measure(seen: Target) -> dict[str, float]:
    """One repeat on one target, in microseconds."""
    probe = Probe(seen)
    lines: list[Line] = []
    first = cpu_us(lambda: lines.extend(probe.look()))
    _check(seen, lines)
    quiet = cpu_us(lambda: [probe.look() for _ in range(QUIET_LOOKS)]) / QUIET_LOOKS
    births = 0.0
    for _ in range(BIRTHS):
        seen.bear()
        births += cpu_us(probe.look)
    probe.close()
    return {
        "all threads": first,
        "of it the maps": cpu_us(lambda: read_maps(f"/proc/{seen.pid}")),
        "a round without a birth": quiet,
        "a round with one": births / BIRTHS,
    }


def _check(seen: Target, lines: list[Line]) -> None:
    """A figure counts only when every thread was told, with its master."""
    owned = [line for line in lines if line["kind"] == "threads.owned"]
    told = sum(how != "unknown" for line in owned for how in line["how"])
    masters = {master for line in owned for master in line["master"]} - {None}
    wanted = len(seen.threads) // TEAM if seen.kind == "teams" else 0
    if told != len(seen.threads) or len(masters) != wanted:
        raise SystemExit(f"{seen.kind}: {told} of {len(seen.threads)} threads told, {len(masters)} masters")


def spread(values: list[float], scale: float = 1.0) -> str:
    """Median (minimum-maximum)."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle / scale:8.2f} ({low / scale:.2f}-{high / scale:.2f})"


def show(name: str, threads: int, found: dict[str, list[float]]) -> None:
    """Print what one target cost."""
    each = [
        (all_us - maps_us) / threads
        for all_us, maps_us in zip(found["all threads"], found["of it the maps"], strict=True)
    ]
    print(name)
    print(f"  all threads, once          {spread(found['all threads'], 1000)} ms")
    print(f"  of it the maps             {spread(found['of it the maps'], 1000)} ms")
    print(f"  each thread, without them  {spread(each)} us")
    print(f"  a round without a birth    {spread(found['a round without a birth'])} us")
    print(f"  a round with one           {spread(found['a round with one'])} us", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[400, 2600])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        targets = [
            (threads, stack.enter_context(target(Path(name), kind, source, threads)))
            for threads in args.threads
            for kind, source in (("plain", PLAIN), ("teams", TEAMS))
        ]
        found = _in_turns(targets, args.repeats)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(f"CPU time, median (minimum-maximum) of {args.repeats} repeats")
    for threads, seen in targets:
        title = f"{threads} threads, {'libgomp teams of eight' if seen.kind == 'teams' else 'plain'}"
        show(title, threads, found[f"{threads} {seen.kind}"])


def _in_turns(targets: list[tuple[int, Target]], repeats: int) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(repeats):
        for threads, seen in targets:
            of = found.setdefault(f"{threads} {seen.kind}", {})
            for name, value in measure(seen).items():
                of.setdefault(name, []).append(value)
    return found


if __name__ == "__main__":
    main()
