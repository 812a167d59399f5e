"""How far a study is and how long it still takes: a bar on a terminal, a line per run elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    """What a study tells about its runs."""

    def begin(self, name: str) -> None:
        """Say that a run starts."""
        ...

    def end(self, name: str, wall_s: float, trouble: str) -> None:
        """Say that a run ended; `trouble` is empty when it went well."""
        ...


class LineProgress:
    """One line on stderr per ended run, with the time left as the runs so far suggest."""

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self._walls_s: list[float] = []

    def begin(self, name: str) -> None:
        """Stay silent: a line per run is enough in a log."""

    def end(self, name: str, wall_s: float, trouble: str) -> None:
        """Print the line."""
        self._walls_s.append(wall_s)
        left = time_left_s(self._walls_s, self._planned)
        outcome = trouble or f"took {wall_s:.1f} s"
        tail = f"; about {span(left)} left" if left else ""
        print(f"{len(self._walls_s)} of {self._planned}: {name} {outcome}{tail}", file=sys.stderr, flush=True)


class BarProgress:
    """A bar on stderr with the name of the current run."""

    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def begin(self, name: str) -> None:
        """Show the name."""
        self._bar.update(self._task, description=name)

    def end(self, name: str, wall_s: float, trouble: str) -> None:
        """Advance the bar; trouble gets a line of its own above it."""
        if trouble:
            self._bar.console.print(f"{name} {trouble}", markup=False, highlight=False)
        self._bar.advance(self._task)


def time_left_s(walls_s: list[float], planned: int) -> float:
    """Estimate the time left: runs that are still to come take as long as those so far took on average."""
    return (planned - len(walls_s)) * sum(walls_s) / len(walls_s) if walls_s else 0.0


def span(seconds: float) -> str:
    """Give a duration in the words that fit its size."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@contextlib.contextmanager
def progress(planned: int) -> Generator[Progress]:
    """Show progress on stderr in the form that fits it."""
    if not sys.stderr.isatty():
        yield LineProgress(planned)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    # Once a second is enough to watch and costs the runs beside it nothing.
    bar = RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=1,
        speed_estimate_period=3600,
    )
    with bar:
        yield BarProgress(bar, bar.add_task("starting", total=planned))
