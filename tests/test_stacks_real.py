"""Python stacks of real programs: right names and functions, nothing left behind, nothing stopped."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from corelens.errors import ExitCode
from corelens.probes import pyspy
from corelens.recording import Recording, read
from corelens.reports.facts import processes
from corelens.reports.facts.stack_samples import StacksByThread, python_names, stack_samples
from corelens.reports.facts.summary import summarise
from tests.programs import BURN, TALK, has_begun, python, recorder, running, state, wait_until

SECOND_NS = 1_000_000_000
OTHER_PYTHONS = [
    found
    for version in ("3.10", "3.12", "3.13", "3.14", "3.15")
    for found in sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))[:1]
]

# Says "ready" when each thread is where it shall be seen.
NAMED_THREADS = (
    TALK
    + """
import threading
there = [threading.Event() for _ in range(3)]
stop = threading.Event()
def compute_forever(event):
    event.set()
    while not stop.is_set():
        sum(range(1000))
def wait_for_the_end(event):
    event.set()
    stop.wait()
threads = [
    threading.Thread(target=compute_forever, args=[there[0]], name="calculator-1"),
    threading.Thread(target=wait_for_the_end, args=[there[1]], name="sleeper"),
    threading.Thread(target=wait_for_the_end, args=[there[2]], name="sleeper; (odd) name"),
]
for thread in threads:
    thread.start()
for event in there:
    event.wait()
say("ready", *(thread.native_id for thread in threads))
hear()
stop.set()
"""
)


def looks(path: Path, how: str) -> int:
    """How many good looks of one kind a recording holds so far."""
    return sum(line["how"] == how and line["failed"] is None for line in read(path).lines("stacks.looks"))


def py_spy_of(recorder_pid: int, command: str) -> dict[int, list[bytes]]:
    """Processes in which a recorder runs a command of py-spy, with their command lines."""
    children = Path(f"/proc/{recorder_pid}/task/{recorder_pid}/children").read_text().split()
    lines = {int(pid): command_line(pid) for pid in children}
    return {pid: words for pid, words in lines.items() if words[1:2] == [command.encode()]}


def sampling_of(recorder_pid: int) -> dict[int, list[bytes]]:
    """Wait until a recorder takes samples; its processes of py-spy that do."""
    found: dict[int, list[bytes]] = {}

    def has_begun_to_sample() -> bool:
        found.update(py_spy_of(recorder_pid, "record"))
        return bool(found)

    wait_until(has_begun_to_sample, "samples to be taken")
    return found


def command_line(pid: str) -> list[bytes]:
    """Words of a command line; none when the process has ended, as a short run of py-spy may have."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def recorded(path: Path, interpreter: list[str], *flags: str) -> tuple[Recording, list[int]]:
    """Record the named threads until they were dumped and sampled; returns the ids of the threads too.

    How many samples a look gives depends on how much else the machine has to do.
    """
    with running([*interpreter, *python(NAMED_THREADS)[-2:]]) as program:
        word, *tids = program.hear().split()
        assert word == "ready"
        with running(recorder(path, "-q", *flags, "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path) and looks(path, "dump") >= 1, "a dump")
            sampling = sampling_of(looking.pid)
            assert all(b"--nonblocking" in words for words in sampling.values())
            # Samples under way are taken when the recording ends.
            began_ns = read(path).last_ns
            wait_until(lambda: read(path).last_ns > began_ns + 2 * SECOND_NS, "some samples")
            looking.process.send_signal(signal.SIGTERM)
            assert looking.process.wait(60) == 0
        assert state(program.pid) != "T"
        program.end()
    return read(path), [int(tid) for tid in tids]


def test_names_and_functions_are_right(tmp_path: Path) -> None:
    # Without a budget a dump on a busy machine is paid off sooner.
    recording, (busy, sleeper, odd) = recorded(tmp_path / "r.corelens", python("")[:1], "--budget", "0")
    lives = processes.lives(recording)
    names = python_names(recording, lives)
    assert names.at(lives.root, busy, 0) == "calculator-1"
    assert names.at(lives.root, sleeper, 0) == "sleeper"
    assert names.at(lives.root, odd, 0) == "sleeper; (odd) name"
    assert names.at(lives.root, lives.root.pid, 0) == "MainThread"

    dumps = StacksByThread(stack_samples(recording, lives))
    within_ns = recording.last_ns
    for tid in (sleeper, odd):
        waiting = dumps.stack_of(tid, 0, within_ns)
        assert waiting is not None
        assert waiting.active is False
        functions = [frame.function.rpartition(".")[2] for frame in waiting.frames]
        assert functions[-3:] == ["wait_for_the_end", "wait", "wait"]

    report = summarise(recording)
    assert report.stacks is not None
    top = report.stacks.functions[0]
    assert (top.role, top.function, top.file) == ("main", "compute_forever", "<string>")
    assert top.samples >= 1
    assert top.high_share >= top.seen_share >= 0.8
    assert {fold.threads for fold in report.stacks.folded if fold.state == "active"} == {"calculator-#"}
    assert any(line["how"] == "active" for line in recording.lines("stacks.looks"))


@pytest.mark.skipif(not OTHER_PYTHONS, reason="needs Python of another version")
@pytest.mark.parametrize("interpreter", OTHER_PYTHONS, ids=lambda path: path.parent.parent.name)
def test_other_versions_of_python(tmp_path: Path, interpreter: Path) -> None:
    recording, (busy, sleeper, _) = recorded(tmp_path / "r.corelens", [str(interpreter)], "--budget", "0")
    lives = processes.lives(recording)
    names = python_names(recording, lives)
    assert (names.at(lives.root, busy, 0), names.at(lives.root, sleeper, 0)) == ("calculator-1", "sleeper")
    dumps = StacksByThread(stack_samples(recording, lives))
    working = dumps.stack_of(busy, 0, recording.last_ns)
    assert working is not None
    assert working.frames[-1].function == "compute_forever"


def test_the_looks_are_no_part_of_the_recorded_tree(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    source = BURN + TALK + "burn(1)\nsay('burnt')\nhear()\n"
    with running([*recorder(path, "-q"), "--", *python(source)]) as looking:
        assert looking.hear() == "burnt"
        wait_until(lambda: has_begun(path) and looks(path, "dump") >= 1, "a dump")
        looking.say("end")
        assert looking.end() == 0
    recording = read(path)
    assert {line["pid"] for line in recording.lines("process.born")} == {recording.header["target"]["pid"]}
    footer, last = recording.footer, recording.lines("self")[-1]
    assert footer is not None
    spent_ns = sum(line["cpu_ns"] for line in recording.lines("stacks.looks"))
    assert last["cpu_by_probe_ns"]["stacks"] >= spent_ns > 0
    # The program, a child of the recorder too, must not be billed: beside its probes the recorder only starts.
    billed_ns = sum(last["cpu_by_probe_ns"].values())
    assert (
        billed_ns
        <= footer["own_cpu_ns"]
        < billed_ns + SECOND_NS
        <= billed_ns + footer["user_ns"] + footer["system_ns"]
    )


def stand_in(folder: Path, text: str) -> dict[str, str]:
    """Environment in which a script stands for py-spy, and the recorder has none of its own."""
    script = folder / "py-spy"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_the_installed_py_spy_is_found_and_another_on_path_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pyspy.find()
    assert found is not None
    assert found.name == "py-spy"
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.setenv("PATH", stand_in(tmp_path, "")["PATH"])
    assert pyspy.find() == tmp_path / "py-spy"
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert pyspy.find() is None


def test_a_child_gives_its_output_and_its_cost(tmp_path: Path) -> None:
    stand_in(tmp_path, 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo "$@"; echo oh >&2; exit ${1#x}')
    run = pyspy.starter(tmp_path / "py-spy")(["dump", "3"])
    ended = run.poll(60)
    assert ended is not None
    assert not ended.ok
    run = pyspy.starter(tmp_path / "py-spy")(["x0"])
    ended = run.poll(60)
    assert ended is not None
    assert (ended.ok, ended.output, ended.words) == (True, b"", "oh\n")
    assert ended.cpu_ns > 0
    assert run.kill() == ended.cpu_ns


def test_a_child_is_born_deaf_to_the_terminal_with_an_empty_environment(tmp_path: Path) -> None:
    stand_in(
        tmp_path,
        "cut -d' ' -f6 /proc/$$/stat; cat /proc/$$/environ | tr '\\0' '\\n'; grep SigBlk /proc/self/status",
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        run = pyspy.starter(tmp_path / "py-spy")(["dump"])
        ended = run.poll(60)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert ended is not None
    session, *environment, blocked = ended.output.decode().split("\n")[:-1]
    assert int(session) != os.getsid(0)
    assert environment == ["RUST_BACKTRACE=0"]
    assert int(blocked.split()[1], 16) == 0


def test_a_child_that_cannot_be_executed_fails_with_the_reason(tmp_path: Path) -> None:
    run = pyspy.starter(tmp_path / "none")(["dump"])
    ended = run.poll(60)
    assert ended is not None
    assert not ended.ok
    assert ended.words.endswith("none: No such file or directory")


def test_a_hanging_child_can_be_killed(tmp_path: Path) -> None:
    stand_in(tmp_path, "echo begun; exec sleep 600")
    run = pyspy.starter(tmp_path / "py-spy")(["dump"])
    assert run.poll() is None
    assert run.kill() > 0
    ended = run.poll()
    assert ended is not None
    assert not ended.ok


def test_a_recorder_killed_with_9_leaves_no_py_spy(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running(python(NAMED_THREADS)) as program:
        assert program.hear().startswith("ready")
        command = recorder(path, "-q", "--budget", "0", "-p", str(program.pid))
        with running(command) as looking:
            (sampling,) = sampling_of(looking.pid)
            looking.process.kill()
            looking.process.wait()
        wait_until(lambda: state(sampling) in "XZ", "py-spy to die")
        program.end()
    assert read(path).footer is None


def test_without_py_spy_the_recording_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    # A link to the interpreter in an empty folder has no py-spy beside it; its packages are named.
    link = tmp_path / "python"
    link.symlink_to(Path(sys.executable).resolve())
    packages = [entry for entry in sys.path if entry]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages), "PATH": str(tmp_path)}
    done = subprocess.run(
        [str(link), "-m", "corelens", "record", "-q", "-o", str(path), "--", *python("")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (gap,) = [line for line in read(path).lines("gap") if line["probe"] == "stacks"]
    assert "pip install py-spy" in gap["detail"]
    assert not read(path).lines("stacks.looks")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root to give a capability up"
)
def test_without_the_right_to_read_memory_the_recording_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    # Root without it may not look into a process that has it.
    without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    with running(python(NAMED_THREADS)) as program:
        assert program.hear().startswith("ready")
        command = [*without, *recorder(path, "-q", "-d", "0.6", "-p", str(program.pid))]
        subprocess.run(command, check=True, timeout=120)
        program.end()
    (gap,) = [line for line in read(path).lines("gap") if line["probe"] == "stacks"]
    assert (gap["reason"], gap["what"]) == ("forbidden", "Python stacks")
    assert "run as its user or as root" in gap["detail"]


def test_stacks_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    done = subprocess.run([*recorder(path, "-q", "--no-stacks"), "--", *python("")], timeout=120, check=True)
    assert done.returncode == 0
    recording = read(path)
    assert "stacks" not in recording.header["periods_ns"]
    assert summarise(recording).stacks is None


def test_blocking_stacks_warn_what_they_cost(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    command = [*recorder(path, "-q", "--blocking-stacks"), "--", *python("sum(range(4000000))")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert "stops" in warning
    assert "slower" in warning


@pytest.mark.parametrize(
    "flags",
    [("--no-stacks", "--blocking-stacks"), ("--no-stacks", "--stacks-rate", "5"), ("--stacks-rate", "0"),
     ("--stacks-rate", "nan"), ("--stacks-rate", "101")],
)  # fmt: skip
def test_flags_that_make_no_sense(tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*recorder(tmp_path / "r.corelens", *flags), "--", "true"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ExitCode.USAGE
    assert "stacks" in done.stderr
