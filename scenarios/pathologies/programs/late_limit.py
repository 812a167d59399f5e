"""Workers set OMP_NUM_THREADS=1 in their initializer, after torch has read it; `--fixed` calls torch instead.

The program is started as on a machine whose jobs are given 12 threads.
"""

# pyright: basic
from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

if os.environ.get("OMP_NUM_THREADS") != "12":
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": "12"})

import torch

FIXED = "--fixed" in sys.argv
SECONDS = 7.0
WORKERS = 3


def limit() -> None:
    """Limit the threads of a worker: the variable does nothing any more, the call does."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if FIXED:
        torch.set_num_threads(1)


def filters(seed: int) -> int:
    """Filter pictures until the time is up."""
    torch.manual_seed(seed)
    kernel, pictures = torch.rand(8, 3, 5, 5), torch.rand(8, 3, 64, 64)
    done, until = 0, time.time() + SECONDS
    while time.time() < until:
        torch.nn.functional.conv2d(pictures, kernel).relu().mean()
        done += 1
    return done


def main() -> None:
    """Filter on three workers for some seconds."""
    begun = time.perf_counter()
    with ProcessPoolExecutor(WORKERS, initializer=limit) as executor:
        done = sum(executor.map(filters, range(WORKERS)))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
