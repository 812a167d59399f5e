"""What a recording says against what the kernel says, with real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from corelens.recording import Recording, read
from tests.programs import (
    BURN,
    SPINNING_THREADS,
    TALK,
    WAITING_THREADS,
    Program,
    has_begun,
    python,
    record,
    recorder,
    rows,
    running,
    schedstat,
    state,
    wait_until,
)

MS = 1_000_000
TOLERANCE = 0.02
TOLERANCE_NS = 20 * MS


def close(measured_ns: int, true_ns: int) -> bool:
    """Within 2 % or 20 ms."""
    return abs(measured_ns - true_ns) <= max(TOLERANCE_NS, TOLERANCE * true_ns)


def footer_cpu_ns(recording: Recording) -> int:
    """CPU of the root and all it reaped, by wait4."""
    assert recording.footer is not None
    return int(recording.footer["user_ns"] + recording.footer["system_ns"])


def last_cpu_ns(recording: Recording) -> dict[int, int]:
    """The last known CPU clock of each process."""
    found: dict[int, int] = {row["pid"]: row["cpu_ns"] for row in rows(recording, "processes")}
    for line in recording.lines("process.died"):
        if line["cpu_ns"] is not None:
            found[line["pid"]] = line["cpu_ns"]
    return found


def last_rows(recording: Recording, kind: str, key: str) -> dict[int, dict[str, Any]]:
    """The last row of each process or thread."""
    return {row[key]: row for row in rows(recording, kind)}


THREADS_BURN = (
    BURN
    + """
import threading
threads = [threading.Thread(target=burn, args=[0.25]) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
burn(0.2)
"""
)


def test_cpu_of_threads_against_wait4(tmp_path: Path) -> None:
    done, recording = record(tmp_path / "r.corelens", python(THREADS_BURN))
    assert done.returncode == 0, done.stderr
    (root,) = last_cpu_ns(recording).values()
    assert root >= 950 * MS
    assert close(root, footer_cpu_ns(recording))
    # Threads end between looks, so what is known of them is a part of what the process used.
    known = sum(row["run_ns"] for row in last_rows(recording, "threads", "tid").values())
    assert 0 < known <= root + TOLERANCE_NS


PROCESSES_BURN = (
    BURN
    + TALK
    + """
import os, time
def child(depth):
    pid = os.fork()
    if pid:
        return pid
    burn(0.3)
    if depth:
        os.waitpid(child(depth - 1), 0)
    with open(sys.argv[1], "a") as log:
        log.write(f"{os.getpid()} {time.process_time_ns()}\\n")
    os._exit(0)
for pid in [child(1), child(0)]:
    os.waitpid(pid, 0)
burn(0.2)
"""
)


def test_cpu_of_processes_and_grandchildren_against_wait4(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done, recording = record(tmp_path / "r.corelens", python(PROCESSES_BURN, log))
    assert done.returncode == 0, done.stderr
    known, truth = last_cpu_ns(recording), footer_cpu_ns(recording)
    assert recording.footer is not None
    # What a process used after its last look, if its parent reaped it first, is in the reaped counters.
    root = recording.header["target"]["pid"]
    detail = last_rows(recording, "process.detail", "pid")[root]
    assert close(known[root] + detail["reaped_user_ns"] + detail["reaped_system_ns"], truth)
    assert sum(known.values()) <= truth + TOLERANCE_NS
    longest_gap = max(line["longest_gap_ns"] for line in recording.lines("self"))
    own = {int(pid): int(cpu_ns) for pid, cpu_ns in map(str.split, log.read_text().splitlines())}
    assert len(own) == 3
    for pid, cpu_ns in own.items():
        assert cpu_ns - longest_gap - TOLERANCE_NS <= known[pid] <= cpu_ns + TOLERANCE_NS


@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_thread_counts_are_exact(tmp_path: Path, count: int) -> None:
    path = tmp_path / "r.corelens"
    with running(python(WAITING_THREADS, count)) as program:
        assert program.hear() == "ready"
        with running(recorder(path, "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path), "the first round")
            looking.process.terminate()
            assert looking.end() == 0
    recording = read(path)
    assert len({row["tid"] for row in rows(recording, "threads.born")}) == count + 1
    assert rows(recording, "threads.died") == []
    assert last_rows(recording, "processes", "pid")[program.pid]["threads"] == count + 1


def test_threads_that_come_and_go_are_all_told(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    source = TALK + (
        "import threading\n"
        "for _ in range(3):\n"
        "    stop = threading.Event()\n"
        "    threads = [threading.Thread(target=stop.wait) for _ in range(5)]\n"
        "    for thread in threads: thread.start()\n"
        "    say('up'); hear(); stop.set()\n"
        "    for thread in threads: thread.join()\n"
        "    say('down'); hear()\n"
    )
    with (
        running(python(source)) as program,
        running(recorder(path, "-p", str(program.pid), "-r", "50")) as looking,
    ):
        for _ in range(6):
            program.hear()
            # A thread that was joined may still be on its way out.
            task = f"/proc/{program.pid}/task"
            wait_until(
                lambda task=task: _threads_seen(path, program) == len(os.listdir(task)),  # noqa: PTH208
                "the threads to be seen",
            )
            program.say("on")
        assert looking.end() == 0
    recording = read(path)
    born = {row["tid"] for row in rows(recording, "threads.born")}
    assert len(born) == 16
    assert {row["tid"] for row in rows(recording, "threads.died")} == born


def _threads_seen(path: Path, program: Program) -> int:
    """Threads of a program by the recording so far."""
    if not has_begun(path):
        return 0
    return int(last_rows(read(path), "processes", "pid")[program.pid]["threads"])


def test_run_queue_wait_is_the_kernels_own(tmp_path: Path) -> None:
    """Four spinners on one core, at rest again: the last recorded counters are those that the test reads."""
    path = tmp_path / "r.corelens"
    with running(python(SPINNING_THREADS)) as program:
        assert program.hear() == "ready"
        with running(recorder(path, "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path), "the first round")
            program.say("spin")
            assert program.hear() == "spun"
            tids = [int(name) for name in os.listdir(f"/proc/{program.pid}/task")]  # noqa: PTH208
            wait_until(lambda: all(state(program.pid, tid) == "S" for tid in tids), "all threads at rest")
            truth = {tid: schedstat(program.pid, tid) for tid in tids}
            looking.process.terminate()
            assert looking.end() == 0
        assert {tid: schedstat(program.pid, tid) for tid in tids} == truth
        program.say("end")
        assert program.end() == 0
    last = last_rows(read(path), "threads", "tid")
    assert {tid: (row["run_ns"], row["wait_ns"], row["slices"]) for tid, row in last.items()} == truth
    spinners = [values for tid, values in truth.items() if tid != program.pid]
    assert len(spinners) == 4
    # On one core, three of four wait at any time: more than a thread runs itself.
    assert all(wait_ns > run_ns for run_ns, wait_ns, _ in spinners)


SHORT_LIVES = """
import json, os, random, sys, time
random.seed(5)
lives = [random.uniform(0, 0.3) for _ in range(500)]
log = open(sys.argv[1], "a", buffering=1)
alive = {}
def reap():
    pid, status = os.wait()
    number, born = alive.pop(pid)
    log.write(json.dumps([pid, number, born, time.monotonic_ns(), status]) + "\\n")
for number, life in enumerate(lives):
    while len(alive) >= 25:
        reap()
    born = time.monotonic_ns()
    pid = os.fork()
    if not pid:
        time.sleep(life)
        os._exit(number % 200)
    alive[pid] = (number, born)
while alive:
    reap()
"""


def test_none_of_500_short_lived_processes_is_lost_that_outlived_a_look(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done, recording = record(tmp_path / "r.corelens", python(SHORT_LIVES, log), "--budget", "0")
    assert done.returncode == 0, done.stderr
    lives = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lives) == 500
    born = {line["pid"]: line for line in recording.lines("process.born")}
    died = {line["pid"]: line for line in recording.lines("process.died")}
    # A tick, or longer where the machine kept the recorder from looking.
    longest_gap_ns = max(line["longest_gap_ns"] for line in recording.lines("self"))
    lost = [reaped_ns - forked_ns for pid, _, forked_ns, reaped_ns, _ in lives if pid not in born]
    assert max(lost, default=0) <= longest_gap_ns
    assert len(born) > 50
    assert born.keys() == died.keys()
    for pid, number, forked_ns, _, status in lives:
        if pid in born:
            line = died[pid]
            assert line["t_ns"] + recording.header["t0_monotonic_ns"] > forked_ns
            assert os.WEXITSTATUS(status) == number % 200
            assert line["exit_code"] in (number % 200, None)
    seen = [died[pid]["exit_code"] for pid, *_ in lives if pid in born and died[pid]["how"] == "pidfd"]
    assert len(seen) > 50
    # Since Linux 6.15 the kernel tells the exit code of a process that is reaped already; between a look at
    # the zombie and the end of its reaping there is a moment at which neither source has it.
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15):
        assert seen.count(None) <= len(seen) // 50


def test_a_target_killed_with_9(tmp_path: Path) -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done, recording = record(tmp_path / "r.corelens", python(kill))
    assert done.returncode == 128 + 9
    assert recording.footer is not None
    assert (recording.footer["exit_code"], recording.footer["signal"]) == (None, 9)
    (line,) = recording.lines("process.died")
    assert (line["exit_code"], line["signal"], line["how"]) == (None, 9, "wait")


ORPHAN = (
    TALK
    + """
import os
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.read(read, 1)
        os._exit(0)
    os._exit(0)
os.wait()
say("orphaned")
hear()
os.write(write, b"x")
"""
)


def test_an_orphan_whose_parent_was_never_seen_is_adopted(tmp_path: Path) -> None:
    """The double fork is over long before a look at 1 Hz; the orphan carries the mark of the recording."""
    path = tmp_path / "r.corelens"
    with running([*recorder(path, "-r", "1"), "--", *python(ORPHAN)]) as looking:
        assert looking.hear() == "orphaned"
        wait_until(lambda: has_begun(path) and len(_born(path)) >= 2, "the orphan to be adopted")
        looking.say("end")
        assert looking.end() == 0
    roles = [line["joined_by"] for line in _born(path)]
    assert roles == ["root", "child"]


def _born(path: Path) -> list[dict[str, Any]]:
    return read(path).lines("process.born")
