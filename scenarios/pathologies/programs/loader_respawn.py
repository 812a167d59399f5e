"""A DataLoader starts its workers anew for every short epoch; `--fixed` keeps them with `persistent_workers`."""

# pyright: basic
from __future__ import annotations

import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

FIXED = "--fixed" in sys.argv
EPOCHS = 4


class Waves(Dataset[torch.Tensor]):
    """Short waves that are computed when they are asked for."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.sin(torch.arange(2000) * (0.01 + index * 1e-4))


def main() -> None:
    """Run a few epochs of nearly nothing."""
    epochs = EPOCHS * (20 if FIXED else 1)
    begun = time.perf_counter()
    loader = DataLoader(
        Waves(),
        batch_size=12,
        shuffle=True,
        num_workers=2,
        multiprocessing_context="forkserver",
        persistent_workers=FIXED,
    )
    for _ in range(epochs):
        sum(float(batch.mean()) for batch in loader)
    print(f"units={epochs} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
