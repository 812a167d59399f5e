"""An allowance of CPU: so many cores on average, some savings, and a debt that is paid off by waiting."""

from __future__ import annotations


class Allowance:
    """What may be spent now. It fills at `cores` up to `savings_ns`, and begins full.

    Spending may overdraw it, because nobody knows what a look costs before it was taken; nothing more is
    begun until the debt is gone. So the mean never exceeds `cores` by more than the savings.
    """

    def __init__(self, cores: float, savings_ns: int) -> None:
        self.cores = cores
        self.balance_ns: float = savings_ns
        self._savings_ns = savings_ns
        self._last_ns: int | None = None

    @property
    def debt_ns(self) -> int:
        """What is still to be paid off."""
        return max(0, -round(self.balance_ns))

    def accrue(self, t_ns: int, share: float = 1.0) -> None:
        """Fill for the time since the last call, at a share of the rate."""
        if self._last_ns is not None:
            earned = self.cores * share * max(0, t_ns - self._last_ns)
            self.balance_ns = min(float(self._savings_ns), self.balance_ns + earned)
        self._last_ns = t_ns

    def spend(self, cpu_ns: int) -> None:
        """Take something out, whether it is there or not."""
        self.balance_ns -= cpu_ns
