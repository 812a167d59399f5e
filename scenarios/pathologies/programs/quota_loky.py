"""Two loky workers in a control group of 0.7 cores; `--fixed` gives the group more than the machine. Needs root."""

# pyright: basic
from __future__ import annotations

import os
import sys
import time
from typing import Any

from joblib import Parallel, delayed
from limited_group import cpu_quota

FIXED = "--fixed" in sys.argv
TEXTS = 130


def distance(seed: int) -> int:
    """Count the edits between two texts."""
    left = [(seed * position) % 7 for position in range(500)]
    right = [(seed + position * position) % 7 for position in range(500)]
    row = list(range(len(right) + 1))
    for here, letter in enumerate(left, 1):
        corner, row[0] = row[0], here
        for there, other in enumerate(right, 1):
            edits = min(row[there] + 1, row[there - 1] + 1, corner + (letter != other))
            corner, row[there] = row[there], edits
    return row[-1]


def main() -> None:
    """Compare all texts inside of the group."""
    cores = os.cpu_count() or 1
    with cpu_quota(2 * cores if FIXED else 0.35 * cores):
        begun = time.perf_counter()
        parallel: Any = Parallel(n_jobs=cores)
        done = len(parallel(delayed(distance)(seed) for seed in range(TEXTS)))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
