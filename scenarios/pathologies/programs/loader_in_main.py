"""A DataLoader with `num_workers=0` prepares each batch between two training steps; `--fixed` has two workers."""

# pyright: basic
from __future__ import annotations

import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

FIXED = "--fixed" in sys.argv
SAMPLES = 2400


class Sentences(Dataset[torch.Tensor]):
    """Sentences that are tokenised in pure Python when they are asked for."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        words = [f"{(index * position) % 9973:x}" for position in range(6000)]
        ids = [sum(ord(letter) * 31**place for place, letter in enumerate(word)) % 5000 for word in words]
        return torch.tensor(ids[:2048], dtype=torch.float32)


def main() -> None:
    """Train a small model on all sentences once."""
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(2048, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)
    begun, done = time.perf_counter(), 0
    for batch in DataLoader(Sentences(), batch_size=16, num_workers=2 if FIXED else 0):
        optimiser.zero_grad()
        model(batch / 5000).square().mean().backward()
        optimiser.step()
        done += len(batch)
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
