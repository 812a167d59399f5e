"""Decompositions of a thread count that somebody saw, best first.

Best is what takes least for granted: exact sums by the number of assumptions that they need beyond what was
given, of equal numbers those first that contradict less of it. Then sums that leave a few threads unexplained,
and only those that assume no more than the best exact one and that no closer sum beats with fewer. What is left
over is always stated. When nothing comes close, the nearest are given as what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from corelens.reports.facts.thread_assumptions import Choice, dimensions
from corelens.reports.facts.thread_guesses import Assumption, Given, Guess, first
from corelens.reports.facts.thread_model import Prediction

# With four, nearly every number can be hit, and a hit says nothing.
MOST_ASSUMPTIONS = 3
# A program keeps about so many threads that no model knows: listeners, monitors, timers of its libraries.
FEW_THREADS = 5
MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Decomposition:
    """One way to reach a count, or nearly."""

    prediction: Prediction
    unexplained: int
    """Seen less predicted: 0 where it is exact, negative where fewer were seen."""
    assumptions: tuple[tuple[Assumption, ...], ...]
    """Sets of assumptions that give this same sum; any one will do. One empty set: nothing was assumed."""
    before_work: int
    """Threads before the first worker starts."""

    @property
    def assumed(self) -> int:
        """Number of assumptions that it needs at least."""
        return min(map(len, self.assumptions))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything found about one count."""

    count: int
    exact: tuple[Decomposition, ...]
    near: tuple[Decomposition, ...]
    nearest: tuple[Decomposition, ...]
    """Only where there is neither: the closest sums, which explain nothing well."""


def explain(count: int, given: Given) -> Explanation:
    """Search for sums that give a count."""
    found = _by_sum(count, _guesses(given))
    exact = sorted((each for each in found if not each.unexplained), key=_assumed_first)
    most = exact[0].assumed if exact else MOST_ASSUMPTIONS
    near = [each for each in found if 0 < abs(each.unexplained) <= FEW_THREADS and each.assumed <= most]
    rest = [] if exact or near else found
    return Explanation(
        count,
        exact=tuple([each for each in exact if each.assumed <= most + 1][:MOST_SHOWN]),
        near=tuple(_undominated(near)[:MOST_SHOWN]),
        nearest=tuple(sorted(_undominated(rest), key=_distance)[:MOST_SHOWN]),
    )


def _undominated(some: Iterable[Decomposition]) -> list[Decomposition]:
    """Those for which no other is as close and assumes less."""
    kept: list[Decomposition] = []
    for each in sorted(some, key=lambda one: (one.assumed, _distance(one), _assumed_first(one))):
        better = [one for one in kept if _distance(one) <= _distance(each) and one.assumed < each.assumed]
        same = [one for one in kept if one.assumed == each.assumed and _distance(one) < _distance(each)]
        if not better and not same:
            kept.append(each)
    return kept


def checks(explanation: Explanation) -> list[tuple[str, str]]:
    """What would tell the decompositions apart: (question, how to find out), each way once."""
    shown = (*explanation.exact, *explanation.near, *explanation.nearest)
    asked: dict[str, list[str]] = {}
    for each in shown:
        for assumption in (one for sets in each.assumptions for one in sets):
            texts = asked.setdefault(assumption.check, [])
            if assumption.text not in texts:
                texts.append(assumption.text)
    return [("; ".join(texts), check) for check, texts in asked.items()]


def _distance(each: Decomposition) -> int:
    # Threads too many can be strangers; threads too few would have to be missing.
    return 2 * abs(each.unexplained) + (each.unexplained < 0)


def _assumed_first(each: Decomposition) -> tuple[int, ...]:
    against = min(sum(one.against for one in together) for together in each.assumptions)
    return each.assumed, against, _distance(each), len(each.prediction.terms)


def _guesses(given: Given) -> Iterator[Guess]:
    yield from _extended(first(given), list(dimensions(given)))


def _extended(guess: Guess, questions: list[list[Choice]]) -> Iterator[Guess]:
    if not questions:
        yield guess
        return
    for change, assumed in questions[0]:
        together = (*guess.assumed, *assumed)
        if len(together) <= MOST_ASSUMPTIONS:
            yield from _extended(replace(change(guess), assumed=together), questions[1:])


def _by_sum(count: int, guesses: Iterable[Guess]) -> list[Decomposition]:
    """One decomposition per sum, with the smallest sets of assumptions that lead to it."""
    made: dict[str, Decomposition] = {}
    for guess in guesses:
        prediction = guess.prediction()
        sum_in_words = prediction.equation()
        known = made.get(sum_in_words)
        if known is None or len(guess.assumed) < known.assumed:
            before = guess.before_work().total
            made[sum_in_words] = Decomposition(prediction, count - prediction.total, (guess.assumed,), before)
        elif len(guess.assumed) == known.assumed and guess.assumed not in known.assumptions:
            made[sum_in_words] = replace(known, assumptions=(*known.assumptions, guess.assumed))
    return list(made.values())
