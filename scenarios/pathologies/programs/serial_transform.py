"""`scipy.fft` uses one thread unless told otherwise; `--fixed` says `workers=-1`."""

# pyright: basic
from __future__ import annotations

import sys
import time

import numpy as np
import scipy.fft

FIXED = "--fixed" in sys.argv
ROUNDS = 130


def main() -> None:
    """Filter a volume in the frequency domain."""
    volume = np.random.default_rng(0).standard_normal((160, 160, 160)).astype(np.complex64)
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        spectrum = scipy.fft.fftn(volume, workers=-1 if FIXED else None)
        volume = scipy.fft.ifftn(spectrum, workers=-1 if FIXED else None)
    print(f"units={ROUNDS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
