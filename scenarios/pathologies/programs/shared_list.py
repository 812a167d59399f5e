"""Spawned workers append every hit to a `Manager().list()`; `--fixed` collects hits and returns them."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import MutableSequence

FIXED = "--fixed" in sys.argv
PARTS = 24
NUMBERS = 900_000 if FIXED else 44_000


def search(part: int, hits: MutableSequence[int] | None) -> list[int]:
    """Find numbers whose binary digits read the same both ways, plus every third one."""
    own: list[int] = []
    into = own if hits is None else hits
    for number in range(part * NUMBERS, (part + 1) * NUMBERS):
        text = f"{number:b}"
        if text == text[::-1] or number % 3 == 0:
            into.append(number)
    return own


def main() -> None:
    """Search all parts on three workers."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(3) as pool:
        hits = None if FIXED else manager.list()
        pool.starmap(search, [(part, None) for part in range(3)], chunksize=1)
        begun = time.perf_counter()
        pool.starmap(search, [(part, hits) for part in range(PARTS)], chunksize=1)
        print(f"units={PARTS * NUMBERS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
