"""One process trains a network on all cores with torch's own threads; no worker is needed."""

# pyright: basic
from __future__ import annotations

import time

import torch

STEPS = 60


def main() -> None:
    """Train on random batches."""
    model = torch.nn.Sequential(torch.nn.Linear(1024, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 1024))
    optimiser = torch.optim.Adam(model.parameters())
    batch = torch.rand(1024, 1024)
    begun = time.perf_counter()
    for _ in range(STEPS):
        optimiser.zero_grad()
        (model(batch) - batch).square().mean().backward()
        optimiser.step()
    print(f"units={STEPS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
