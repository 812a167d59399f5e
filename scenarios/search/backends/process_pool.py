"""`multiprocessing.Pool`: worker processes that share the study in a journal."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import TYPE_CHECKING

from corelens.scenarios.search import interrupt, worker
from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.results import TrialResult
from corelens.scenarios.search.trials import take_stored_trial

if TYPE_CHECKING:
    from multiprocessing.pool import IMapIterator, Pool

LOOK_FOR_DEAD_WORKERS_S = 1.0


class WorkerDied(Exception):
    """A worker ended without being told to; the pool replaces it and would wait for its trial for ever."""


def run(search: Search, report: Report) -> None:
    """Run the trials on a pool, and end the pool however that goes."""
    pool = _started(search)
    try:
        workers = _alive()
        tasks = [search.stored_work] * search.settings.trials
        for result in _watched(pool.imap_unordered(take_stored_trial, tasks), workers):
            report(result)
    finally:
        pool.terminate()
        pool.join()


def _started(search: Search) -> Pool:
    settings = search.settings
    context = multiprocessing.get_context(settings.start_method)
    worker.start_tracker()
    with interrupt.held_back():
        return context.Pool(settings.workers, worker.start, (settings,))


def _watched(results: IMapIterator[TrialResult], workers: frozenset[int | None]) -> Iterator[TrialResult]:
    while True:
        try:
            yield results.next(LOOK_FOR_DEAD_WORKERS_S)
        except StopIteration:
            return
        except multiprocessing.TimeoutError:
            _refuse_losses(workers)


def _refuse_losses(workers: frozenset[int | None]) -> None:
    lost = sorted(pid for pid in workers - _alive() if pid is not None)
    if lost:
        raise WorkerDied(f"worker process {lost[0]} died")


def _alive() -> frozenset[int | None]:
    return frozenset(child.pid for child in multiprocessing.active_children())
