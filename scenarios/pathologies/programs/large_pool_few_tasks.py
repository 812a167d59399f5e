"""A pool of eight workers of which two have work: the others wait, and both cores are busy."""

from __future__ import annotations

import multiprocessing
import random
import time

ROUNDS = 3


def life(seed: int) -> int:
    """Let cells live and die on a small board."""
    size = 48
    dice = random.Random(seed)
    alive = {(dice.randrange(size), dice.randrange(size)) for _ in range(700)}
    for _ in range(130):
        counts: dict[tuple[int, int], int] = {}
        for row, column in alive:
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    place = ((row + down) % size, (column + right) % size)
                    counts[place] = counts.get(place, 0) + ((down, right) != (0, 0))
        alive = {place for place, count in counts.items() if count == 3 or (count == 2 and place in alive)}
    return len(alive)


def lives(seed: int) -> int:
    """Play many boards."""
    return sum(life(seed + number) for number in range(30))


def main() -> None:
    """Give a pool of eight two tasks at a time."""
    begun = time.perf_counter()
    with multiprocessing.Pool(8) as pool:
        done = sum(len(pool.map(lives, (3 + number, 5 + number), chunksize=1)) for number in range(ROUNDS))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
