"""The main process draws every batch by weights, in pure Python, and loader workers starve; `--fixed` draws at once."""

# pyright: basic
from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

FIXED = "--fixed" in sys.argv
SAMPLES = 4000
BATCH = 20
BATCHES = 3000 if FIXED else 550


class Pictures(Dataset[torch.Tensor]):
    """Pictures that are blurred when they are asked for."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = torch.full((1, 1, 64, 64), float(index))
        for _ in range(4):
            picture = torch.nn.functional.avg_pool2d(picture, 5, stride=1, padding=2)
        return picture[0]


class Weighted(Sampler[list[int]]):
    """Draws batches without replacement, rare samples more often."""

    def __iter__(self) -> Iterator[list[int]]:
        dice = random.Random(0)
        weights = [1.0 + (number % 7) for number in range(SAMPLES)]
        for _ in range(BATCHES):
            yield self.at_once(dice, weights) if FIXED else self.one_by_one(dice, weights)

    @staticmethod
    def at_once(dice: random.Random, weights: list[float]) -> list[int]:
        """Draw a batch with one call."""
        return dice.choices(range(SAMPLES), weights, k=BATCH)

    @staticmethod
    def one_by_one(dice: random.Random, weights: list[float]) -> list[int]:
        """Draw each sample by walking along all weights."""
        drawn: list[int] = []
        while len(drawn) < BATCH:
            left = dice.random() * sum(weights[number] for number in range(SAMPLES) if number not in drawn)
            for number in range(SAMPLES):
                if number in drawn:
                    continue
                left -= weights[number]
                if left <= 0:
                    drawn.append(number)
                    break
        return drawn


def main() -> None:
    """Go through all batches with two workers."""
    torch.set_num_threads(1)
    begun, done = time.perf_counter(), 0
    for batch in DataLoader(Pictures(), batch_sampler=Weighted(), num_workers=2):
        done += len(batch)
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
