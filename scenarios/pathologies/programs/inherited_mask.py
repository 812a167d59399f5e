"""The parent pins itself to one core to measure something and forgets to undo it; `--fixed` undoes it.

Loky's workers inherit the mask: four of them share one core.
"""

# pyright: basic
from __future__ import annotations

import os
import sys
import time
import zlib
from typing import Any

from joblib import Parallel, delayed

FIXED = "--fixed" in sys.argv
PIECES = 620


def overhead_of_the_clock() -> float:
    """Measure the clock on one core, for steady figures."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    begun = time.perf_counter()
    for _ in range(10_000):
        time.perf_counter()
    spent = time.perf_counter() - begun
    if FIXED:
        os.sched_setaffinity(0, everywhere)
    return spent


def pack(seed: int) -> int:
    """Compress one piece that does not compress well."""
    piece = bytes((seed * position * position >> 3) & 0xFF for position in range(150_000))
    return sum(len(zlib.compress(piece, level)) for level in (6, 7, 8, 9))


def main() -> None:
    """Measure, then pack every piece on four workers."""
    overhead_of_the_clock()
    begun = time.perf_counter()
    parallel: Any = Parallel(n_jobs=4)
    done = len(parallel(delayed(pack)(seed) for seed in range(PIECES)))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
