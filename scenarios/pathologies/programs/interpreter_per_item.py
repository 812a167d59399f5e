"""Each item gets a Python interpreter of its own, which imports NumPy for it; `--fixed` keeps two workers."""

# pyright: basic
from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

FIXED = "--fixed" in sys.argv
ITEMS = 60
SCRIPT = """
import sys, numpy
print(numpy.linalg.det(numpy.random.default_rng(int(sys.argv[1])).standard_normal((60, 60))))
"""


def by_script(seed: int) -> float:
    """Run the script that computes one determinant."""
    argv = [sys.executable, "-c", SCRIPT, str(seed)]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def here(seed: int) -> float:
    """Compute one determinant in a worker that stays."""
    import numpy

    return float(numpy.linalg.det(numpy.random.default_rng(seed).standard_normal((60, 60))))


def main() -> None:
    """Compute all determinants, two at a time."""
    items = range(ITEMS * (400 if FIXED else 1))
    begun = time.perf_counter()
    with ProcessPoolExecutor(2) if FIXED else ThreadPoolExecutor(2) as executor:
        done = len(list(executor.map(here if FIXED else by_script, items, chunksize=25)))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
