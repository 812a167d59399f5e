"""Starting the program to record: held back until the recorder is ready, executed as if we were not there.

The program keeps our terminal, process group, working folder and standard streams. What this recorder changed
of itself (blocked signals, limit of open files, what Python ignores) is put back before it is executed.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from corelens.errors import CannotExecute, CorelensError, ProgramNotFound

# Python ignores these from its start; a program must find them as a shell would hand them down.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_ERRNO = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its wait status, and what it and the descendants it reaped used."""

    status: int
    user_ns: int
    system_ns: int
    max_rss_bytes: int

    @property
    def exit_code(self) -> int | None:
        """0-255, None when a signal ended it."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    @property
    def signal(self) -> int | None:
        """The signal that ended it, None when it exited."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None

    @property
    def shell_code(self) -> int:
        """The exit code a shell would report: 128 and the signal's number for a killed program."""
        return 128 + os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else os.WEXITSTATUS(self.status)


class Child:
    """A forked process that waits to become the program.

    Call `release` to execute it, or `abandon`; then `reap` once it ended. `restore` is called in the child to
    put back the signal mask.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        open_files: tuple[int, int],
        restore: Callable[[], None],
    ) -> None:
        self.argv = list(argv)
        self.ended: Ended | None = None
        self._released = False
        go_read, self._go = os.pipe()
        self._failure, failure_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._go)
            _become(self.argv, dict(environment), open_files, restore, go_read, failure_write)
        os.close(go_read)
        os.close(failure_write)

    def release(self) -> None:
        """Let the child execute the program and return once it has.

        Raises ProgramNotFound or CannotExecute, and has reaped the child then.
        """
        self._released = True
        os.write(self._go, b"g")
        os.close(self._go)
        failure = os.read(self._failure, _ERRNO.size)
        os.close(self._failure)
        if failure:
            self.reap()
            raise _why(self.argv[0], _ERRNO.unpack(failure)[0])

    def abandon(self) -> None:
        """End the child without executing anything; does nothing once it was released."""
        if not self._released:
            self._released = True
            os.close(self._go)
            os.close(self._failure)
            self.reap()

    def reap(self) -> Ended:
        """Wait for the child, once; later calls return the same."""
        if self.ended is None:
            _, status, usage = os.wait4(self.pid, 0)
            self.ended = Ended(
                status,
                round(usage.ru_utime * 1e9),
                round(usage.ru_stime * 1e9),
                usage.ru_maxrss * 1024,
            )
        return self.ended


def _become(
    argv: list[str],
    environment: dict[str, str],
    open_files: tuple[int, int],
    restore: Callable[[], None],
    go: int,
    failure: int,
) -> NoReturn:
    """Runs in the child: wait for the word, put everything back, execute. Never returns."""
    try:
        if not os.read(go, 1):
            os._exit(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        # A Ctrl-C that came while it waited must end it, not raise KeyboardInterrupt here.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        restore()
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(failure, _ERRNO.pack(error.errno or errno.EIO))
    finally:
        os._exit(127)


def _why(program: str, number: int) -> CorelensError:
    found = shutil.which(program, os.F_OK)
    if number in (errno.ENOENT, errno.ENOTDIR) and found is None:
        where = "no such file" if os.sep in program else "it is not on PATH"
        return ProgramNotFound(f"cannot find {program}: {where}", "name the program after --")
    if os.path.isdir(program):  # noqa: PTH112
        return CannotExecute(f"cannot execute {program}: it is a folder", "name a program in it")
    if number == errno.ENOENT:
        return CannotExecute(f"cannot execute {found}: the interpreter in its first line does not exist")
    remedy = {
        errno.EACCES: "make it executable with chmod +x, or name its interpreter before it",
        errno.EPERM: "make it executable with chmod +x, or name its interpreter before it",
        errno.ENOEXEC: "name its interpreter before it, for example: -- sh FILE",
        errno.E2BIG: "shorten its arguments or its environment",
    }.get(number, "")
    return CannotExecute(f"cannot execute {found or program}: {os.strerror(number)}", remedy)
