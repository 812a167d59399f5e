"""The thread ledger as rows and lines of text: alike processes once, the sums in words, what differs and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from corelens.reports.report import LedgerLine, LedgerTeams, ProcessLedger, ThreadLedger

ABSENT = "—"
COLUMNS = ("process", "owner", "threads", "OpenMP teams", "busy", "idle", "predicted", "difference")
NUMERIC = (False, False, True, False, True, True, True, True)
BUSY_NOTE = (
    "busy: wanted a core, on one or waiting, for at least 5 % of the second before and the second after;"
    " idle: wanted it less"
)
MOST_NOTES = 20

Alike = list[ProcessLedger]
"""Processes whose ledgers are equal but for how busy their threads were."""


def rows(ledger: ThreadLedger) -> Iterator[tuple[str, ...]]:
    """Every owner of every kind of process, each with its total."""
    for alike in _merged(ledger.processes):
        first = alike[0]
        for place, line in enumerate(first.lines):
            beside = [process.lines[place] for process in alike]
            yield (_process(alike) if place == 0 else "", line.label, *_figures(line, beside))
        if len(first.lines) > 1:
            yield (
                "",
                "= all",
                str(first.threads),
                "",
                "",
                "",
                _number(first.predicted),
                _signed(first.difference),
            )


def equations(ledger: ThreadLedger) -> Iterator[str]:
    """The sums in words: of the tree, then of each kind of process."""
    if len(ledger.processes) != 1:
        yield ledger.equation
    for alike in _merged(ledger.processes):
        yield alike[0].equation if len(ledger.processes) == 1 else f"{_process(alike)}: {alike[0].equation}"


def notes(ledger: ThreadLedger) -> list[str]:
    """What differs, what is unknown and why, what the prediction rests on, and peaks at other times."""
    told: list[str] = []
    merged = _merged(ledger.processes)
    for alike in merged:
        told += _process_notes(alike)
    told += _unpredicted(merged)
    told += _own_peaks(ledger.own_peaks)
    left_out = len(told) - MOST_NOTES
    more = [f"{left_out} more notes are in the JSON report"] if left_out > 0 else []
    return [*told[:MOST_NOTES], *more, BUSY_NOTE]


def short_equation(ledger: ThreadLedger) -> str | None:
    """The sum in words for a first screen; None where no owner is known."""
    known = [
        line
        for process in ledger.processes
        for line in process.lines
        if line.owner not in ("main", "unknown")
    ]
    return ledger.equation if known else None


def _merged(processes: Iterable[ProcessLedger]) -> list[Alike]:
    alike: dict[object, Alike] = {}
    for process in processes:
        alike.setdefault(_shape(process), []).append(process)
    return list(alike.values())


def _shape(process: ProcessLedger) -> object:
    lines = tuple(
        (line.label, line.threads, line.teams, line.predicted, line.reason) for line in process.lines
    )
    return process.role, process.threads, process.predicted, lines


def _process(alike: Alike) -> str:
    first = alike[0]
    return f"{len(alike)} x {first.role}" if len(alike) > 1 else f"{first.role} {first.pid}"


def _figures(line: LedgerLine, beside: Sequence[LedgerLine]) -> tuple[str, ...]:
    return (
        str(line.threads),
        "; ".join(map(_teams, line.teams)),
        _range([each.busy for each in beside]),
        _range([each.idle for each in beside]),
        _number(line.predicted),
        _signed(line.difference),
    )


def _teams(teams: LedgerTeams) -> str:
    if teams.teams is None:
        return f"{teams.threads_each} whose opener was not found"
    if teams.teams == 1:
        return f"1 team of {teams.threads_each}, opened by {_article(teams.opened_by)}"
    return f"{teams.teams} teams of {teams.threads_each}, each opened by one {teams.opened_by}"


def _article(opener: str | None) -> str:
    return "the main thread" if opener == "main thread" else f"one {opener}"


def _process_notes(alike: Alike) -> Iterator[str]:
    first, name = alike[0], _process(alike)
    yield from (f"{name}: {sentence}" for sentence in first.differences)
    for line in first.lines:
        if line.owner in ("unknown", "short-lived") and line.reason:
            yield f"{name}: {line.threads} {line.label}: {line.reason}"
    if first.predicted is not None and first.threads > 1:
        verdict = "as seen" if not first.difference else f"{_signed(first.difference)} seen"
        yield f"{name}: {first.predicted} predicted ({verdict}) from {_inputs(first)}"


def _unpredicted(merged: list[Alike]) -> Iterator[str]:
    """Processes without a prediction, those with the same reason together."""
    names: dict[str, list[str]] = {}
    for alike in merged:
        if alike[0].reason is not None and alike[0].threads > 1:
            names.setdefault(alike[0].reason, []).append(_process(alike))
    yield from (f"{', '.join(of)}: nothing is predicted: {reason}" for reason, of in names.items())


def _inputs(process: ProcessLedger) -> str:
    return ", ".join(f"{each.name} = {_number(each.value)} ({each.source})" for each in process.inputs)


def _own_peaks(processes: Iterable[ProcessLedger]) -> Iterator[str]:
    for alike in _merged(processes):
        first = alike[0]
        when = f"at {first.at_s:.1f} s" if len(alike) == 1 else "each at a time of its own"
        yield f"{_process(alike)} had most threads {when}: {first.equation}"


def _range(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ABSENT
    return str(known[0]) if min(known) == max(known) else f"{min(known)}–{max(known)}"


def _number(value: int | None) -> str:
    return ABSENT if value is None else str(value)


def _signed(value: int | None) -> str:
    return ABSENT if value is None else f"{value:+d}" if value else "0"
