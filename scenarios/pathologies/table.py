"""The outcomes as tables: for a terminal, and as the page on accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from corelens.scenarios.pathologies.outcome import GAIN_TOLERANCE, LARGE_GAIN, Gain, Outcome
from corelens.scenarios.pathologies.program import VERDICTS

HEAD = ("program", "must be", "got", "", "with the fix", "", "seconds", "gain", "predicted")


def lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Lay the outcomes out for a terminal, with the count at the end."""
    rows = [HEAD, *(_cells(each) for each in outcomes if each.sick or each.fixed)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for each in outcomes:
        if each.not_run:
            yield f"not run: {each.program.name}: {each.not_run}"
    yield from counts(outcomes)


def counts(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Say how many are right: causes, false alarms, twins with the fix, gains."""
    sick = [each.sick_is_right for each in outcomes if each.program.is_sick and each.sick]
    healthy = [each.sick_is_right for each in outcomes if not each.program.is_sick and each.sick]
    fixed = [each.fixed_is_right for each in outcomes if each.fixed]
    gains = [each for each in outcomes if each.measured_gain is not None]
    yield f"causes right: {sum(map(bool, sick))} of {len(sick)}"
    yield f"false alarms: {sum(not right for right in healthy)} of {len(healthy)} healthy programs"
    if fixed:
        yield f"with the fix another verdict: {sum(map(bool, fixed))} of {len(fixed)}"
    if gains:
        yield f"gains predicted within a factor of {GAIN_TOLERANCE:g}: {_near(gains)} of {len(gains)}"
    not_run = sum(bool(each.not_run) for each in outcomes)
    if not_run:
        yield f"not run here: {not_run}"


def accuracy_page(outcomes: Sequence[Outcome], *, date: str, machine: str, command: str) -> str:
    """Write the page on accuracy in Markdown."""
    parts = (
        "# How often the verdict is right\n",
        "Every program of `scenarios/pathologies` was recorded, diagnosed, given the fix, and recorded again."
        " The gain is throughput with the fix over throughput without; *predicted* is what the report of the"
        f" first recording said. It counts as right within a factor of {GAIN_TOLERANCE:g}; where the fix gains"
        f" more than {LARGE_GAIN:g} times, so does any prediction from {LARGE_GAIN:g} times on.\n",
        f"- date: {date}\n- machine: {machine}\n- command: `{command}`\n",
        "\n".join(f"- {line}" for line in counts(outcomes)) + "\n",
        "## By verdict\n",
        _markdown(("verdict", "programs", "right"), _by_verdict(outcomes)),
        "## By program\n",
        _markdown(HEAD, (_cells(each) for each in outcomes if each.sick)),
        *_not_run(outcomes),
        "`memory-bandwidth` has no program: it is proven by hardware counters alone, which few machines show.\n",
    )
    return "\n".join(parts)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    sick, fixed = outcome.sick, outcome.fixed
    predicted = sick.predicted if sick else None
    return (
        outcome.program.name,
        outcome.program.verdict,
        _got(outcome, fixed=False),
        _word(outcome.sick_is_right),
        _got(outcome, fixed=True),
        _word(outcome.fixed_is_right),
        " + ".join(f"{run.wall_s:.0f}" for run in (sick, fixed) if run),
        _times(outcome.measured_gain),
        _prediction(predicted) + ("" if outcome.gain_is_right in (None, True) else " (wrong)"),
    )


def _got(outcome: Outcome, *, fixed: bool) -> str:
    run = outcome.fixed if fixed else outcome.sick
    if run is None:
        return ""
    return run.verdict or run.trouble or "no verdict"


def _word(right: bool | None) -> str:
    return "" if right is None else "right" if right else "WRONG"


def _times(gain: float | None) -> str:
    return "" if gain is None else f"{gain:.2f}x" if gain < 10 else f"{gain:.0f}x"


def _prediction(gain: Gain | None) -> str:
    if gain is None:
        return ""
    return f"> {_times(gain.factor)}" if gain.at_least else _times(gain.factor)


def _near(outcomes: Iterable[Outcome]) -> int:
    return sum(each.gain_is_right is True for each in outcomes)


def _by_verdict(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, ...]]:
    for verdict in VERDICTS:
        of_it = [each.sick_is_right for each in outcomes if each.program.verdict == verdict and each.sick]
        if of_it:
            yield verdict, str(len(of_it)), str(sum(map(bool, of_it)))


def _not_run(outcomes: Sequence[Outcome]) -> Iterator[str]:
    missing = [each for each in outcomes if each.not_run]
    if missing:
        yield "## Not run here\n"
        yield _markdown(("program", "why"), ((each.program.name, each.not_run) for each in missing))


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    table = [head, ["---"] * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table) + "\n"
    )
