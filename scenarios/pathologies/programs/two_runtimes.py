"""NumPy's OpenBLAS pool and torch's OpenMP team take turns on the same cores; `--fixed` leaves only one of them.

OpenMP threads that wait actively after each region hold the cores that OpenBLAS wants, and the reverse.
"""

# pyright: basic
from __future__ import annotations

import os
import sys

FIXED = "--fixed" in sys.argv
if os.environ.get("OMP_WAIT_POLICY") != "active":
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "active"})

import time  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

SECONDS = 7.0


def main() -> None:
    """Alternate between both libraries for some seconds."""
    threadpool_limits(1 if FIXED else 4, user_api="blas")
    torch.set_num_threads(1 if FIXED else 4)
    weights = np.random.default_rng(0).standard_normal((128, 128)) * 0.05
    begun, done = time.perf_counter(), 0
    states = np.ones((128, 128))
    while time.perf_counter() - begun < SECONDS:
        states = states @ weights
        states = torch.from_numpy(states).mul(1.01).tanh_().numpy()
        done += 1
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
