"""Tiny programs that do known things, and the ways to start, record and talk to them.

A program that a test must look at says a word on stdout and waits for one on stdin; nobody guesses how long
anything takes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corelens.recording import Recording, read

PYTHON = sys.executable
RECORD = (PYTHON, "-m", "corelens", "record")

BURN = """
import time
def burn(seconds):
    begun = time.thread_time()
    while time.thread_time() - begun < seconds:
        sum(range(2000))
"""

TALK = """
import sys
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
"""

WAITING_THREADS = (
    TALK
    + """
import threading
stop = threading.Event()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=stop.wait).start()
say("ready")
hear()
stop.set()
"""
)

# Hashing lets go of the interpreter lock, so that the threads fight for cores and not for it.
SPINNING_THREADS = (
    TALK
    + """
import hashlib, os, threading, time
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
block = bytes(1 << 20)
stop = threading.Event()
def spin(done):
    while time.thread_time() < 0.15:
        hashlib.sha256(block).digest()
    done.set()
    stop.wait()
say("ready")
hear()
spun = [threading.Event() for _ in range(4)]
for done in spun:
    threading.Thread(target=spin, args=[done]).start()
for done in spun:
    done.wait()
say("spun")
hear()
stop.set()
"""
)


@dataclass(slots=True)
class Program:
    """A started program with pipes to talk to it."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hear(self) -> str:
        """The next line it says; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, word: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self, timeout_s: float = 60) -> int:
        """Close its stdin and wait for it; returns its exit code."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Generator[Program]:
    """Run a command and leave nothing of it behind."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, **options) as process:
        try:
            yield Program(process)
        finally:
            if process.poll() is None:
                process.kill()


def python(source: str, *arguments: object) -> list[str]:
    """Command line of a Python program given as text."""
    return [PYTHON, "-W", "error", "-c", source, *map(str, arguments)]


def recorder(output: Path, *flags: str) -> list[str]:
    """Command line of the recorder up to the command to record."""
    return [*RECORD, "--output", str(output), *flags]


def record(
    output: Path, command: Sequence[str], *flags: str, **options: Any
) -> tuple[subprocess.CompletedProcess[str], Recording]:
    """Record a command to its end; returns how the recorder ended, and what it wrote."""
    done = subprocess.run(
        [*recorder(output, *flags), "--", *command], capture_output=True, text=True, timeout=120, **options
    )
    return done, read(output)


def rows(recording: Recording, kind: str) -> list[dict[str, Any]]:
    """The rows of a columnar kind, each with its t_ns."""
    found: list[dict[str, Any]] = []
    for line in recording.lines(kind):
        names = [name for name, value in line.items() if isinstance(value, list)]
        table = zip(*(line[name] for name in names), strict=True)
        found += [{"t_ns": line["t_ns"], **dict(zip(names, row, strict=True))} for row in table]
    return found


def schedstat(pid: int, tid: int) -> tuple[int, int, int]:
    """The kernel's own counters of one thread: run ns, run-queue wait ns, slices."""
    run, wait, slices = Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()
    return int(run), int(wait), int(slices)


def state(pid: int, tid: int | None = None) -> str:
    """State letter of a process or thread; X when it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{tid or pid}/stat").read_text()
    except OSError:
        return "X"
    return text.rpartition(")")[2].split()[0]


def wait_until(reached: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Wait for a state, not for a time; fails with `what` when it never comes."""
    import time

    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for: {what}")
        os.sched_yield()
        time.sleep(0.002)


def has_begun(output: Path) -> bool:
    """Whether a recorder has written its first round."""
    return output.exists() and output.stat().st_size > 0
