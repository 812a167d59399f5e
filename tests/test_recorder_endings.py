"""How recordings end: kills, signals, a full disk, a deadline; and what the program notices of it."""

from __future__ import annotations

import os
import pty
import random
import resource
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from corelens.recording import read
from tests.programs import (
    BURN,
    TALK,
    has_begun,
    python,
    record,
    recorder,
    running,
    schedstat,
    state,
    wait_until,
)

SECOND_NS = 1_000_000_000

BUSY = (
    TALK
    + "import threading\nsay('ready')\nthreading.Thread(target=hear).start()\n"
    + "while threading.active_count() > 1: sum(range(1000))\n"
)


def test_a_recorder_killed_at_any_moment_loses_at_most_a_second(tmp_path: Path) -> None:
    """Twenty recorders of one program are killed at random moments of their first two seconds."""
    chance = random.Random(11)
    with running(python(BUSY)) as program:
        assert program.hear() == "ready"
        for batch in range(4):
            paths = [tmp_path / f"{batch}-{number}.corelens" for number in range(5)]
            recorders = [subprocess.Popen([*recorder(path, "-q"), "-p", str(program.pid)]) for path in paths]
            for path in paths:
                wait_until(lambda path=path: has_begun(path), "the first round")
            for at_s, path, killed in sorted(
                (chance.uniform(0, 2), path, each) for path, each in zip(paths, recorders, strict=True)
            ):
                _kill_at(killed, path, at_s)
        program.end()
    assert len(list(tmp_path.glob("*.corelens"))) == 20


def _kill_at(killed: subprocess.Popen[bytes], path: Path, at_s: float) -> None:
    began_ns = read(path).header["t0_monotonic_ns"]
    time.sleep(max(0.0, at_s - (time.monotonic_ns() - began_ns) / 1e9))
    # A recorder that had no core, or worked, could not write; nobody can ask more of it.
    run_ns, wait_ns, _ = schedstat(killed.pid, killed.pid)
    moment_ns = time.monotonic_ns() - began_ns
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    recording = read(path)
    assert recording.footer is None
    assert recording.missing_chunks == 0
    lost_ns = moment_ns - recording.last_ns
    assert lost_ns <= SECOND_NS + run_ns + wait_ns + 100_000_000


def test_a_program_outlives_its_killed_recorder(tmp_path: Path) -> None:
    path, proof = tmp_path / "r.corelens", tmp_path / "proof"
    source = TALK + "import pathlib\nsay('ready')\nhear()\npathlib.Path(sys.argv[1]).write_text('lived')\n"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with running([*recorder(path), "--", *python(source, proof)], env=environment) as looking:
        assert looking.hear() == "ready"
        wait_until(lambda: has_begun(path), "the first round")
        target = read(path).header["target"]["pid"]
        looking.process.kill()
        looking.process.wait()
        assert state(target) != "X"
        looking.say("go on")
        wait_until(lambda: proof.exists() and proof.read_text() == "lived", "the program to go on")
    wait_until(lambda: state(target) in "XZ", "the program to end")


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, resource.RLIM_INFINITY))


# Raising the limit again is the program's affair; a recorder cannot.
GOES_ON = (
    BURN
    + """
import pathlib, random, resource, sys, threading
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for number in range(40):
    thread = threading.Thread(target=burn, args=[0.04], name=f"{random.random()}"[2:15])
    thread.start()
    thread.join()
pathlib.Path(sys.argv[1]).write_text("done")
sys.exit(3)
"""
)


def test_a_file_that_cannot_grow_does_not_end_the_program(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    done, recording = record(
        tmp_path / "r.corelens", python(GOES_ON, proof), "-r", "50", preexec_fn=_small_files
    )
    assert done.returncode == 9
    assert proof.read_text() == "done"
    first = done.stderr.splitlines()[0]
    assert "cannot write" in first
    assert "the program runs on unrecorded" in first
    assert recording.damage == ()
    assert len(recording.lines("process.born")) >= 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_does_not_end_the_program(tmp_path: Path) -> None:
    small, proof = tmp_path / "small", tmp_path / "proof"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(small)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs root that may mount: {mounted.stderr.strip()}")
    try:
        done, recording = record(small / "r.corelens", python(GOES_ON, proof), "-r", "50")
        assert done.returncode == 9
        assert "No space left on device" in done.stderr
        assert proof.read_text() == "done"
        assert recording.damage == ()
        assert len(recording.lines("process.born")) >= 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


COUNT_SIGNALS = (
    TALK
    + """
import signal
counts = {"INT": 0, "USR1": 0}
def count(number, frame):
    counts[signal.Signals(number).name[3:]] += 1
signal.signal(signal.SIGINT, count)
signal.signal(signal.SIGUSR1, count)
say("ready")
while not counts["USR1"]:
    signal.pause()
say(counts["INT"], counts["USR1"])
sys.exit(5)
"""
)


def test_signals_sent_to_the_recorder_alone_reach_the_program_once(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running([*recorder(path, "-q"), "--", *python(COUNT_SIGNALS)], start_new_session=True) as looking:
        assert looking.hear() == "ready"
        looking.process.send_signal(signal.SIGINT)
        looking.process.send_signal(signal.SIGUSR1)
        assert looking.hear() == "1 1"
        assert looking.end() == 5
    footer = read(path).footer
    assert footer is not None
    assert (footer["reason"], footer["exit_code"]) == ("target-ended", 5)


def test_ctrl_c_at_a_terminal_reaches_the_program_once(tmp_path: Path) -> None:
    """The terminal interrupts both of them; the recorder must not pass its own on."""
    path = tmp_path / "r.corelens"
    pid, terminal = pty.fork()
    if pid == 0:
        command = [*recorder(path, "-q"), "--", *python(COUNT_SIGNALS)]
        os.execv(command[0], command)
    try:
        assert _words_until(terminal, "ready")
        os.write(terminal, b"\x03")
        # Handled in the order they came: a passed-on interrupt would arrive before this.
        os.kill(pid, signal.SIGUSR1)
        assert _words_until(terminal, "1 1")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    finally:
        os.close(terminal)
    assert read(path).footer is not None


def _words_until(terminal: int, words: str, timeout_s: float = 60) -> bool:
    text = ""
    while words not in text:
        ready, _, _ = select.select([terminal], [], [], timeout_s)
        if not ready:
            raise AssertionError(f"waited in vain for {words!r}, saw {text!r}")
        text += os.read(terminal, 1000).decode()
    return True


STUBBORN = (
    TALK
    + """
import signal, threading
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: say("no"))
say("ready")
while True:
    signal.pause()
"""
)


def test_a_second_interrupt_ends_the_recording_without_the_program(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running([*recorder(path), "--", *python(STUBBORN)], stderr=subprocess.PIPE) as looking:
        assert looking.hear() == "ready"
        wait_until(lambda: has_begun(path), "the first round")
        target = read(path).header["target"]["pid"]
        looking.process.send_signal(signal.SIGINT)
        assert looking.hear() == "no"
        looking.process.send_signal(signal.SIGTERM)
        assert looking.hear() == "no"
        assert looking.process.wait(60) == 130
        assert state(target) != "X"
        os.kill(target, signal.SIGKILL)
        assert looking.process.stderr is not None
        assert "is still running" in looking.process.stderr.read()
    footer = read(path).footer
    assert footer is not None
    assert (footer["reason"], footer["exit_code"], footer["user_ns"]) == ("interrupted", None, None)
    wait_until(lambda: state(target) in "XZ", "the program to end")


def test_a_duration_ends_the_recording_and_not_the_program(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    source = TALK + "say('ready')\nhear()\nsys.exit(6)\n"
    with running([*recorder(path, "-q", "-d", "0.2"), "--", *python(source)]) as looking:
        assert looking.hear() == "ready"
        wait_until(lambda: has_begun(path) and read(path).footer is not None, "the recording to end")
        looking.say("end")
        assert looking.end() == 6
    footer = read(path).footer
    assert footer is not None
    assert (footer["reason"], footer["exit_code"]) == ("duration", None)


def test_a_supervised_program_still_gets_signals(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running([*recorder(path, "-q", "-d", "0.2"), "--", *python(COUNT_SIGNALS)]) as looking:
        assert looking.hear() == "ready"
        wait_until(lambda: has_begun(path) and read(path).footer is not None, "the recording to end")
        looking.process.send_signal(signal.SIGUSR1)
        assert looking.hear() == "0 1"
        assert looking.end() == 5


def test_interrupting_an_attached_recorder_leaves_the_program_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running(python(COUNT_SIGNALS)) as program:
        assert program.hear() == "ready"
        with running(recorder(path, "-q", "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path), "the first round")
            looking.process.send_signal(signal.SIGINT)
            assert looking.process.wait(60) == 0
        program.process.send_signal(signal.SIGUSR1)
        assert program.hear() == "0 1"
        assert program.end() == 5
    footer = read(path).footer
    assert footer is not None
    assert footer["reason"] == "interrupted"


def test_stopping_and_continuing_the_job(tmp_path: Path) -> None:
    """As a shell does on Ctrl-Z: both stop; as `kill -CONT` of the recorder alone: both go on."""
    path = tmp_path / "r.corelens"
    source = TALK + "say('ready')\nhear()\nsys.exit(0)\n"
    with running([*recorder(path, "-q"), "--", *python(source)], start_new_session=True) as looking:
        assert looking.hear() == "ready"
        wait_until(lambda: has_begun(path), "the first round")
        target = read(path).header["target"]["pid"]
        looking.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: state(looking.pid) == "T", "the recorder to stop")
        looking.process.send_signal(signal.SIGCONT)
        wait_until(lambda: state(looking.pid) != "T" and state(target) != "T", "both to go on")
        looking.say("end")
        assert looking.end() == 0
