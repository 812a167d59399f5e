"""The plan of a study: one search on several backends, repeated, in a fair order.

Planning is pure; whoever runs the plan decides what watches it.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass

from corelens.errors import UsageError
from corelens.scenarios.search.options import command_line, settings_from
from corelens.scenarios.search.settings import BACKENDS, BackendName, SearchSettings


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One search to run: `argv` starts it, `stem` names its files, without a folder or an ending."""

    backend: BackendName
    repeat: int
    settings: SearchSettings
    argv: tuple[str, ...]
    stem: str


def plan_study(
    namespace: argparse.Namespace,
    *,
    backends: Sequence[BackendName] = BACKENDS,
    repeats: int = 1,
    shuffle_seed: int = 0,
) -> list[PlannedRun]:
    """Plan every backend `repeats` times from the flags of `options.add_search_options`.

    Each repeat is a block that holds every backend once in its own random order, so that a slow drift of the
    machine meets all backends alike. The same `shuffle_seed` gives the same order. A backend named twice is
    refused: its two runs would overwrite each other's files.
    """
    if repeats < 1:
        raise UsageError(f"--repeat {repeats} is too small", "use --repeat 1 or more")
    if not backends or len(set(backends)) != len(backends):
        raise UsageError(f"--backends {' '.join(backends)} must name each backend once", "name at least one")
    order = random.Random(shuffle_seed)
    blocks = (order.sample(list(backends), len(backends)) for _ in range(repeats))
    return [
        _planned(namespace, backend, repeat, repeats)
        for repeat, block in enumerate(blocks, start=1)
        for backend in block
    ]


def _planned(namespace: argparse.Namespace, backend: BackendName, repeat: int, repeats: int) -> PlannedRun:
    settings = settings_from(namespace, backend)
    stem = backend if repeats == 1 else f"{backend}-{repeat:0{len(str(repeats))}d}"
    return PlannedRun(backend, repeat, settings, tuple(command_line(settings)), stem)
