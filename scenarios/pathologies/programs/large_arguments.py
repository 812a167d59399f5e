"""A pool is handed 16 MB arrays through pipes for a moment's work; `--fixed` shares them and sends their numbers."""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import time

import numpy as np

FIXED = "--fixed" in sys.argv
FRAMES = 260
cube = np.arange(8 * 2_000_000, dtype=np.float64).reshape(8, -1)


def brightest(frame: np.ndarray) -> float:
    """Find the brightest point of a frame."""
    return float(frame.max())


def brightest_of(number: int) -> float:
    """Find the brightest point of a frame that every worker sees."""
    return brightest(cube[number % 8])


def main() -> None:
    """Look at all frames on two workers, which are forked and share the cube."""
    frames = FRAMES * (8 if FIXED else 1)
    begun = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        if FIXED:
            done = sum(1 for _ in pool.imap(brightest_of, range(frames)))
        else:
            done = sum(1 for _ in pool.imap(brightest, (cube[number % 8] for number in range(frames))))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
