"""The progress bar: on the terminal that somebody looks at, and nowhere else."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Generator
from typing import Any

from corelens.scenarios.search.backends.protocol import Report
from corelens.scenarios.search.results import TrialResult
from corelens.scenarios.search.settings import SearchSettings


def wanted(*, quiet: bool, always: bool) -> bool:
    """Say whether a bar is wanted: not when told to be quiet, and without a terminal only when told so."""
    return not quiet and (always or sys.stderr.isatty())


@contextlib.contextmanager
def bar_beside(note: Report, settings: SearchSettings, *, shown: bool) -> Generator[Report]:
    """Give a report that notes each result and moves the bar."""
    if not shown:
        # Even a disabled bar of tqdm starts its monitor thread.
        yield note
        return
    tqdm: Any = importlib.import_module("tqdm").tqdm
    with tqdm(total=settings.trials, desc=settings.backend, unit="trial") as bar:

        def report(result: TrialResult) -> None:
            note(result)
            bar.update()

        yield report
