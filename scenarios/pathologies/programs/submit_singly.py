"""`ProcessPoolExecutor.submit` for each pair of words; `--fixed` submits five hundred pairs at a time."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor

FIXED = "--fixed" in sys.argv
PAIRS = 70_000
BATCH = 500


def shared(pair: tuple[str, str]) -> int:
    """Count the letters that two words share."""
    left, right = pair
    return len(set(left) & set(right))


def shared_of(pairs: list[tuple[str, str]]) -> list[int]:
    """Count for many pairs."""
    return [shared(pair) for pair in pairs]


def main() -> None:
    """Compare all pairs on two workers."""
    pairs = [
        (f"{number * 7919:b}", f"{number * 104_729:o}") for number in range(PAIRS * (20 if FIXED else 1))
    ]
    begun = time.perf_counter()
    with ProcessPoolExecutor(2) as executor:
        if FIXED:
            batches = [pairs[first : first + BATCH] for first in range(0, len(pairs), BATCH)]
            done = sum(len(counts) for counts in executor.map(shared_of, batches))
        else:
            waiting = [executor.submit(shared, pair) for pair in pairs]
            done = sum(future.result() >= 0 for future in waiting)
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
