"""What became of a program: what each twin was diagnosed as, whether that is right, and what the fix gained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corelens.scenarios.pathologies.program import Program
from corelens.scenarios.pathologies.registry import named

LARGE_GAIN = 5.0
"""Above it a prediction of "more than 5 times" counts: how far above it lies depends on how sick the program is."""
GAIN_TOLERANCE = 1.5
"""A prediction within this factor of the measured gain leads to the same decision."""
_WORK = re.compile(r"^units=(\S+) elapsed (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Gain:
    """A predicted gain; `at_least` makes it a lower bound."""

    factor: float
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one twin."""

    verdict: str | None
    """None: the run failed, or its recording was given no verdict; `trouble` says which."""
    variant: str | None
    wall_s: float
    throughput_hz: float | None
    """Units of work per second as the program counts them; None where it printed none or did none."""
    predicted: Gain | None
    """What the first finding predicts; None where it predicts nothing."""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Both twins of one program; `not_run` says why there are none."""

    program: Program
    sick: Run | None = None
    fixed: Run | None = None
    not_run: str = ""

    @property
    def sick_is_right(self) -> bool | None:
        """Whether the first twin got its verdict; None when it was not run."""
        return None if self.sick is None else is_right(self.program, self.sick, fixed=False)

    @property
    def fixed_is_right(self) -> bool | None:
        """Whether the second twin was spared the verdict of the first; None when it was not run."""
        return None if self.fixed is None else is_right(self.program, self.fixed, fixed=True)

    @property
    def measured_gain(self) -> float | None:
        """Throughput with the fix over throughput without."""
        if self.sick is None or self.fixed is None or not self.program.has_gain:
            return None
        before, after = self.sick.throughput_hz, self.fixed.throughput_hz
        return after / before if before and after else None

    @property
    def gain_is_right(self) -> bool | None:
        """Whether the predicted gain is near the measured one; None unless there are both."""
        measured = self.measured_gain
        if self.sick is None or self.sick.predicted is None or measured is None:
            return None
        return is_near(self.sick.predicted, measured)


def is_right(program: Program, run: Run, *, fixed: bool) -> bool:
    """Whether a twin got what it must get: the fixed one anything but the verdict of the sick one."""
    if run.trouble:
        return False
    return run.verdict != program.verdict if fixed else run.verdict == program.verdict


def is_near(predicted: Gain, measured: float) -> bool:
    """Whether a prediction would have led to the same decision as the measurement."""
    if measured > LARGE_GAIN and predicted.factor >= LARGE_GAIN:
        return True
    if predicted.at_least and measured >= predicted.factor:
        # A lower bound that says little is no good prediction either.
        return measured <= predicted.factor * GAIN_TOLERANCE
    return 1 / GAIN_TOLERANCE <= predicted.factor / measured <= GAIN_TOLERANCE


def throughput_hz(output: str) -> float | None:
    """Read what a program says of its work at the end of its output."""
    said = _WORK.findall(output)
    if not said:
        return None
    units, elapsed_s = (float(number) for number in said[-1])
    return units / elapsed_s if units and elapsed_s else None


def written(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Give outcomes as JSON holds them, with what follows from them."""
    return [
        {
            "name": each.program.name,
            "must_be": each.program.verdict,
            "variant": each.program.variant,
            "sick": asdict(each.sick) if each.sick else None,
            "sick_is_right": each.sick_is_right,
            "fixed": asdict(each.fixed) if each.fixed else None,
            "fixed_is_right": each.fixed_is_right,
            "measured_gain": each.measured_gain,
            "gain_is_right": each.gain_is_right,
            "not_run": each.not_run,
        }
        for each in outcomes
    ]


def read_back(rows: Sequence[dict[str, Any]]) -> list[Outcome]:
    """Give outcomes again from what `written` gave; raises UsageError for a program that there is not."""
    return [
        Outcome(named(row["name"]), _run(row["sick"]), _run(row["fixed"]), row["not_run"]) for row in rows
    ]


def _run(row: dict[str, Any] | None) -> Run | None:
    if row is None:
        return None
    values: dict[str, Any] = {**row, "predicted": Gain(**row["predicted"]) if row["predicted"] else None}
    return Run(**values)
