"""joblib with its default backend loky: reusable worker processes that share the study in a journal."""

from __future__ import annotations

import importlib
from typing import Any

from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.trials import take_stored_trial_alone


def run(search: Search, report: Report) -> None:
    """Run the trials by `joblib.Parallel` on loky workers, and end the workers afterwards."""
    joblib: Any = importlib.import_module("joblib")
    settings, work = search.settings, search.stored_work
    # One trial per batch: joblib would bundle short ones, and a bundle runs on one worker.
    parallel = joblib.Parallel(
        n_jobs=settings.workers, backend="loky", batch_size=1, return_as="generator_unordered"
    )
    task = joblib.delayed(take_stored_trial_alone)
    try:
        for result in parallel(task(work) for _ in range(settings.trials)):
            report(result)
    finally:
        # Idle loky workers would stay for another five minutes.
        loky: Any = importlib.import_module("joblib.externals.loky")
        loky.get_reusable_executor(max_workers=settings.workers, reuse=True).shutdown(
            wait=True, kill_workers=True
        )
