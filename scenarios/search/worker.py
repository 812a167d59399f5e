"""How worker processes start, where a backend lets us say so."""

from __future__ import annotations

from multiprocessing import resource_tracker

from corelens.scenarios.search import emulation, interrupt, thread_limits
from corelens.scenarios.search.settings import SearchSettings


def start(settings: SearchSettings) -> None:
    """Prepare a new worker; the initializer of a pool or executor."""
    interrupt.leave_to_parent()
    emulation.import_as_on(settings.emulate_cores)
    thread_limits.start_worker(settings.limit_threads)


def start_tracker() -> None:
    """Start multiprocessing's resource tracker now: its start would undo `interrupt.held_back`."""
    resource_tracker.ensure_running()
