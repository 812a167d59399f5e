"""One process of the ledger: its threads by owner beside the terms of the model, and where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corelens.reports.facts import owned
from corelens.reports.facts.activity import Activity
from corelens.reports.facts.ledger_lines import OPENMP, Group, Workers, copy_of, teams
from corelens.reports.facts.presence import Present
from corelens.reports.facts.thread_model import Prediction, Term
from corelens.reports.report import LedgerLine, LedgerTeams

NOT_LISTED = "not listed"
BEYOND_THE_COUNT = "listed beyond the count"
OUTSIDE = "outside the model"
_BY_COPY = frozenset({owned.OPENMP_GNU, owned.OPENBLAS})
_BY_LABEL = frozenset({owned.PYTHON_HELPER})

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one process at one moment."""

    present: Present
    groups: list[Group]
    workers: Workers
    activity: Activity


def lines(seen: Observed, prediction: Prediction | None, unknown: dict[Key, str]) -> tuple[LedgerLine, ...]:
    """The observed owners beside their terms, predicted ones that are not there, and what was not listed."""
    terms = {} if prediction is None else {_term_key(term): term for term in prediction.terms}
    by_thread = {thread: group for group in seen.groups for thread in group.threads}
    made: list[LedgerLine] = []
    for group in seen.groups:
        opened = teams(group, by_thread, seen.workers)
        key = _group_key(group, seen.workers)
        term = terms.pop(key, None)
        made.append(_line(group, opened, seen.activity, *_predicted(group, key, term, prediction, unknown)))
        if key == (owned.PYTHON, _EACH):
            terms.pop((owned.PYTHON, ""), None)
    made += (_absent(term) for term in terms.values() if term.count)
    made += _unlisted(seen.present)
    return tuple(made)


def _predicted(
    group: Group, key: Key, term: Term | None, prediction: Prediction | None, unknown: dict[Key, str]
) -> tuple[int | None, str | None]:
    """The number that the model gives for a group, with its reason or why there is none."""
    if group.owner.reason is not None or prediction is None:
        return None, group.owner.reason
    if key in unknown:
        return None, unknown[key]
    if term is not None:
        return term.count, term.why
    if key == (owned.PYTHON, _EACH):
        return len(group.threads), "the number of Python threads is an input, read off the observation"
    return None, OUTSIDE


# Python threads that nothing tells to be workers: each group of names is predicted by itself.
_EACH = "each"


def _group_key(group: Group, workers: Workers) -> Key:
    kind = group.owner.kind
    if kind in _BY_COPY:
        return kind, group.copy
    if kind in _BY_LABEL:
        return kind, group.label
    if kind == owned.PYTHON:
        if not workers.told:
            return kind, _EACH
        return kind, "" if group.threads[0] in workers.threads else group.label
    return kind, ""


def _term_key(term: Term) -> Key:
    if term.owner in _BY_COPY:
        return term.owner, copy_of(term.name)
    return term.owner, term.name if term.owner in _BY_LABEL else ""


def _line(
    group: Group,
    opened: tuple[LedgerTeams, ...],
    activity: Activity,
    predicted: int | None,
    reason: str | None,
) -> LedgerLine:
    busy = sum(thread in activity.busy for thread in group.threads)
    idle = sum(thread in activity.idle for thread in group.threads)
    known = bool(busy or idle)
    count = len(group.threads)
    return LedgerLine(
        owner=group.owner.kind,
        label=group.label,
        threads=count,
        teams=opened,
        busy=busy if known else None,
        idle=idle if known else None,
        predicted=predicted,
        difference=None if predicted is None else count - predicted,
        reason=reason,
    )


def _absent(term: Term) -> LedgerLine:
    return LedgerLine(term.owner, term.name, 0, (), 0, 0, term.count, -term.count, term.why)


def _unlisted(present: Present) -> Iterator[LedgerLine]:
    count = present.unlisted
    if count > 0:
        reason = (
            "its threads were not listed at that time"
            if not present.threads
            else "in the kernel's count and in no list: threads that lived shorter than a look, or began as it was made"
        )
        yield _remainder(NOT_LISTED, count, reason)
    elif count < 0:
        reason = (
            "listed, and not in the kernel's count of that moment: their end was not noticed yet, or is lost"
        )
        yield _remainder(BEYOND_THE_COUNT, count, reason)


def _remainder(label: str, count: int, reason: str) -> LedgerLine:
    return LedgerLine(owned.SHORT_LIVED, label, count, (), None, None, None, None, reason)


def equation(total: int, made: Iterable[LedgerLine]) -> str:
    """The sum in words: `387 = 1 main + 5 Optuna workers + 6 x 63 libgomp (torch) + …`."""
    text = ""
    for line in made:
        if line.threads:
            sign = "-" if line.threads < 0 else "+"
            text += f" {sign} {_factors(line)} {line.label}"
    return f"{total} ={text.removeprefix(' +')}"


def _factors(line: LedgerLine) -> str:
    if not line.teams:
        return str(abs(line.threads))
    return " + ".join(_factor(each) for each in line.teams)


def _factor(each: LedgerTeams) -> str:
    return str(each.threads_each) if each.teams in (None, 1) else f"{each.teams} x {each.threads_each}"


def differences(made: Iterable[LedgerLine], terms: Iterable[Term]) -> tuple[str, ...]:
    """One sentence per line that the model does not give as it was seen."""
    by_key = {_term_key(term): term for term in terms}
    return tuple(sentence for line in made if (sentence := _difference(line, by_key)))


def _difference(line: LedgerLine, terms: dict[Key, Term]) -> str | None:
    if line.predicted is None:
        outside = line.reason == OUTSIDE
        return f"{_threads(line.threads)} of {line.label}: {OUTSIDE}" if outside else None
    if not line.difference:
        return None
    size = abs(line.difference)
    told = f"{line.label}: {line.threads} seen, {line.predicted} predicted ({size} {_more(line.difference)})"
    term = terms.get((line.owner, copy_of(line.label))) if line.owner in OPENMP else None
    return f"{told}: {_team_difference(line, term)}" if term is not None and line.teams else told


def _team_difference(line: LedgerLine, term: Term) -> str:
    seen = " and ".join(map(_some_teams, line.teams))
    return f"{seen}, where {term.groups} of {term.each} were predicted"


def _some_teams(each: LedgerTeams) -> str:
    if each.teams is None:
        return f"{_threads(each.threads_each)} whose opener was not found"
    return f"{each.teams} {'team' if each.teams == 1 else 'teams'} of {each.threads_each}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _more(difference: int) -> str:
    return "more" if difference > 0 else "fewer"
