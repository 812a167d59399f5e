"""The parent decodes lines before it queues them, and three consumers wait; `--fixed` queues lines undecoded."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Sequence

FIXED = "--fixed" in sys.argv
LINES = 260


def line(number: int) -> str:
    """Give one line of the file: numbers in hexadecimal."""
    return ",".join(f"{(number * position) % 65_521:x}" for position in range(500)) + ","


def decode(text: str) -> list[int]:
    """Decode a line, one letter at a time."""
    values: list[int] = []
    for _ in range(24):
        values, value = [], 0
        for letter in text:
            if letter == ",":
                values.append(value)
                value = 0
            else:
                value = value * 16 + "0123456789abcdef".index(letter)
    return values


def consume(
    inbox: multiprocessing.Queue[Sequence[int] | str | None], outbox: multiprocessing.Queue[int]
) -> None:
    """Add up lines until there are no more."""
    total = 0
    while (item := inbox.get()) is not None:
        values = decode(item) if isinstance(item, str) else item
        for _ in range(20):
            total += sum(value * value % 7 for value in values)
    outbox.put(total)


def main() -> None:
    """Feed three consumers."""
    inbox: multiprocessing.Queue[Sequence[int] | str | None] = multiprocessing.Queue(6)
    outbox: multiprocessing.Queue[int] = multiprocessing.Queue()
    consumers = [multiprocessing.Process(target=consume, args=(inbox, outbox)) for _ in range(3)]
    for consumer in consumers:
        consumer.start()
    texts = [line(number) for number in range(LINES)]
    begun = time.perf_counter()
    for text in texts * 9:
        inbox.put(text if FIXED else decode(text))
    for _ in consumers:
        inbox.put(None)
    for _ in consumers:
        outbox.get()
    for consumer in consumers:
        consumer.join()
    print(f"units={LINES * 9} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
