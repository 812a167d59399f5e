"""What a run costs on a machine that is paid by the hour. No price is built in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from corelens.errors import UsageError

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of one run, in the currency of the hourly price."""

    dollars: float
    dollars_per_trial: float | None
    """None: no trial completed, or none was marked."""


def check_price(price_per_hour: float) -> float:
    """Return the price, or raise UsageError unless it is a positive number."""
    if not math.isfinite(price_per_hour) or price_per_hour <= 0:
        raise UsageError(
            f"--price {price_per_hour:g} is no hourly price",
            "give the machine's price in $ per hour, a number above 0, such as --price 3.50",
        )
    return price_per_hour


def cost_of(wall_s: float, price_per_hour: float, trials_complete: float | None) -> Cost:
    """Charge the whole machine for the whole wall time, as a cloud does, busy or not.

    Raises UsageError on a price that is not above 0.
    """
    dollars = check_price(price_per_hour) * wall_s / _SECONDS_PER_HOUR
    return Cost(dollars, dollars / trials_complete if trials_complete else None)
