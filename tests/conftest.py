"""What every test here owes the next one: it leaves nothing behind, and a skip is never silent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import pytest

# Reasons that depend on the machine and that no installation can mend. Everything else, a missing extra above
# all, fails `make test`.
ALLOWED_SKIPS = ("needs root", "needs gcc", "needs a writable cgroup", "needs the kernel", "needs Python")
# How long what a test has already stopped may take to vanish.
_GRACE_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36
# multiprocessing keeps one per process, for good.
_LASTING_PROCESSES = ("multiprocessing.resource_tracker", "loky.backend.resource_tracker")
# threadpoolctl and joblib set one each when they are imported; pytest moves its own with every phase.
_OTHERS_VARIABLES = frozenset({"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "PYTEST_CURRENT_TEST"})
# pytest-timeout takes it back when a test has failed.
_OTHERS_SIGNALS = frozenset({signal.SIGALRM})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a test could change for those after it."""

    environment: dict[str, str]
    folder: str
    umask: str
    signal_handlers: dict[str, str]
    limits: dict[str, tuple[int, int]]
    threads: frozenset[str]
    processes: frozenset[str]


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Generator[None]:
    """Fail a test that leaves a process, a thread, or a changed setting."""
    before = _surroundings()
    yield
    left = _changes_that_stay(before)
    if left:
        pytest.fail("this test left behind:\n" + "\n".join(left))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-needless-skips",
        action="store_true",
        help="fail when a test was skipped for a reason that an installation could mend",
    )


def pytest_configure() -> None:
    """Make this process inherit orphans, so that the guard sees a grandchild that lost its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--no-needless-skips") and _needless(_skips(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    skips = _skips(config)
    terminalreporter.section(f"{len(skips)} skipped")
    for reason in sorted(set(skips)):
        verdict = " (not allowed here)" if _needless([reason]) else ""
        terminalreporter.write_line(f"{skips.count(reason)} x {reason}{verdict}")


def _skips(config: pytest.Config) -> list[str]:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])]


def _needless(reasons: list[str]) -> list[str]:
    return [reason for reason in reasons if not reason.startswith(ALLOWED_SKIPS)]


def _surroundings() -> Surroundings:
    return Surroundings(
        environment={name: value for name, value in os.environ.items() if name not in _OTHERS_VARIABLES},
        folder=str(Path.cwd()),
        umask=_status_line("Umask"),
        signal_handlers={
            one.name: repr(signal.getsignal(one)) for one in signal.Signals if one not in _OTHERS_SIGNALS
        },
        limits={name: resource.getrlimit(getattr(resource, name)) for name in _limit_names()},
        threads=frozenset(f"{thread.name} ({thread.native_id})" for thread in threading.enumerate()),
        processes=frozenset(_children()),
    )


def _changes_that_stay(before: Surroundings) -> list[str]:
    deadline = time.monotonic() + _GRACE_S
    while changes := _changes(before, _surroundings()):
        if time.monotonic() > deadline:
            return changes
        time.sleep(0.005)
    return []


def _changes(before: Surroundings, after: Surroundings) -> list[str]:
    found: list[str] = []
    for field in fields(Surroundings):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if isinstance(old, frozenset):
            # Fewer threads or processes than before are no trace of this test.
            found += [f"  {field.name}: {extra}" for extra in sorted(new - old)]
        elif old != new:
            found.append(f"  {field.name}: {_difference(old, new)}")
    return found


def _difference(old: object, new: object) -> str:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return f"was {old!r}, is {new!r}"
    was, now = cast(dict[str, object], old), cast(dict[str, object], new)
    keys = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
    return ", ".join(f"{key} was {was.get(key)!r}, is {now.get(key)!r}" for key in keys)


def _limit_names() -> list[str]:
    return [name for name in dir(resource) if name.startswith("RLIMIT_")]


def _status_line(name: str) -> str:
    text = Path("/proc/self/status").read_text()
    return next((line for line in text.splitlines() if line.startswith(name)), "")


def _children() -> Generator[str]:
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from (found for pid in listing.read_text().split() if (found := _described(int(pid))))


def _described(pid: int) -> str | None:
    """Name a living child; reap and leave out a dead orphan that came to us."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
    if state == "Z":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return None
    return None if any(lasting in words for lasting in _LASTING_PROCESSES) else f"{pid} {words.strip()}"
