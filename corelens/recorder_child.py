"""`corelens.record()`: a program has a part of itself recorded, from outside, by a recorder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from corelens.errors import CorelensError, ExitCode, OutputExists

if TYPE_CHECKING:
    import subprocess

# A loaded machine may take seconds to start an interpreter; this only bounds a recorder that hangs.
_LONGEST_START_S = 60.0
_POLL_S = 0.005
# An attached recorder that is told to end has done all it should.
_GOOD_ENDS = (ExitCode.OK, ExitCode.INTERRUPTED)


class RecorderFailed(CorelensError):
    """The recorder beside this program could not begin, or gave up before it was told to end."""


@contextlib.contextmanager
def record(
    output: str | os.PathLike[str],
    *,
    rate_hz: float = 10.0,
    labels: Mapping[str, str] | None = None,
    force: bool = False,
) -> Generator[Path]:
    """Record this process and its children while the block runs, into the file `output`.

    A recorder is started as a process beside this one (`corelens record -p PID`): it takes no time of this
    interpreter and leaves itself out of what it records. Recording has begun when the block begins, and the
    file is complete when the block has ended, also when the block raised. Marks are not in it: they need a
    program that `corelens record -- CMD` started.

    Raises OutputExists unless `force`, and RecorderFailed with the recorder's own words.
    """
    path = Path(output)
    if path.exists() and not force:
        raise OutputExists(path)
    # What is there must be new, so that its appearance says that recording has begun.
    path.unlink(missing_ok=True)
    with _words() as words:
        recorder = _start(path, rate_hz, labels or {}, words)
        try:
            _wait_until_recording(recorder, path, words)
            yield path
        finally:
            _end(recorder)
        if recorder.returncode not in _GOOD_ENDS:
            raise _failed(words)


def _start(
    path: Path, rate_hz: float, labels: Mapping[str, str], words: IO[bytes]
) -> subprocess.Popen[bytes]:
    import subprocess

    argv = [sys.executable, "-m", "corelens", "record", "--pid", str(os.getpid()), "--output", str(path)]
    argv += ["--rate", f"{rate_hz:g}", "--quiet"]
    argv += [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    # A session of its own: a Ctrl-C at the terminal is for the program, and the recording outlives it.
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words, start_new_session=True
    )


def _wait_until_recording(recorder: subprocess.Popen[bytes], path: Path, words: IO[bytes]) -> None:
    deadline = time.monotonic() + _LONGEST_START_S
    while not (path.exists() and path.stat().st_size):
        if recorder.poll() is not None or time.monotonic() > deadline:
            raise _failed(words)
        time.sleep(_POLL_S)


def _end(recorder: subprocess.Popen[bytes]) -> None:
    if recorder.poll() is None:
        recorder.send_signal(signal.SIGINT)
    recorder.wait()


def _words() -> IO[bytes]:
    import tempfile

    return tempfile.TemporaryFile()


def _failed(words: IO[bytes]) -> RecorderFailed:
    words.seek(0)
    said = words.read().decode(errors="replace").strip().removeprefix("corelens: ")
    return RecorderFailed("the recorder failed", said or "it said nothing")
