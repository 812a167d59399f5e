"""The launcher: a held-back child that becomes the program as if nobody had started it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from corelens.errors import CannotExecute, ProgramNotFound
from corelens.probes.launcher import Child, Ended
from corelens.probes.signals import SignalReader
from tests.programs import python, state, wait_until

# The child executes a program before it does anything else, so that threads of other tests are no danger.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)
TELL = """
import json, os, resource, signal, sys
told = {
    "argv": sys.argv[2:],
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "group": os.getpgid(0),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "status": open("/proc/self/status").read(),
}
open(sys.argv[1], "w").write(json.dumps(told))
sys.exit(7)
"""


def nothing() -> None:
    """Nothing to put back."""


def child(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    open_files: tuple[int, int] = LIMITS,
    restore: Callable[[], None] = nothing,
) -> Child:
    environ = dict(os.environ) if environment is None else environment
    return Child(argv, environ, open_files=open_files, restore=restore)


def told(path: Path, started: Child) -> dict[str, Any]:
    started.release()
    assert started.reap().exit_code == 7
    found: dict[str, Any] = json.loads(path.read_text())
    status = dict(line.split(":\t", 1) for line in found.pop("status").splitlines() if ":\t" in line)
    return {**found, "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16)}


def bit(number: signal.Signals) -> int:
    return 1 << (number - 1)


def test_the_program_is_executed_when_it_is_released(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    started = child(python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", proof))
    wait_until(lambda: state(started.pid) == "S", "the child to wait for the word")
    # Still our own program: nothing has been executed.
    assert os.readlink(f"/proc/{started.pid}/exe") == os.readlink("/proc/self/exe")  # noqa: PTH115
    started.release()
    assert started.reap().exit_code == 0
    assert proof.exists()


def test_the_program_gets_its_arguments_its_environment_and_our_place(tmp_path: Path) -> None:
    path = tmp_path / "told"
    command = python(TELL, path, "a b", "", "ü")
    found = told(path, child(command, {"ONLY": "this"}))
    assert found["argv"] == ["a b", "", "ü"]
    assert found["environment"].pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"
    assert found["environment"] == {"ONLY": "this"}
    assert (found["folder"], found["group"]) == (os.getcwd(), os.getpgid(0))  # noqa: PTH109


def test_the_program_inherits_none_of_our_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "told"
    inherited = {
        int(name)
        for name in os.listdir("/proc/self/fd")  # noqa: PTH208
        if Path(f"/proc/self/fd/{name}").exists() and os.get_inheritable(int(name))
    }
    found = {int(name) for name in told(path, child(python(TELL, path)))["descriptors"]}
    # One more is the folder that it lists itself.
    assert len(found) == len(inherited) + 1


def test_the_limit_of_open_files_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "told"
    lower = (min(LIMITS[0], 300), LIMITS[1])
    assert tuple(told(path, child(python(TELL, path), open_files=lower))["files"]) == lower


def test_what_python_ignores_is_not_ignored_in_the_program(tmp_path: Path) -> None:
    path = tmp_path / "told"
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    shell = ["sh", "-c", 'grep -E "^Sig(Ign|Blk)" /proc/self/status >"$0"', str(path)]
    started = child(shell)
    started.release()
    assert started.reap().exit_code == 0
    ignored = int(path.read_text().split("SigIgn:\t")[1].split()[0], 16)
    assert ignored & (bit(signal.SIGPIPE) | bit(signal.SIGXFSZ)) == 0


def test_the_signals_that_we_block_are_not_blocked_in_the_program(tmp_path: Path) -> None:
    path = tmp_path / "told"
    signals = SignalReader({signal.SIGUSR1})
    try:
        assert told(path, child(python(TELL, path), restore=signals.restore))["blocked"] == 0
        # Without the restoring, it would be.
        assert told(path, child(python(TELL, path)))["blocked"] == bit(signal.SIGUSR1)
    finally:
        signals.close()


def test_an_interrupt_while_it_waits_ends_the_child() -> None:
    """Pending until the mask is restored, and then no KeyboardInterrupt of our own program."""
    signals = SignalReader({signal.SIGINT})
    try:
        started = child(python(""), restore=signals.restore)
        os.kill(started.pid, signal.SIGINT)
        started.release()
        assert started.reap().signal == signal.SIGINT
    finally:
        signals.close()


def test_an_abandoned_child_executes_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    started = child(["touch", str(proof)])
    started.abandon()
    assert started.ended is not None
    assert started.ended.exit_code == 0
    started.abandon()
    assert not proof.exists()


def test_abandoning_a_released_child_lets_it_run() -> None:
    started = child(python("import sys; sys.exit(3)"))
    started.release()
    started.abandon()
    assert started.reap().exit_code == 3


def test_a_child_whose_recorder_is_gone_executes_nothing(tmp_path: Path) -> None:
    """The pipe that gives the word closes with the recorder, without a word."""
    proof = tmp_path / "proof"
    source = (
        "import os, sys\nfrom corelens.probes.launcher import Child\n"
        f"held = Child(['touch', {str(proof)!r}], dict(os.environ), open_files={LIMITS}, restore=lambda: None)\n"
        "print(held.pid, flush=True)\nos._exit(0)\n"
    )
    read, write = os.pipe()
    recorder = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", source],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    os.waitpid(recorder, 0)
    with os.fdopen(read) as words:
        pid = int(words.readline())
        wait_until(lambda: state(pid) in "XZ", "the child to end")
    assert not proof.exists()


# what cannot be executed


def failing(argv: Sequence[str], **environment: str) -> Child:
    return child(argv, {"PATH": os.environ["PATH"], **environment})


@pytest.mark.parametrize(
    ("program", "words"),
    [("no-such-program-anywhere", "it is not on PATH"), ("/no/such/program", "no such file")],
)
def test_a_program_that_does_not_exist(program: str, words: str) -> None:
    started = failing([program])
    with pytest.raises(ProgramNotFound, match=words):
        started.release()
    assert started.ended is not None
    assert started.ended.exit_code == 127


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("#!/no/such/interpreter\n", 0o755, "the interpreter in its first line does not exist"),
        ("#!/bin/sh\n", 0o644, r"Permission denied; make it executable with chmod \+x"),
        ("", 0o755, "Exec format error; name its interpreter before it"),
    ],
)
def test_a_file_that_the_kernel_does_not_execute(tmp_path: Path, text: str, mode: int, words: str) -> None:
    file = tmp_path / "program"
    file.write_text(text)
    file.chmod(mode)
    started = failing([str(file)])
    with pytest.raises(CannotExecute, match=words):
        started.release()
    assert state(started.pid) == "X"


def test_a_folder_is_no_program(tmp_path: Path) -> None:
    started = failing([str(tmp_path)])
    with pytest.raises(CannotExecute, match="it is a folder; name a program in it"):
        started.release()


def test_arguments_that_are_too_long() -> None:
    started = failing(["true", "x" * (1 << 20)])
    with pytest.raises(CannotExecute, match="too long; shorten its arguments or its environment"):
        started.release()


# how it ended


def test_it_is_reaped_once_and_its_use_is_known() -> None:
    source = "import time\nwhile time.process_time() < 0.05: pass\nbytearray(20_000_000)"
    started = child(python(source))
    started.release()
    ended = started.reap()
    assert started.reap() is ended
    assert ended.user_ns + ended.system_ns >= 50_000_000
    assert ended.max_rss_bytes > 20_000_000


@pytest.mark.parametrize(
    ("status", "exit_code", "number", "shell_code"),
    [(0, 0, None, 0), (3 << 8, 3, None, 3), (9, None, 9, 137), (11 | 0x80, None, 11, 139)],
)
def test_statuses_as_a_shell_tells_them(
    status: int, exit_code: int | None, number: int | None, shell_code: int
) -> None:
    ended = Ended(status, 0, 0, 0)
    assert (ended.exit_code, ended.signal, ended.shell_code) == (exit_code, number, shell_code)
