"""What a run costs."""

from __future__ import annotations

import pytest

from corelens.errors import UsageError
from corelens.reports.costs import check_price, cost_of


def test_the_whole_wall_time_is_charged() -> None:
    cost = cost_of(wall_s=1800, price_per_hour=3.5, trials_complete=7)
    assert cost.dollars == pytest.approx(1.75)
    assert cost.dollars_per_trial == pytest.approx(0.25)


@pytest.mark.parametrize("trials", [None, 0.0])
def test_a_run_without_trials_has_no_price_per_trial(trials: float | None) -> None:
    assert cost_of(3600, 3.5, trials).dollars_per_trial is None


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_must_be_above_zero(price: float) -> None:
    with pytest.raises(UsageError, match=r"--price .* is no hourly price.*--price 3\.50"):
        check_price(price)
