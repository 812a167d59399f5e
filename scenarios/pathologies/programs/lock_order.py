"""Two threads take the same two locks in opposite order; `--fixed` takes them in one order.

Ends itself after ten seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

FIXED = "--fixed" in sys.argv
STUCK_AFTER_S = 10
STUCK = 75
TRANSFERS = 400_000


class Account:
    """Money under a lock."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()
        self.amount = 0


def transfer(source: Account, target: Account) -> None:
    """Move money between accounts, both locked."""
    first, second = (
        sorted((source, target), key=lambda account: account.number) if FIXED else (source, target)
    )
    with first.lock, second.lock:
        source.amount -= 1
        target.amount += 1


def clerk(source: Account, target: Account) -> None:
    """Transfer over and over."""
    for _ in range(TRANSFERS):
        transfer(source, target)


def give_up(_number: int, _frame: object) -> None:
    """End the process and say why."""
    print(f"stuck: nothing moved for {STUCK_AFTER_S} s\nunits=0 elapsed {STUCK_AFTER_S:.2f}", flush=True)
    os._exit(STUCK)


def main() -> None:
    """Let two clerks transfer in opposite directions."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(STUCK_AFTER_S)
    begun = time.perf_counter()
    sys.setswitchinterval(1e-5)
    left, right = Account(1), Account(2)
    pairs = ((left, right), (right, left))
    clerks = [threading.Thread(target=clerk, args=pair, daemon=True) for pair in pairs]
    for each in clerks:
        each.start()
    for each in clerks:
        each.join()
    print(f"units={2 * TRANSFERS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
