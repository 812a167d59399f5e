"""The shape of a backend: run every waiting trial of a search and report each result as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from corelens.scenarios.search.results import TrialResult
from corelens.scenarios.search.settings import SearchSettings
from corelens.scenarios.search.trials import StoredWork

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, slots=True)
class Search:
    """What a backend is given: the study holds `settings.trials` waiting trials.

    `journal` is where worker processes find the study, None for a study in memory. `progress` asks backends
    that go through Optuna for Optuna's own bar.
    """

    settings: SearchSettings
    study: optuna.Study
    journal: Path | None
    progress: bool

    @property
    def stored_work(self) -> StoredWork:
        """Give what a worker process needs to take one trial."""
        if self.journal is None:
            raise ValueError("a backend that starts processes needs a study in a journal")
        return StoredWork(self.settings, self.journal)


Report = Callable[[TrialResult], None]


class Backend(Protocol):
    """Runs the trials of a search and leaves no thread or process behind, also when it is interrupted.

    `report` may be called from any thread. An exception means that the trials not reported are lost.
    """

    def __call__(self, search: Search, report: Report) -> None: ...
