"""One process sums short tensors with a team of 8, a barrier for every few microseconds; `--fixed` uses one thread."""

# pyright: basic
from __future__ import annotations

import sys
import time

import torch

FIXED = "--fixed" in sys.argv
SECONDS = 7.0


def main() -> None:
    """Step a small field for some seconds."""
    torch.set_num_threads(1 if FIXED else 8)
    field, wind = torch.rand(64, 1024), torch.rand(64, 1024)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        field = (field * 0.99).add_(wind).clamp_(0, 1)
        done += 1
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
