"""Three threads step small recurrent networks, each operation a few microseconds; `--fixed` uses processes.

Every small torch operation gives the interpreter lock away and wants it back at once, so threads pass it around.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import threading
import time

import torch

FIXED = "--fixed" in sys.argv
SECONDS = 7.0
WORKERS = 3


def steps(seed: int, until: float) -> int:
    """Step one network until the time is up and count the steps."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    state, weights = torch.zeros(1, 24), torch.rand(24, 24) * 0.1
    done = 0
    while time.time() < until:
        for _ in range(50):
            state = torch.tanh(state @ weights + 0.01)
        done += 50
    return done


def by_threads() -> int:
    """Run the networks on threads of this process."""
    counts: list[int] = []
    until = time.time() + SECONDS
    threads = [
        threading.Thread(target=lambda seed=seed: counts.append(steps(seed, until)))
        for seed in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def by_processes() -> int:
    """Run the networks in processes of their own."""
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        until = time.time() + SECONDS
        return sum(pool.starmap(steps, [(seed, until) for seed in range(WORKERS)], chunksize=1))


def main() -> None:
    """Step all networks for some seconds."""
    begun = time.perf_counter()
    done = by_processes() if FIXED else by_threads()
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
