"""A quantity over several things: never a mean without its spread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median, maximum and mean of one quantity over `count` things."""

    count: int
    minimum: float
    median: float
    maximum: float
    mean: float
