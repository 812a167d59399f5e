"""`corelens explain-threads`: what a thread count seen elsewhere may be made of, without a recording."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corelens.reports.facts.decompositions import Decomposition, Explanation
    from corelens.reports.facts.thread_guesses import Assumption, Given

_JSON_SCHEMA = 1


def add_parser(subparsers: Any) -> None:
    """Declare the flags of `explain-threads`."""
    parser = subparsers.add_parser(
        "explain-threads",
        help="say what a thread count seen in htop may be made of",
        description="Say what a thread count that was seen in htop or ps may be made of: sums of the thread model"
        " (docs/threads.md) that give it exactly, those that need fewest assumptions first, then sums that leave"
        " a few threads unexplained, and what would tell them apart. No recording is needed; with the program"
        " still running, `corelens record -p PID` says what is true.",
    )
    # Said to be missing by ourselves, after argparse has refused what is misspelt.
    parser.add_argument(
        "threads", type=int, nargs="?", metavar="THREADS", help="the count that was seen, of one process"
    )
    parser.add_argument("--cores", type=int, metavar="N", help="cores of the machine; needed")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="workers that were asked for, as in n_jobs=N; needed"
    )
    parser.add_argument(
        "--libraries",
        metavar="A,B",
        help="what the program loads, of torch,numpy,scipy,scikit-learn (default: torch,numpy, perhaps scipy)",
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="how it runs its workers: optuna-threads, joblib-threads, thread-pool, thread-executor, process-pool,"
        " process-executor, joblib-loky, ray, sequential (default: threads of some kind)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain and print; raises UsageError for what the model does not know."""
    from corelens.reports.facts.decompositions import explain

    count = _at_least_one("THREADS", args.threads)
    given = _given(args)
    found = explain(count, given)
    if args.json:
        import json

        print(json.dumps(as_json(found, given), indent=2))
    else:
        print("\n".join(plain_lines(found, given)))
    return 0


def plain_lines(found: Explanation, given: Given) -> Iterator[str]:
    """Everything found, for a terminal, a pipe or a mail."""
    yield _headline(found, given)
    number = 0
    for title, some in _parts(found):
        if some:
            yield from ("", title)
        for each in some:
            number += 1
            yield from _decomposition(number, each, found.count)
    yield from ("", "what would tell them apart:")
    yield from _checks(found)


def as_json(found: Explanation, given: Given) -> dict[str, Any]:
    """The same as one JSON object; `unexplained` is the count less the sum."""
    from corelens.reports.facts.decompositions import checks

    return {
        "schema": _JSON_SCHEMA,
        "threads": found.count,
        "given": {
            "cores": given.cores,
            "workers": given.workers,
            "libraries": list(given.loaded),
            "backend": given.backend,
        },
        "exact": [_as_json(each) for each in found.exact],
        "near": [_as_json(each) for each in found.near],
        "nearest": [_as_json(each) for each in found.nearest],
        "checks": [{"question": question, "how": how} for question, how in checks(found)],
    }


def _given(args: argparse.Namespace) -> Given:
    from corelens.reports.facts.thread_guesses import BACKENDS, LIBRARIES, Given

    libraries = None
    if args.libraries is not None:
        libraries = tuple(dict.fromkeys(name.strip() for name in args.libraries.split(",") if name.strip()))
        for name in libraries:
            _known("--libraries", name, LIBRARIES)
    if args.backend is not None:
        _known("--backend", args.backend, BACKENDS)
    cores, workers = _at_least_one("--cores", args.cores), _at_least_one("--workers", args.workers)
    return Given(cores, workers, libraries, args.backend)


def _known(flag: str, name: str, names: Iterable[str]) -> None:
    from corelens.errors import UsageError

    if name not in names:
        raise UsageError(f"{flag}: the thread model does not know {name!r}", f"choose of {', '.join(names)}")


def _at_least_one(name: str, number: int | None) -> int:
    from corelens.errors import UsageError

    if number is None:
        raise UsageError(
            f"explain-threads got no {name}", "for example: explain-threads 387 --cores 64 --workers 5"
        )
    if number < 1:
        raise UsageError(f"{name} {number} is too small", "give 1 or more")
    return number


def _headline(found: Explanation, given: Given) -> str:
    workers = "1 worker" if given.workers == 1 else f"{given.workers} workers"
    cores = "1 core" if given.cores == 1 else f"{given.cores} cores"
    shape = f"{_threads(found.count)} with {cores} and {workers}"
    if found.nearest:
        from corelens.reports.facts.decompositions import FEW_THREADS

        return f"{shape}: nothing that the model knows comes within {FEW_THREADS} threads of that"
    exact = (
        "no exact sum"
        if not found.exact
        else f"{len(found.exact)} exact {'sum' if len(found.exact) == 1 else 'sums'}"
    )
    return f"{shape}: {exact}, {len(found.near)} near"


def _parts(found: Explanation) -> Iterator[tuple[str, tuple[Decomposition, ...]]]:
    yield "exact:", found.exact
    yield "near, with threads left unexplained:", found.near
    yield "nearest, none of which explains it:", found.nearest


def _decomposition(number: int, each: Decomposition, count: int) -> Iterator[str]:
    yield f"{number:>3}. {_sum(each, count)}"
    if not each.assumed:
        yield "     assumes nothing beyond what was given"
    else:
        plural = "assumption" if each.assumed == 1 else "assumptions"
        yield f"     {each.assumed} {plural}: {_texts(each.assumptions[0])}"
        yield from (f"     or: {_texts(together)}" for together in each.assumptions[1:])
    yield f"     before the work begins: {_threads(each.before_work)}"


def _sum(each: Decomposition, count: int) -> str:
    total, _, parts = each.prediction.equation().partition(" = ")
    if not each.unexplained:
        return f"{total} = {parts}"
    if each.unexplained > 0:
        return f"{count} = {parts} + {each.unexplained} unexplained"
    return f"{count} = {parts} - {-each.unexplained} that this would have and that were not seen"


def _texts(together: Iterable[Assumption]) -> str:
    return "; and ".join(dict.fromkeys(one.text for one in together))


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _checks(found: Explanation) -> Iterator[str]:
    from corelens.reports.facts.decompositions import checks
    from corelens.reports.facts.thread_assumptions import RECORD

    shown = (*found.exact, *found.near, *found.nearest)
    before = sorted({each.before_work for each in shown})
    if len(before) > 1:
        yield f"  - threads before the work begins: {', '.join(map(str, before))}"
        yield "      ls /proc/PID/task | wc -l"
    asked = {how: question for question, how in checks(found)}
    seen = asked.pop(RECORD, None)
    for how, question in asked.items():
        yield f"  - {question}"
        yield f"      {how}"
    yield (
        "  - all of it at once, while it runs"
        if seen is None
        else f"  - {seen}; and all the rest, while it runs"
    )
    yield f"      {RECORD}"


def _as_json(each: Decomposition) -> dict[str, Any]:
    terms = each.prediction.terms
    return {
        "sum": each.prediction.equation(),
        "threads": each.prediction.total,
        "unexplained": each.unexplained,
        "assumptions": [
            [{"text": one.text, "check": one.check} for one in together] for together in each.assumptions
        ],
        "threads_before_work": each.before_work,
        "terms": [
            {
                "name": term.name,
                "groups": term.groups,
                "each": term.each,
                "threads": term.count,
                "why": term.why,
            }
            for term in terms
            if term.count
        ],
    }
