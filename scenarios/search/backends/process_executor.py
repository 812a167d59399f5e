"""`concurrent.futures.ProcessPoolExecutor`: worker processes that share the study in a journal."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

from corelens.scenarios.search import interrupt, worker
from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.trials import take_stored_trial


def run(search: Search, report: Report) -> None:
    """Run the trials on an executor; a search that ends early ends its workers too."""
    settings, work = search.settings, search.stored_work
    context = multiprocessing.get_context(settings.start_method)
    executor = ProcessPoolExecutor(settings.workers, context, worker.start, (settings,))
    try:
        worker.start_tracker()
        with interrupt.held_back():
            futures = [executor.submit(take_stored_trial, work) for _ in range(settings.trials)]
        for future in as_completed(futures):
            report(future.result())
    except BaseException:
        # Shutting down alone would wait for the trials that run.
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
