"""Four spawned workers each keep a torch team of 12, as on a 12-core machine; `--fixed` gives each one thread."""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import time

import torch

FIXED = "--fixed" in sys.argv
SECONDS = 7.0
WORKERS = 4


def scores(seed: int, seconds: float) -> int:
    """Run a small model over batches until the time is up."""
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 64))
    done, until = 0, time.time() + seconds
    with torch.inference_mode():
        while time.time() < until:
            layers(torch.rand(256, 256)).softmax(dim=1).sum()
            done += 1
    return done


def main() -> None:
    """Score on four workers for some seconds."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(WORKERS, initializer=torch.set_num_threads, initargs=(1 if FIXED else 12,)) as pool:
        pool.starmap(scores, [(seed, 0.1) for seed in range(WORKERS)], chunksize=1)
        begun = time.perf_counter()
        done = sum(pool.starmap(scores, [(seed, SECONDS) for seed in range(WORKERS)], chunksize=1))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
