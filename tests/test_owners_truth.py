"""Who made each thread: what the probe reads from outside against what the program logs from inside."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from corelens.recording import Recording
from corelens.reports.elf import SymbolsOnDisk
from corelens.reports.facts import bins, owned, processes, threads
from corelens.reports.facts.owned import Owned
from corelens.reports.facts.owners import owners
from corelens.reports.facts.pace import Pace
from tests.programs import TALK, record, rows
from tests.thread_truth import Creation, Logger, Truth, compiled, recorded

# Everything in one process: what it must tell apart is what it finds together in real programs.
EVERY_LIBRARY = (
    TALK
    + """
import io, threading
from concurrent.futures import ThreadPoolExecutor
import grpc, numba, numpy, pyarrow.csv, scipy.linalg, torch
torch.set_num_threads(4)
torch.set_num_interop_threads(3)

@numba.njit(parallel=True)
def total(values):
    found = 0.0
    for place in numba.prange(len(values)):
        found += values[place]
    return found

@torch.jit.script
def twice(x):
    return x + x

@torch.jit.script
def forked(x):
    return torch.jit.wait(torch.jit.fork(twice, x))

def region():
    torch.sigmoid(torch.ones(300_000))

stop, there = threading.Event(), threading.Barrier(4)
def trial():
    region()
    there.wait()
    stop.wait()

for number in range(3):
    threading.Thread(target=trial, name=f"trial-{number}").start()
there.wait()
region()
total(numpy.ones(1000))
forked(torch.ones(3))
pyarrow.csv.read_csv(io.BytesIO(b"a,b\\n" + b"1,2\\n" * 1_000_000))
server = grpc.server(ThreadPoolExecutor(2))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
grpc.channel_ready_future(channel).result()
say("ready")
hear()
stop.set()
channel.close()
server.stop(0).wait()
"""
)
OTHER_OPENMP = (
    TALK
    + """
import numpy
from sklearn.cluster import KMeans
KMeans(3, n_init=1, algorithm="lloyd").fit(numpy.random.default_rng(0).random((5000, 4)))
say("ready")
hear()
"""
)
# Threads of two libraries that live from 1 ms to 1.2 s, eighty altogether.
CHURN_LIBRARY = r"""
#include <pthread.h>
#include <unistd.h>
void *nap(void *us) { usleep((long)us); return 0; }
int begin(pthread_t *thread, long us) { return pthread_create(thread, 0, nap, (void *)us); }
"""
CHURN = r"""
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *nap(void *us) { usleep((long)us); return 0; }
int main(int argc, char **argv) {
    static const long naps[] = {1000, 3000, 30000, 1200000};
    int (*begin)(pthread_t *, long) = (int (*)(pthread_t *, long))dlsym(dlopen(argv[1], RTLD_NOW), "begin");
    pthread_t threads[8];
    (void)argc;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++)
            if (pthread_create(&threads[i], 0, nap, (void *)naps[i]) || begin(&threads[i + 4], naps[i])) return 1;
        for (int i = 0; i < (round % 5 < 4 ? 3 : 4); i++)
            pthread_join(threads[i], 0), pthread_join(threads[i + 4], 0);
    }
    return 0;
}
"""
RAY = (
    TALK
    + """
import os, ray
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
@ray.remote
def task():
    return os.getpid()
ray.get([task.remote() for _ in range(2)])
say("ready")
hear()
ray.shutdown()
"""
)
VARIABLES = {
    "OMP_NUM_THREADS": "4",
    "OPENBLAS_NUM_THREADS": "4",
    "NUMBA_NUM_THREADS": "4",
    "NUMBA_THREADING_LAYER": "workqueue",
}
KINDS = {
    "libgomp": owned.OPENMP_GNU,
    "libscipy_openblas": owned.OPENBLAS,
    "libtorch_cpu": owned.TORCH_PTHREADPOOL,
    "libc10": owned.TORCH_INTER_OP,
    "workqueue": owned.NUMBA_WORKQUEUE,
    "libarrow": owned.ARROW,
    "cygrpc": owned.GRPC,
    "_raylet": owned.RAY,
    "raylet": owned.RAY,
    "gcs_server": owned.RAY,
    "libpython": owned.PYTHON,
    "python3": owned.PYTHON,
}


@pytest.fixture(scope="module")
def every_library(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """The recording of a program that uses every library at once."""
    return recorded(tmp_path_factory.mktemp("every"), EVERY_LIBRARY, **VARIABLES)


def readings(recording: Recording) -> dict[int, dict[str, Any]]:
    """The last telling row of each thread, with the path of its module."""
    paths = {row["module"]: row["path"] for row in rows(recording, "modules")}
    found: dict[int, dict[str, Any]] = {}
    for row in rows(recording, "threads.owned"):
        if row["how"] != "unknown" or row["tid"] not in found:
            found[row["tid"]] = {**row, "path": paths.get(row["module"])}
    return found


def named(recording: Recording) -> dict[int, Owned]:
    """The owner of every thread by id."""
    lives = processes.lives(recording)
    grid = bins.grid_for(recording.last_ns, Pace(recording, "tree").first_ns)
    everyone = threads.threads(recording, lives, grid).all
    return {each.thread.tid: each for each in owners(recording, lives, everyone, SymbolsOnDisk()).values()}


def wrong(truth: Truth) -> list[str]:
    """Threads whose reading names another file than the one that made them."""
    found: list[str] = []
    for tid, row in readings(truth.recording).items():
        creation = truth.creations.get(tid)
        if creation is None or row["path"] is None:
            continue
        if os.path.realpath(row["path"]) != creation.owner:
            found.append(f"{tid}: read {row['path']} ({row['how']}), made by {creation}")
    return found


def unread(truth: Truth) -> list[str]:
    """Threads that lived long enough and were not told."""
    known = readings(truth.recording)
    missing = [tid for tid in truth.living if tid not in known or known[tid]["how"] == "unknown"]
    return [f"{truth.creations.get(tid)}: {known.get(tid)}" for tid in missing]


def lost_masters(truth: Truth) -> list[str]:
    """Workers of libgomp teams that are not given to the thread that created them."""
    known = readings(truth.recording)
    return [
        f"{creation}: {known[creation.tid]}"
        for creation in teams(truth)
        if known[creation.tid]["master"] != creation.creator
    ]


def teams(truth: Truth) -> list[Creation]:
    return [
        creation
        for tid, creation in truth.creations.items()
        if tid in truth.living and Path(creation.routine).name.startswith("libgomp")
    ]


def test_no_thread_is_given_to_another_library(every_library: Truth) -> None:
    assert wrong(every_library) == []


def test_every_thread_is_told(every_library: Truth) -> None:
    assert every_library.living <= every_library.creations.keys()
    assert unread(every_library) == []


def test_every_team_has_its_master(every_library: Truth) -> None:
    assert len(teams(every_library)) == 12
    assert len({creation.creator for creation in teams(every_library)}) == 4
    assert lost_masters(every_library) == []


def test_the_libraries_are_named(every_library: Truth) -> None:
    said = named(every_library.recording)
    for tid in every_library.living:
        file = Path(every_library.creations[tid].owner).name
        kind = next(kind for start, kind in KINDS.items() if file.startswith(start))
        # Python's own threads are helpers of a library where a look at their stack names the function that they run.
        may_be = {kind, owned.PYTHON_HELPER} if kind == owned.PYTHON else {kind}
        assert said[tid].owner.kind in may_be, (said[tid], every_library.creations[tid])
    labels = Counter(said[tid].owner.label for tid in every_library.living)
    assert labels["libgomp (torch)"] == 12
    assert labels["torch pthreadpool"] == 3
    assert labels["torch inter-op"] == 3
    assert labels["numba workqueue"] == 4
    assert {"OpenBLAS (numpy)", "OpenBLAS (scipy)", "Arrow", "gRPC"} <= labels.keys()


def test_each_copy_of_libgomp_is_its_own(tmp_path: Path) -> None:
    truth = recorded(tmp_path, OTHER_OPENMP, **VARIABLES)
    assert wrong(truth) == []
    assert unread(truth) == []
    assert lost_masters(truth) == []
    labels = Counter(named(truth.recording)[creation.tid].owner.label for creation in teams(truth))
    assert labels == {"libgomp (scikit-learn)": 3}


def test_threads_that_come_and_go(tmp_path: Path) -> None:
    """None is given to another library, and those that three rounds saw are told.

    Rounds come 50 times a second, so that on a machine with time to spare three of them take less than 100 ms.
    """
    library = compiled(tmp_path, CHURN_LIBRARY, "-shared", "-fPIC", "-pthread", name="libchurn.so")
    program = compiled(tmp_path, CHURN, "-pthread", "-ldl", name="churn")
    logger = Logger(tmp_path)
    output = tmp_path / "run.corelens"
    done, recording = record(
        output, logger.around([str(program), str(library)]), "--budget", "0", "--rate", "50"
    )
    assert done.returncode == 0
    truth = Truth(recording, logger.creations(), seen_often(recording))
    # A thread that ended within its creator's pthread_create could not be logged.
    assert truth.living <= truth.creations.keys()
    assert len(truth.creations) > 40
    assert truth.living or slowest_round_ns(recording) > 400_000_000
    assert wrong(truth) == []
    assert unread(truth) == []


def seen_often(recording: Recording) -> frozenset[int]:
    """Threads that lived on for three rounds after their first, however late these came."""
    long_ns = 3 * slowest_round_ns(recording)
    born = {row["tid"]: row["t_ns"] for row in rows(recording, "threads.born")}
    first = recording.header["target"]["pid"]
    died = rows(recording, "threads.died")
    return frozenset(
        row["tid"] for row in died if row["tid"] != first and row["t_ns"] - born[row["tid"]] >= long_ns
    )


def slowest_round_ns(recording: Recording) -> int:
    return max(line["longest_gap_ns"] for line in recording.lines("self"))


def test_ray(tmp_path: Path) -> None:
    truth = recorded(tmp_path, RAY)
    assert wrong(truth) == []
    assert unread(truth) == []
    said = named(truth.recording)
    labels = {said[tid].owner.label for tid in truth.living}
    assert {"Ray core worker", "Ray raylet", "Ray GCS"} <= labels
