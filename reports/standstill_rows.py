"""Rows and notes of the part that tells a standstill: who waited for whom while nothing moved."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.report import Standstill

COLUMNS = ("process", "role", "thread", "waits", "can it end?")
NUMERIC = (True, False, False, False, False)


def title(still: Standstill) -> str:
    """What the part is called."""
    return "Deadlock: who waits for whom" if still.deadlock else "Longest standstill: who waited for what"


def rows(still: Standstill) -> Iterator[tuple[str, ...]]:
    """One row a thread that tells something, those of idle native pools left out."""
    for one in still.waiters:
        name = one.name or ("main" if one.pid == one.tid else str(one.tid))
        yield (
            str(one.pid),
            one.role,
            name,
            one.sentence.partition(" waits ")[2] or one.sentence,
            "never" if one.endless else "yes",
        )


def notes(still: Standstill) -> Iterator[str]:
    """From when to when, and how much is known of it."""
    ending = ", to the end of the program" if still.to_the_end else ""
    yield f"nothing moved from {still.since_s:.1f} s to {still.until_s:.1f} s{ending}"
    if still.deadlock:
        yield "each wait can only be ended by threads of this table, and all of them wait"
    if still.killed:
        yield "the recorder ended the program for it, as --kill-deadlocked asked"
    if not still.looked:
        yield "pieced together from what was last seen of each thread: whether a wait has a timeout is not known"
