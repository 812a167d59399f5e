"""Trials on an Optuna study: parameter sets are enqueued once, and every backend takes them from there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corelens import marks
from corelens.scenarios.search import interrupt, thread_limits
from corelens.scenarios.search.interrupt import TrialInterrupted
from corelens.scenarios.search.objective import run_trial
from corelens.scenarios.search.results import TrialResult
from corelens.scenarios.search.settings import Method, SearchSettings
from corelens.scenarios.search.space import draw, suggest

if TYPE_CHECKING:
    import optuna

STUDY = "search"
Report = Callable[[TrialResult], None]


class TrialFailed(Exception):
    """Tells Optuna that a trial failed; its result has been reported already."""


@dataclass(frozen=True, slots=True)
class StoredWork:
    """What a worker process needs to take its next trial: it travels to the worker by pickling."""

    settings: SearchSettings
    journal: Path


def create_study(settings: SearchSettings, journal: Path | None) -> optuna.Study:
    """Create the study, in memory or in a journal file that processes can share, with all trials waiting.

    Only the parent creates it: many processes that create one study race each other.
    """
    import optuna

    quieten()
    study = optuna.create_study(
        study_name=STUDY,
        direction="maximize",
        storage=None if journal is None else _storage(journal),
        sampler=optuna.samplers.RandomSampler(seed=settings.seed),
    )
    for params in draw(settings.method, settings.trials, settings.seed):
        study.enqueue_trial(params)
    return study


def objective(settings: SearchSettings, report: Report) -> Callable[[optuna.Trial], float]:
    """Give the function that `study.optimize` calls; it raises TrialFailed after a failed trial."""

    def evaluate(trial: optuna.Trial) -> float:
        result = run_trial(settings, trial.number, suggest(trial, settings.method))
        report(result)
        if result.value is None:
            raise TrialFailed(result.error)
        return result.value

    return evaluate


def take_trial(study: optuna.Study, settings: SearchSettings) -> TrialResult:
    """Take the next waiting trial, run it, and tell the study."""
    from optuna.trial import TrialState

    trial = study.ask()
    params = suggest(trial, settings.method)
    with thread_limits.during_task(settings.limit_threads):
        try:
            result = run_trial(settings, trial.number, params)
        except TrialInterrupted:
            study.tell(trial, state=TrialState.FAIL)
            raise
    state = TrialState.COMPLETE if result.value is not None else TrialState.FAIL
    study.tell(trial, result.value, state=state)
    return result


def take_stored_trial(work: StoredWork) -> TrialResult:
    """Take the next waiting trial of a study in a journal; the task of a worker process."""
    load_workload_once(work.settings.method)
    import optuna

    quieten()
    study = optuna.load_study(study_name=STUDY, storage=_storage(work.journal))
    return take_trial(study, work.settings)


def take_stored_trial_alone(work: StoredWork) -> TrialResult:
    """Do the same in a worker whose start is not ours to shape."""
    interrupt.leave_to_parent()
    return take_stored_trial(work)


def load_workload_once(method: Method) -> None:
    """Import what a trial needs, so that a worker's first trial is not charged for it."""
    if "torch" in sys.modules:
        return
    with marks.span("import"):
        importlib.import_module("torch")
        if method == "neat":
            importlib.import_module("neat")


def quieten() -> None:
    """Keep Optuna from printing a line per trial; results and errors are reported by the search itself."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _storage(journal: Path) -> optuna.storages.JournalStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(journal)))
