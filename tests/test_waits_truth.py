"""What real threads are said to wait for, against what they were made to wait for."""

from __future__ import annotations

from pathlib import Path

from corelens.probes import procfs
from corelens.recording import Recording, read
from corelens.reports.facts.summary import summarise
from tests.programs import (
    TALK,
    Program,
    has_begun,
    python,
    record,
    recorder,
    rows,
    running,
    state,
    wait_until,
)

# One thread for each kind of wait; each says its name and its id before it blocks for good.
EVERY_WAIT = (
    TALK
    + """
import os, select, signal, socket, subprocess, threading, time
pipe, sockets, event = os.pipe(), socket.socketpair(), os.eventfd(0)
many = select.epoll()
many.register(pipe[0])
lock = threading.Lock()
lock.acquire()
child = subprocess.Popen(["sleep", "600"])
waits = {
    "pipe": lambda: os.read(pipe[0], 1),
    "event": lambda: os.read(event, 8),
    "socket": lambda: sockets[0].recv(1),
    "poll": lambda: many.poll(),
    "select": lambda: select.select([pipe[0]], [], []),
    "sleep": lambda: time.sleep(600),
    "lock": lambda: lock.acquire(),
    "child": lambda: os.waitpid(child.pid, 0),
    "signal": lambda: signal.pause(),
}
told = threading.Lock()
def wait(name, block):
    with told:
        say(name, threading.get_native_id())
    block()
for name, block in waits.items():
    threading.Thread(target=wait, args=[name, block], daemon=True).start()
hear()
child.kill()
os._exit(0)
"""
)
# Which of several calls with the same meaning is made is up to the C library.
EXPECTED: dict[str, tuple[set[str], str | None]] = {
    "pipe": ({"read"}, "pipe"),
    "event": ({"read"}, "eventfd"),
    "socket": ({"recvfrom"}, "socket"),
    "poll": ({"epoll_wait", "epoll_pwait"}, None),
    "select": ({"select", "pselect6"}, None),
    "sleep": ({"clock_nanosleep"}, None),
    "lock": ({"futex"}, None),
    "child": ({"wait4"}, None),
    "signal": ({"pause", "ppoll"}, None),
}


def recorded(path: Path, program: Program) -> Recording:
    """A recording of one round of a running program."""
    with running(recorder(path, "-p", str(program.pid))) as looking:
        wait_until(lambda: has_begun(path), "the first round")
        looking.process.terminate()
        assert looking.end() == 0
    return read(path)


def test_every_kind_of_wait(tmp_path: Path) -> None:
    with running(python(EVERY_WAIT)) as program:
        tids = dict(program.hear().split() for _ in EXPECTED)
        wait_until(
            lambda: all(state(program.pid, int(tid)) == "S" for tid in tids.values()), "all threads to block"
        )
        recording = recorded(tmp_path / "r.corelens", program)
        program.say("end")
        assert program.end() == 0
    last = {row["tid"]: row for row in rows(recording, "waits")}
    for name, (calls, file) in EXPECTED.items():
        row = last[int(tids[name])]
        assert row["call"] in calls, name
        assert row["file"] == file, name
        assert (row["object"] or "").partition(":")[0] == (file if file in ("pipe", "socket") else ""), name
    # With the main thread, which reads from a pipe, and the child, which sleeps.
    assert {wait.what: wait.threads for wait in summarise(recording).waits} == {
        "child": 1, "lock": 1, "pipe": 3, "poll": 2, "signal": 1, "sleep": 2, "socket": 1,
    }  # fmt: skip


QUEUEING = """
import multiprocessing, sys, time
def queue(lock, seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with lock:
            time.sleep(0.003)
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    lock = context.Lock()
    workers = [context.Process(target=queue, args=[lock, float(sys.argv[1])]) for _ in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
"""


def test_a_lock_between_processes_is_one_lock(tmp_path: Path) -> None:
    done, recording = record(tmp_path / "r.corelens", python(QUEUEING, 3))
    assert done.returncode == 0, done.stderr
    report = summarise(recording)
    lock = report.locks[0]
    assert (lock.shared, len(lock.pids), lock.threads, lock.pattern) == (True, 3, 3, "convoy")
    assert 1 < lock.waiters_mean <= 3
    assert all(gil.pattern == "none" for gil in report.gil)


def test_idle_threads_cost_nothing(tmp_path: Path) -> None:
    """Of sixty threads that never run nothing is written, once they have been found where they stay."""
    source = TALK + (
        "import threading, time\n"
        "stop = threading.Event()\n"
        "for _ in range(60): threading.Thread(target=stop.wait).start()\n"
        "time.sleep(1)\n"
        "begun = time.monotonic_ns()\n"
        "for _ in range(15): time.sleep(0.1)\n"
        "say(begun, time.monotonic_ns())\n"
        "stop.set()\n"
    )
    done, recording = record(tmp_path / "r.corelens", python(source))
    assert done.returncode == 0, done.stderr
    begun_ns, ended_ns = (int(word) - recording.header["t0_monotonic_ns"] for word in done.stdout.split())
    main = recording.header["target"]["pid"]
    idle = [row for row in rows(recording, "waits") if row["tid"] != main]
    assert len({row["tid"] for row in idle}) == 60
    assert [row for row in idle if begun_ns < row["t_ns"] < ended_ns] == []


def test_a_long_list_of_mappings_is_read_whole() -> None:
    text = procfs.read_mappings("/proc/self")
    assert len(text) > 8192
    assert b"[stack]" in text
