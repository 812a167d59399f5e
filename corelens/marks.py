"""Marks: a program says what it is doing, and pays nothing when nobody records.

A recorder that starts a program hands it a spool folder in `CORELENS_SPOOL`; every process appends its marks
to a file of its own there. Without that variable each call returns after one comparison.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Generator
from itertools import count

SPOOL_VARIABLE = "CORELENS_SPOOL"

_spool = os.environ.get(SPOOL_VARIABLE)
_numbers = count(1)


def mark(name: str, **attributes: object) -> None:
    """Record one moment, such as `mark("checkpoint", step=40)`.

    Attributes must be JSON values. A recorder that has gone away costs the program nothing but the attempt.
    """
    if _spool is not None:
        _write(name, "point", None, attributes)


def threads() -> None:
    """Record what the Python threads of this process are called now, so that a report can name them."""
    if _spool is not None:
        names = {str(thread.native_id): _called(thread) for thread in threading.enumerate()}
        _write("threads", "point", None, {"names": names})


def begin(name: str, **attributes: object) -> str | None:
    """Open a span and return its key for `end`; None when nobody records."""
    if _spool is None:
        return None
    key = f"{os.getpid()}.{next(_numbers)}"
    _write(name, "begin", key, attributes)
    return key


def end(name: str, key: str | None, **attributes: object) -> None:
    """Close the span that `begin` opened, from the same process, whichever thread."""
    if _spool is not None and key is not None:
        _write(name, "end", key, attributes)


@contextlib.contextmanager
def span(name: str, **attributes: object) -> Generator[None]:
    """Mark the beginning and the end of a block, also when it raises."""
    key = begin(name, **attributes)
    try:
        yield
    finally:
        end(name, key)


def _called(thread: threading.Thread) -> str:
    """Its name; one that was merely numbered gets its class beside it, as Python does with a target."""
    numbered = thread.name.removeprefix("Thread-").isdecimal() and type(thread) is not threading.Thread
    return f"{thread.name} ({type(thread).__name__})" if numbered else thread.name


def _write(name: str, phase: str, key: str | None, attributes: dict[str, object]) -> None:
    line = {
        "monotonic_ns": time.monotonic_ns(),
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "name": name,
        "phase": phase,
        "span": key,
        "attributes": attributes,
    }
    text = json.dumps(line, separators=(",", ":"), default=str) + "\n"
    # One short append is atomic on Linux, so threads of a process need no lock. A recorder that ended takes
    # its folder along, and that must never disturb the program.
    with contextlib.suppress(OSError):
        _append(f"{_spool}/marks-{os.getpid()}.jsonl", text.encode())


def _append(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
