"""One search from its study to its results, whatever happens on the way."""

from __future__ import annotations

import functools
import signal
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corelens import marks
from corelens.errors import CorelensError
from corelens.scenarios.search.backends import registry
from corelens.scenarios.search.backends.protocol import Backend, Report, Search
from corelens.scenarios.search.interrupt import interruption
from corelens.scenarios.search.progress import bar_beside
from corelens.scenarios.search.results import SearchResults, TrialResult
from corelens.scenarios.search.settings import SearchSettings
from corelens.scenarios.search.space import draw
from corelens.scenarios.search.trials import create_study


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results, and the signal that cut the search short, if one did."""

    results: SearchResults
    signal_number: int | None


def execute(settings: SearchSettings, *, storage: Path | None, bar: bool) -> Outcome:
    """Run a search; trials that a broken backend lost are failed trials in its results."""
    trials: list[TrialResult] = []
    began_s = time.monotonic()
    with interruption.on_signals():
        try:
            lost = _run(registry.load(settings.backend), settings, storage, bar, trials.append)
        except (KeyboardInterrupt, SystemExit):
            # SystemExit is how Ray ends a program on SIGTERM.
            number = interruption.signal_number or signal.SIGTERM
            interruption.stop(number)
            interruption.wait_for_trials()
            return Outcome(_results(settings, trials, began_s, interrupted=True), number)
    if lost is not None:
        trials += _lost_trials(settings, trials, lost)
    return Outcome(_results(settings, trials, began_s, interrupted=False), None)


def _run(
    backend: Backend, settings: SearchSettings, storage: Path | None, bar: bool, note: Report
) -> Exception | None:
    entry = registry.REGISTRY[settings.backend]
    with _journal(storage, stored=entry.stored) as journal:
        study = create_study(settings, journal)
        with bar_beside(_naming_threads(note), settings, shown=bar and not entry.own_progress) as report:
            search = Search(settings, study, journal, progress=bar and entry.own_progress)
            try:
                backend(search, report)
            except CorelensError:
                # What the user can mend at the command line is no lost trial.
                raise
            except Exception as error:
                return error
    return None


def _naming_threads(note: Report) -> Report:
    """Say with the first result what the Python threads are called: none has ended, and no later one begins."""
    name_threads = functools.cache(marks.threads)

    def report(result: TrialResult) -> None:
        name_threads()
        note(result)

    return report


@contextmanager
def _journal(storage: Path | None, *, stored: bool) -> Generator[Path | None]:
    if storage is not None or not stored:
        yield storage
        return
    with tempfile.TemporaryDirectory(prefix="corelens-search-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "journal.log"


def _results(
    settings: SearchSettings, trials: list[TrialResult], began_s: float, *, interrupted: bool
) -> SearchResults:
    return SearchResults(settings, tuple(trials), time.monotonic() - began_s, interrupted)


def _lost_trials(settings: SearchSettings, known: list[TrialResult], error: Exception) -> list[TrialResult]:
    numbers = {trial.number for trial in known}
    message = f"no result: {type(error).__name__}: {error}"
    return [
        TrialResult(number, params, "failed", None, message)
        for number, params in enumerate(draw(settings.method, settings.trials, settings.seed))
        if number not in numbers
    ]
