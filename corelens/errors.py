"""What can go wrong, said once: one class per kind of trouble, each with its exit code.

A message has two halves, what was seen and what to do; the command line prints them as one line.
Codes of a recorded program pass through, so `record` and `replay` return these only for trouble of our own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Documented exit codes of the `corelens` command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    MISSING_EXTRA = 3
    NOT_PERMITTED = 4
    NOTHING_MEASURED = 5
    NOT_COMPARABLE = 6
    OUTPUT_EXISTS = 7
    UNREADABLE = 8
    OUTPUT_FAILED = 9
    GATE_FAILED = 10
    NOT_AS_PREDICTED = 11
    DEADLOCKED = 12
    CANNOT_EXECUTE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "corelens itself failed (a bug: please report it with the traceback)",
    ExitCode.USAGE: "the command line cannot be understood",
    ExitCode.MISSING_EXTRA: "an optional part is not installed; the message names the extra",
    ExitCode.NOT_PERMITTED: "the kernel does not let this user look at that process",
    ExitCode.NOTHING_MEASURED: "there was nothing to measure: no such process, or an empty recording",
    ExitCode.NOT_COMPARABLE: "the recordings did different work; `--anyway` compares them regardless",
    ExitCode.OUTPUT_EXISTS: "the output file exists; `--force` replaces it",
    ExitCode.UNREADABLE: "the file is no recording, or one of a future version",
    ExitCode.OUTPUT_FAILED: "the output cannot be written (disk full, no such folder, read-only)",
    ExitCode.GATE_FAILED: "a budget was exceeded (reserved for `corelens check`)",
    ExitCode.NOT_AS_PREDICTED: "a replay found other threads or another verdict than it must; the messages say where",
    ExitCode.DEADLOCKED: "`record --kill-deadlocked` found that nothing would ever move, and ended the program",
    ExitCode.CANNOT_EXECUTE: "the program to record exists and cannot be executed",
    ExitCode.NOT_FOUND: "the program to record does not exist",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C before a target's own exit code was known",
    ExitCode.BROKEN_PIPE: "whoever read the output went away, as `head` does",
}


class CorelensError(Exception):
    """Trouble that a user can act on: `seen` says what happened, `remedy` what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, seen: str, remedy: str = "") -> None:
        super().__init__(seen, remedy)
        self.seen = seen
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.seen}; {self.remedy}" if self.remedy else self.seen


class UsageError(CorelensError):
    """Options that contradict each other or name something that does not exist."""

    exit_code = ExitCode.USAGE


class MissingExtra(CorelensError):
    """An optional dependency is not installed."""

    exit_code = ExitCode.MISSING_EXTRA

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed", f"install it with: pip install 'corelens[{extra}]'")


class NotPermitted(CorelensError):
    """The kernel refuses to show a process to this user."""

    exit_code = ExitCode.NOT_PERMITTED


class NothingMeasured(CorelensError):
    """No process, no samples, no trials: there is nothing to report."""

    exit_code = ExitCode.NOTHING_MEASURED


class NotComparable(CorelensError):
    """The recordings did different work or ran under different conditions."""

    exit_code = ExitCode.NOT_COMPARABLE


class OutputExists(CorelensError):
    """Refused to overwrite somebody's file."""

    exit_code = ExitCode.OUTPUT_EXISTS

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} exists", "choose another name with -o, or add --force to replace it")


class UnreadableRecording(CorelensError):
    """The file is not a recording, is of a future version, or holds nothing whole."""

    exit_code = ExitCode.UNREADABLE


class OutputFailed(CorelensError):
    """The output could not be written; what was written before stays readable."""

    exit_code = ExitCode.OUTPUT_FAILED


class CannotExecute(CorelensError):
    """The program to record exists and the kernel will not run it."""

    exit_code = ExitCode.CANNOT_EXECUTE


class ProgramNotFound(CorelensError):
    """The program to record is neither a file nor on PATH."""

    exit_code = ExitCode.NOT_FOUND
