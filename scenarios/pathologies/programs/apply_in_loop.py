"""The caller gives a pool one piece and waits for it before giving the next; `--fixed` gives them all at once."""

from __future__ import annotations

import multiprocessing
import sys
import time

FIXED = "--fixed" in sys.argv
STRIPS = 96


def mandelbrot(strip: int) -> int:
    """Count the points of a strip that stay."""
    inside = 0
    for column in range(6000):
        point = complex(-2 + 2.5 * column / 6000, -1.2 + 2.4 * strip / STRIPS)
        value = 0j
        for _ in range(160):
            value = value * value + point
            if abs(value) > 2:
                break
        else:
            inside += 1
    return inside


def main() -> None:
    """Compute all strips on four workers."""
    begun = time.perf_counter()
    with multiprocessing.Pool(4) as pool:
        if FIXED:
            done = len(pool.map(mandelbrot, list(range(STRIPS)) * 3, chunksize=1))
        else:
            done = len([pool.apply(mandelbrot, (strip,)) for strip in list(range(STRIPS)) * 3])
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
