"""How worker processes start, where a backend lets us say so."""

from __future__ import annotations

from multiprocessing import resource_tracker

from corelens.scenarios.search import interrupt, thread_limits
from corelens.scenarios.search.settings import Limit


def start(limit: Limit) -> None:
    """Prepare a new worker; the initializer of a pool or executor."""
    interrupt.leave_to_parent()
    thread_limits.start_worker(limit)


def start_tracker() -> None:
    """Start multiprocessing's resource tracker now: its start would undo `interrupt.held_back`."""
    resource_tracker.ensure_running()
