"""One trial after the other in the main thread: what every other backend is compared with."""

from __future__ import annotations

from corelens.scenarios.search import thread_limits
from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.trials import TrialFailed, objective


def run(search: Search, report: Report) -> None:
    """Run the trials by `study.optimize`."""
    settings = search.settings
    with thread_limits.during_task(settings.limit_threads):
        search.study.optimize(
            objective(settings, report),
            n_trials=settings.trials,
            catch=(TrialFailed,),
            show_progress_bar=search.progress,
        )
