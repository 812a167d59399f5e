"""py-spy as a short-lived child: found, started, polled, and never left behind.

It is started in a session of its own, so that a Ctrl-C at the terminal is not for it, with an empty
environment, so that it can never be taken for a part of the recorded program, and with the order to die with
us, so that a recorder killed with -9 leaves none. What it prints goes to memory, not to files.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, Protocol

from corelens.probes import pidfd

How = Literal["dump", "active", "gil"]

# A dump of 2,600 Python threads is 5 MB of JSON.
LARGEST_OUTPUT_BYTES = 32 << 20
_WORDS_BYTES = 4096
_PR_SET_PDEATHSIG = 1
_RESULT = 3
_ENVIRONMENT = {"RUST_BACKTRACE": "0"}


@dataclass(frozen=True, slots=True)
class Job:
    """One run of py-spy on one process.

    A `dump` shows every Python thread once. The others take samples for `seconds`: `active` of the threads
    that are not idle, `gil` of the one that holds the interpreter lock.
    """

    pid: int
    how: How
    rate_hz: int | None = None
    seconds: int | None = None
    blocking: bool = False

    def arguments(self) -> list[str]:
        """Arguments of py-spy; samples are written to descriptor 3."""
        pause = [] if self.blocking else ["--nonblocking"]
        if self.how == "dump":
            return ["dump", "--json", *pause, "--pid", str(self.pid)]
        only = ["--gil"] if self.how == "gil" else []
        return [
            "record", "--format", "raw", "--threads", "--full-filenames", *only, *pause,
            "--rate", str(self.rate_hz), "--duration", str(self.seconds),
            "--output", f"/proc/self/fd/{_RESULT}", "--pid", str(self.pid),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its output, its last words, and what it used."""

    ok: bool
    output: bytes
    words: str
    cpu_ns: int


class Run(Protocol):
    """A run under way."""

    def cpu_ns(self) -> int:
        """CPU that it used so far; what was last known once it has ended."""
        ...

    def poll(self, timeout_s: float = 0) -> Ended | None:
        """How it ended; None while it works, after waiting for that long at most."""
        ...

    def interrupt(self) -> None:
        """Have it write what it has and end."""
        ...

    def kill(self) -> int:
        """End it at once; returns the CPU it used."""
        ...


Start = Callable[[Sequence[str]], Run]


def find() -> Path | None:
    """py-spy of the recorder's own installation, else the one on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("py-spy")
    return Path(found) if found is not None else None


class Child:
    """py-spy, or what stands in for it, as a child process. Raises OSError when it cannot be started."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._cpu_ns = 0
        self._ended: Ended | None = None
        with contextlib.ExitStack() as opened:
            self._output = os.memfd_create("corelens-stacks")
            opened.callback(os.close, self._output)
            self._words = os.memfd_create("corelens-words")
            opened.callback(os.close, self._words)
            self.pid = _start(argv, self._output, self._words)
            self._handle = pidfd.open_pidfd(self.pid)
            if self._handle is not None:
                opened.callback(os.close, self._handle)
            self._opened = opened.pop_all()

    def cpu_ns(self) -> int:
        """Read the CPU clock of the child, which works until it was reaped."""
        if self._ended is None:
            with contextlib.suppress(OSError):
                self._cpu_ns = max(self._cpu_ns, time.clock_gettime_ns(pidfd.cpu_clock(self.pid)))
        return self._cpu_ns

    def poll(self, timeout_s: float = 0) -> Ended | None:
        """Reap the child if it has ended, waiting for that at most so long."""
        if self._ended is None:
            if timeout_s:
                self._wait(timeout_s)
            self.cpu_ns()
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._ended = self._reaped(status, usage)
        return self._ended

    def interrupt(self) -> None:
        """Send it a SIGINT, on which it writes what it has."""
        if self._ended is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)

    def kill(self) -> int:
        """Kill and reap it; SIGKILL cannot be held up, so this waits."""
        if self._ended is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self.pid, 0)
            self._ended = self._reaped(status, usage)
        return self._ended.cpu_ns

    def _wait(self, timeout_s: float) -> None:
        if self._handle is None:
            deadline = time.monotonic() + timeout_s
            while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if time.monotonic() >= deadline:
                    return
                time.sleep(0.005)
            return
        watch = select.poll()
        watch.register(self._handle, select.POLLIN)
        watch.poll(timeout_s * 1000)

    def _reaped(self, status: int, usage: resource.struct_rusage) -> Ended:
        # rusage counts from the fork, as the CPU clock does; the larger one has the finer grain.
        self._cpu_ns = max(self._cpu_ns, round((usage.ru_utime + usage.ru_stime) * 1e9))
        output = os.pread(self._output, LARGEST_OUTPUT_BYTES, 0)
        words = os.pread(self._words, _WORDS_BYTES, 0).decode(errors="replace")
        self._opened.close()
        return Ended(status == 0, output, words, self._cpu_ns)


def starter(executable: Path) -> Start:
    """Start that executable with the given arguments."""
    return lambda arguments: Child([str(executable), *arguments])


def _start(argv: Sequence[str], output: int, words: int) -> int:
    library = ctypes.CDLL(None)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(list(argv), output, words, parent, library)
    return pid


def _become(argv: list[str], output: int, words: int, parent: int, library: ctypes.CDLL) -> NoReturn:
    """Runs in the child and never returns."""
    try:
        os.setsid()
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # It died before the order was given.
            os._exit(127)
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Out of the way of the numbers they get: the recorder may have been started with closed streams.
        output, words, nothing = (
            fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _RESULT + 1)
            for each in (output, words, os.open(os.devnull, os.O_RDWR))
        )
        os.dup2(nothing, 0)
        # A recording py-spy talks on its output, so that what it records goes elsewhere.
        os.dup2(output if argv[1] == "dump" else nothing, 1)
        os.dup2(words, 2)
        os.dup2(output, _RESULT)
        os.execve(argv[0], argv, _ENVIRONMENT)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}".encode())
    finally:
        os._exit(127)
