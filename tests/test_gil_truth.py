"""What is said of interpreter locks against what real programs measured of themselves.

The programs keep time on the clock that the recorder counts with, so that both are compared over the same stretch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corelens.probes.gil import GilProbe
from corelens.probes.probe import Moment, Process
from corelens.recording import Recording, read
from corelens.reports.facts.summary import summarise
from corelens.reports.report import Gil, Report
from tests.programs import (
    TALK,
    has_begun,
    python,
    record,
    recorder,
    rows,
    running,
    wait_until,
)

TOLERANCE = 0.03
MS = 1_000_000

# One thread holds the lock for so long (a PyDLL call does not let go of it) and frees it for so long (a CDLL call
# does), again and again; a second one only makes it change hands, and only when it is free: with a short switch
# interval it would make the first let go in the midst of what it takes for holding. Written down for each cycle are
# the time and for how long the lock had been free by then.
DUTY = """
import ctypes, sys, threading, time
sys.setswitchinterval(1000)
hold_ns, free_ns, cycles, path = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
class Timespec(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
holding, letting_go = ctypes.PyDLL(None).nanosleep, ctypes.CDLL(None).nanosleep
long, short, other = Timespec(0, hold_ns), Timespec(0, free_ns), Timespec(0, 20_000_000)
ended = threading.Event()
def second():
    while not ended.is_set():
        letting_go(ctypes.byref(other), None)
clock, free, log = time.monotonic_ns, 0, []
threading.Thread(target=second).start()
for _ in range(cycles):
    holding(ctypes.byref(long), None)
    begun = clock()
    letting_go(ctypes.byref(short), None)
    now = clock()
    free += now - begun
    log.append(f"{now} {free}")
ended.set()
with open(path, "w") as file:
    file.write("\\n".join(log))
"""


def share_held(log: list[tuple[int, int]], start_ns: int, end_ns: int) -> float:
    """What the program measured between two moments of its clock."""
    inside = [(t_ns, free_ns) for t_ns, free_ns in log if start_ns <= t_ns <= end_ns]
    (first_ns, free_before), (last_ns, free_after) = inside[0], inside[-1]
    return 1 - (free_after - free_before) / (last_ns - first_ns)


def share_seen(recording: Recording, start_ns: int, end_ns: int) -> tuple[float, int]:
    """What the looks of the recorder say of the same stretch, and how many there were."""
    t0_ns = recording.header["t0_monotonic_ns"]
    inside = [row for row in rows(recording, "gil") if start_ns <= t0_ns + row["t_ns"] <= end_ns]
    looks = inside[-1]["looks"] - inside[0]["looks"]
    return (inside[-1]["held"] - inside[0]["held"]) / looks, looks


@pytest.mark.parametrize(("hold_ms", "free_ms"), [(15, 45), (45, 15)])
def test_held_share_against_a_known_duty_cycle(tmp_path: Path, hold_ms: int, free_ms: int) -> None:
    path = tmp_path / "log"
    # Nothing but the lock is looked at, so that a busy machine does not make the governor look less often.
    program = python(DUTY, hold_ms * MS, free_ms * MS, 100, path)
    done, recording = record(tmp_path / "r.corelens", program, "--budget", "0")
    assert done.returncode == 0, done.stderr
    log = [(int(t_ns), int(free_ns)) for t_ns, free_ns in map(str.split, path.read_text().splitlines())]
    start_ns, end_ns = log[5][0], log[-1][0]
    seen, looks = share_seen(recording, start_ns, end_ns)
    assert looks > 300
    assert seen == pytest.approx(share_held(log, start_ns, end_ns), abs=TOLERANCE)
    (gil,) = summarise(recording).gil
    assert gil.held_share == pytest.approx(seen, abs=2 * TOLERANCE)
    assert gil.busiest_tid == recording.header["target"]["pid"]


# Two threads take turns through two locks: each turn lets go of the interpreter lock, and the other takes it. The
# switch interval is so long that nothing else makes them let go, and they begin when they are told to.
TURNS = (
    TALK
    + """
import threading
sys.setswitchinterval(1000)
turns, first, second = int(sys.argv[1]), threading.Lock(), threading.Lock()
first.acquire(); second.acquire()
def ping():
    for _ in range(turns):
        first.acquire()
        second.release()
def pong():
    for _ in range(turns):
        second.acquire()
        first.release()
threads = [threading.Thread(target=ping), threading.Thread(target=pong)]
for thread in threads:
    thread.start()
say("ready")
while hear():
    first.release()
    for thread in threads:
        thread.join()
    say("done")
"""
)


def test_handoffs_are_exact(tmp_path: Path) -> None:
    turns, path = 5000, tmp_path / "r.corelens"
    with running(python(TURNS, turns)) as program:
        assert program.hear() == "ready"
        with running(recorder(path, "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path), "the first round")
            program.say("go")
            assert program.hear() == "done"
            looking.process.terminate()
            assert looking.end() == 0
    (gil,) = summarise(read(path)).gil
    assert gil.handoffs == pytest.approx(2 * turns, rel=0.02)
    # Beside the turns: the main thread takes the lock to begin and to end.
    assert gil.handoffs is not None
    assert 2 * turns <= gil.handoffs <= 2 * turns + 10


# four threads, and what they do with the lock

WORK = """
import ctypes, hashlib, sys, threading, time
seconds = float(sys.argv[1])
BODY
ends = time.monotonic() + seconds
def run():
    while time.monotonic() < ends:
        work()
threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
PURE = "def work(): sum(range(2000))"
SLEEPING = "def work(): time.sleep(0.05)"
NATIVE = "block = bytes(1 << 24)\ndef work(): hashlib.sha256(block).digest()"
LOCKED = "lock = threading.Lock()\ndef work():\n    with lock: time.sleep(0.002)"
# It goes by its own count of voluntary switches: below 12,000 a second the kernel seldom ran two threads at once,
# and then there is no convoy. It ends when there was one for two seconds and 0.4 of its time, or gives up.
TINY = """
import time
begun = time.monotonic()
import resource, sys, threading, torch
torch.set_num_threads(1)
small, ended = torch.zeros(10_000), threading.Event()
def work():
    while not ended.is_set():
        for _ in range(1000):
            small + 1
def switches():
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
convoy = elapsed = 0
while elapsed < 25 and (convoy < 2 or convoy < elapsed * 0.4):
    before, at = switches(), time.monotonic()
    time.sleep(0.2)
    took = time.monotonic() - at
    convoy += took if (switches() - before) / took >= 12_000 else 0
    elapsed = time.monotonic() - begun
ended.set()
for thread in threads: thread.join()
print("convoy" if elapsed < 25 else "none")
"""
MUTEX_C = r"""
#include <pthread.h>
#include <time.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* Twenty turns to a call, so that the interpreter lock is hardly touched. */
void work(void) {
    struct timespec nap = {0, 2000000};
    for (int turn = 0; turn < 20; turn++) {
        pthread_mutex_lock(&mutex);
        nanosleep(&nap, 0);
        pthread_mutex_unlock(&mutex);
    }
}
"""


def work(tmp_path: Path, body: str, seconds: float = 3.0) -> Report:
    done, recording = record(tmp_path / "r.corelens", python(WORK.replace("BODY", body), seconds))
    assert done.returncode == 0, done.stderr
    return summarise(recording)


def only(report: Report) -> Gil:
    (gil,) = report.gil
    return gil


def test_pure_python_threads_saturate_the_lock(tmp_path: Path) -> None:
    report = work(tmp_path, PURE)
    gil = only(report)
    assert gil.pattern == "saturation"
    assert gil.held_share is not None
    assert gil.held_share > 0.8
    assert sum(thread.held_looks > 0 for thread in gil.threads) >= 4
    assert report.locks == ()


@pytest.mark.lab
def test_tiny_torch_operations_are_a_convoy(tmp_path: Path) -> None:
    done, recording = record(tmp_path / "r.corelens", python(TINY))
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() != "convoy":
        pytest.skip("needs the kernel to run two threads of one program at once")
    gil = only(summarise(recording))
    assert gil.pattern == "convoy"
    assert gil.handoffs_per_s_peak is not None
    assert gil.handoffs_per_s_peak > 5000


def test_a_threading_lock_is_no_trouble_of_the_gil(tmp_path: Path) -> None:
    report = work(tmp_path, LOCKED)
    gil = only(report)
    assert gil.pattern == "none"
    lock = report.locks[0]
    assert (lock.pattern, lock.threads, lock.shared) == ("convoy", 4, False)
    # Each turn takes the interpreter lock as well, and a thread that lost its core meanwhile is waited for.
    assert gil.waited_thread_s < lock.blocked_s / 10
    assert lock.waiters_mean > 2


@pytest.mark.parametrize("body", [SLEEPING, NATIVE], ids=["sleep", "native"])
def test_controls_do_not_wait_for_the_lock(tmp_path: Path, body: str) -> None:
    gil = only(work(tmp_path, body))
    assert gil.pattern == "none"
    assert gil.wait_share is not None
    assert gil.wait_share <= 0.02


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_mutex_in_c_is_a_lock_and_not_the_gil(tmp_path: Path) -> None:
    source, library = tmp_path / "mutex.c", tmp_path / "mutex.so"
    source.write_text(MUTEX_C)
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", "-pthread", "-o", str(library), str(source)], check=True
    )
    report = work(tmp_path, f"work = ctypes.CDLL({str(library)!r}).work")
    gil = only(report)
    assert gil.pattern == "none"
    assert gil.wait_share is not None
    assert gil.wait_share <= 0.02
    assert (report.locks[0].pattern, report.locks[0].threads) == ("convoy", 4)


# other interpreters, as far as they are installed


def interpreters() -> dict[str, str | None]:
    """Interpreter of each version, None where it is not installed."""
    found: dict[str, str | None] = {}
    for minor in range(10, 16):
        name = f"python3.{minor}"
        own = sys.executable if sys.version_info[:2] == (3, minor) else None
        managed = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}"))
        found[f"3.{minor}"] = own or (str(managed[-1]) if managed else shutil.which(name))
    return found


INTERPRETERS = interpreters()


@contextmanager
def probing(pid: int) -> Generator[Callable[[], dict[str, dict[str, list[Any]]]]]:
    """Look at one process with the probe alone; each call is a round."""
    probe = GilProbe()
    process = Process(pid, None, 0, "main")
    begun_ns = time.monotonic_ns()

    def look() -> dict[str, dict[str, list[Any]]]:
        t_ns = time.monotonic_ns() - begun_ns
        return {line["kind"]: line for line in probe.look(Moment(t_ns, {pid: process}, frozenset({pid})))}

    try:
        yield look
    finally:
        probe.close()


def first_sight(look: Callable[[], dict[str, dict[str, list[Any]]]]) -> dict[str, dict[str, list[Any]]]:
    """Look until the lock is found; a thread that is just being born hides it for a round."""
    found: dict[str, dict[str, list[Any]]] = {}
    wait_until(lambda: found.update(look()) or "gil" in found, "the lock to be found")
    return found


@pytest.mark.parametrize("version", INTERPRETERS)
def test_handoffs_of_every_version(version: str) -> None:
    interpreter = INTERPRETERS[version]
    if interpreter is None:
        pytest.skip(f"needs Python {version}")
    turns = 2000
    with running([interpreter, "-c", TURNS, str(turns)]) as program, probing(program.pid) as look:
        assert program.hear() == "ready"
        found = first_sight(look)
        assert found["gil.found"]["version"] == [version]
        assert found["gil.found"]["gil"] == ["yes"]
        before = found["gil"]["switches"][0]
        program.say("go")
        assert program.hear() == "done"
        after = look()["gil"]
        assert 2 * turns <= after["switches"][0] - before <= 2 * turns + 10
        assert program.end() == 0


@pytest.mark.parametrize("version", INTERPRETERS)
def test_who_holds_the_lock_of_every_version(version: str) -> None:
    interpreter = INTERPRETERS[version]
    if interpreter is None:
        pytest.skip(f"needs Python {version}")
    source = TALK + (
        "import ctypes, threading\n"
        "def hold():\n"
        "    say('holding', threading.get_native_id())\n"
        "    ctypes.PyDLL(None).pause()\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        "hear()\n"
    )
    with running([interpreter, "-c", source]) as program, probing(program.pid) as look:
        _, tid = program.hear().split()
        first_sight(look)
        wait_until(lambda: look()["gil"]["locked"] == [True], "the lock to be held")
        last = look()["gil"]
        assert last["holder"] == [None if version == "3.10" else int(tid)]
        # It never lets go, so it cannot be asked to end.
        program.process.kill()


# rights


def drop_rights_and_look(pid: int, answer: int) -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with probing(pid) as look:
        found = look()
    kinds = [found["gap"]["reason"], found["gap"]["what"], *found.get("gil.found", {}).get("gil", [])]
    os.write(answer, " | ".join(map(str, kinds)).encode())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_without_the_right_to_trace_it_is_a_gap() -> None:
    reading, writing = os.pipe()
    with running(python(TURNS, 1)) as program:
        assert program.hear() == "ready"
        child = os.fork()
        if child == 0:
            try:
                drop_rights_and_look(program.pid, writing)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        assert os.read(reading, 1000).decode() == "forbidden | the GIL's state"
        os.close(reading)
