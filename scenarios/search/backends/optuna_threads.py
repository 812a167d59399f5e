"""Optuna's own parallelism: `study.optimize(n_jobs=...)`, which is threads of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelens.scenarios.search import thread_limits
from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.trials import TrialFailed, objective

if TYPE_CHECKING:
    import optuna


def run(search: Search, report: Report) -> None:
    """Run the trials on as many threads as there are workers."""
    settings = search.settings
    evaluate = objective(settings, report)

    def limited(trial: optuna.Trial) -> float:
        with thread_limits.during_task(settings.limit_threads):
            return evaluate(trial)

    search.study.optimize(
        limited,
        n_trials=settings.trials,
        n_jobs=settings.workers,
        catch=(TrialFailed,),
        show_progress_bar=search.progress,
    )
