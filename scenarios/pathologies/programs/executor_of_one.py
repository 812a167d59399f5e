"""All tasks are submitted at once, to an executor with one worker; `--fixed` has one worker per core."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

FIXED = "--fixed" in sys.argv
TEXTS = 100


def frequencies(seed: int) -> int:
    """Count neighbouring letters of a text."""
    counts: dict[str, int] = {}
    text = "".join(chr(97 + (seed * position * position) % 26) for position in range(400_000))
    for position in range(len(text) - 1):
        pair = text[position : position + 2]
        counts[pair] = counts.get(pair, 0) + 1
    return max(counts.values())


def main() -> None:
    """Count in all texts."""
    workers = len(os.sched_getaffinity(0)) if FIXED else 1
    begun = time.perf_counter()
    with ProcessPoolExecutor(workers) as executor:
        waiting = [executor.submit(frequencies, seed) for seed in range(TEXTS)]
        done = sum(future.result() > 0 for future in waiting)
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
