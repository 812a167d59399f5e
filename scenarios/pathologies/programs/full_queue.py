"""A quick producer is blocked by a full queue most of the time, as it should be: the consumers have the cores."""

from __future__ import annotations

import multiprocessing
import time

ITEMS = 2500


def consume(inbox: multiprocessing.Queue[int | None]) -> None:
    """Factorise numbers until there are no more."""
    while (number := inbox.get()) is not None:
        divisor = 2
        while number > 1:
            while number % divisor == 0:
                number //= divisor
            divisor += 1


def main() -> None:
    """Feed two consumers through a short queue."""
    inbox: multiprocessing.Queue[int | None] = multiprocessing.Queue(4)
    consumers = [multiprocessing.Process(target=consume, args=(inbox,)) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    begun = time.perf_counter()
    for number in range(ITEMS):
        inbox.put(2 * 3 * (299_993 + number % 3))
    for _ in consumers:
        inbox.put(None)
    for consumer in consumers:
        consumer.join()
    print(f"units={ITEMS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
