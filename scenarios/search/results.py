"""What a search found: one frozen result per trial, and the JSON file of them all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Literal

from corelens.errors import OutputExists, OutputFailed
from corelens.scenarios.search.settings import SearchSettings, labels

FORMAT = 1
PACKAGES = ("torch", "numpy", "optuna", "joblib", "ray", "neat-python", "threadpoolctl")

State = Literal["complete", "failed"]


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One evolution of a trial: its best fitness, 0 to 1, and how many generations it ran."""

    seed: int
    best_fitness: float
    generations: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial; `value` is the best fitness of its seeds.

    A failed trial has no value but an error. Times and process are None when the trial's worker was lost
    and nobody could say. `began_monotonic_s` is on the clock of the machine that ran the trial.
    """

    number: int
    params: dict[str, float | int | str]
    state: State
    value: float | None
    error: str | None
    seeds: tuple[SeedResult, ...] = ()
    began_monotonic_s: float | None = None
    wall_s: float | None = None
    pid: int | None = None
    tid: int | None = None


@dataclass(frozen=True, slots=True)
class SearchResults:
    """A whole search; an interrupted one holds the trials that had ended."""

    settings: SearchSettings
    trials: tuple[TrialResult, ...]
    wall_s: float
    interrupted: bool

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """Give the trials that failed."""
        return tuple(trial for trial in self.trials if trial.state == "failed")

    @property
    def best(self) -> TrialResult | None:
        """Give the trial of the greatest value; None when none completed."""
        complete = [trial for trial in self.trials if trial.value is not None]
        return max(complete, key=lambda trial: trial.value or 0.0, default=None)


def to_json(results: SearchResults) -> str:
    """Give the results as JSON text, trials in order of their numbers."""
    best = results.best
    document = {
        "format": FORMAT,
        "settings": labels(results.settings),
        "versions": _versions(),
        "interrupted": results.interrupted,
        "wall_s": results.wall_s,
        "best": None if best is None else {"number": best.number, "value": best.value},
        "trials": [asdict(trial) for trial in _in_order(results.trials)],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def refuse_unwritable(path: Path, *, force: bool) -> None:
    """Raise before any work is done when the results could not be written to `path` afterwards."""
    if path.is_dir():
        raise OutputFailed(f"{path} is a folder", "name a file with --results")
    if path.exists() and not force:
        raise OutputExists(path)
    if not path.parent.is_dir():
        raise OutputFailed(
            f"the folder {path.parent} does not exist", "create it or name another with --results"
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputFailed(f"the folder {path.parent} is not writable", "name another with --results")


def write(results: SearchResults, path: Path) -> None:
    """Write the JSON file whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(to_json(results))
        Path(file.name).chmod(0o666 & ~_umask())
        Path(file.name).replace(path)
    except OSError as error:
        raise OutputFailed(
            f"{path} cannot be written: {error.strerror}", "name another with --results"
        ) from error


def _umask() -> int:
    # Linux tells it without setting it for a moment, which other threads would see.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def _in_order(trials: Sequence[TrialResult]) -> list[TrialResult]:
    return sorted(trials, key=lambda trial: trial.number)


def _versions() -> dict[str, str | None]:
    return {"python": python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
