"""Runs of other programs, one after the other, that a Ctrl-C ends in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path

from corelens.errors import CorelensError, OutputFailed

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def make_folder(folder: Path) -> None:
    """Make the folder that runs leave their files in; raises OutputFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFailed(
            f"cannot make {folder}: {error.strerror}", "choose another folder with -o DIR"
        ) from error


def ended_well(path: Path, labels: Mapping[str, str]) -> bool:
    """Whether a recording is there of a run that ended well, with the very settings that are asked for now."""
    from corelens.recording import read

    try:
        recording = read(path)
    except CorelensError:
        return False
    whole = recording.footer is not None and recording.footer["exit_code"] == 0
    return whole and recording.header["labels"] == labels


def supervised(argv: list[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run to the end with its output in `log` and give the exit code.

    A first interrupt is handed on and waited for, a second one asks the whole group to end, a third kills it.
    """
    with log.open("wb") as output:
        # A session of its own: a Ctrl-C at the terminal reaches us alone, so the run gets exactly one.
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    interrupts = 0
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            interrupts += 1
            _end(child, interrupts)
        else:
            break
    if interrupts:
        raise KeyboardInterrupt
    return code


@contextlib.contextmanager
def stopped_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP end what runs as Ctrl-C does, so that no run outlives us."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_line(log: Path) -> str:
    """The last thing that a run said, which names the trouble."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("corelens: ") if lines else "it said nothing"


def _end(child: subprocess.Popen[bytes], interrupts: int) -> None:
    if interrupts == 1:
        child.send_signal(signal.SIGINT)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM if interrupts == 2 else signal.SIGKILL)
