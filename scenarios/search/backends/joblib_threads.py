"""joblib with its threading backend: threads of one process, as with Optuna."""

from __future__ import annotations

import importlib
from typing import Any

from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.trials import take_trial


def run(search: Search, report: Report) -> None:
    """Run the trials by `joblib.Parallel` on threads that share the study in memory."""
    joblib: Any = importlib.import_module("joblib")
    settings = search.settings
    # One trial per batch: joblib would bundle short ones, and a bundle runs on one worker.
    parallel = joblib.Parallel(
        n_jobs=settings.workers, backend="threading", batch_size=1, return_as="generator_unordered"
    )
    task = joblib.delayed(take_trial)
    for result in parallel(task(search.study, settings) for _ in range(settings.trials)):
        report(result)
