"""`torch.set_num_threads(1)` stays in a program that trains one network alone; `--fixed` leaves torch its cores."""

# pyright: basic
from __future__ import annotations

import sys
import time

import torch

FIXED = "--fixed" in sys.argv
STEPS = 14


def main() -> None:
    """Train a convolutional network on random pictures."""
    if not FIXED:
        torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 48, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(48, 48, 3, padding=1),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(768, 10),
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    pictures = torch.rand(32, 3, 96, 96)
    begun = time.perf_counter()
    for _ in range(STEPS):
        optimiser.zero_grad()
        model(pictures).square().mean().backward()
        optimiser.step()
    print(f"units={STEPS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
