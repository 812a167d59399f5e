"""The explosion: what was predicted of each run against what its ledger holds, owner by owner.

Pure: reports of recordings in, one `Explosion` out. A count agrees when every process of a role has, of every
owner, exactly the predicted threads; sums that happen to be equal are not enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from corelens.errors import NothingMeasured
from corelens.reports.conditions import trouble_of
from corelens.reports.exploded import Explosion, ExplosionRun, RoleCount, TermCount
from corelens.reports.explosion_expected import Expected, expected, shape_of
from corelens.reports.facts import owned
from corelens.reports.facts.thread_model import Term
from corelens.reports.formatting import tree_lines
from corelens.reports.report import LedgerLine, ProcessLedger, Report

SWEPT = "w5"
"""The run that a sweep repeats on other numbers of cores."""
_NATIVE = frozenset({owned.OPENBLAS, owned.OPENMP_GNU, owned.TORCH_PTHREADPOOL})
# What a ledger calls the threads that ran trials.
_WORKERS = ("Optuna worker", "joblib worker", "Python worker")


def explosion(reports: Sequence[Report]) -> Explosion:
    """Hold every run against its prediction.

    Raises NothingMeasured without any report, and NotComparable for a recording of something else.
    """
    if not reports:
        raise NothingMeasured(
            "no run left anything to report", "look into the .log files beside the recordings"
        )
    runs = [_run(report) for report in reports]
    largest = max(run.cores for run in runs)
    sweep = sorted((run for run in runs if run.name == SWEPT), key=lambda run: run.cores)
    return Explosion(
        host=reports[0].host,
        packages=reports[0].packages,
        corelens=reports[0].source.corelens,
        runs=tuple(run for run in runs if run.cores == largest),
        sweep=tuple(sweep) if any(run.cores < largest for run in runs) else (),
        differences=tuple(text for run in runs for text in _differences(run)),
        identical_values=_identical(runs),
    )


def _run(report: Report) -> ExplosionRun:
    shape = shape_of(report.source.labels)
    predicted = expected(shape)
    seen = _processes(report)
    terms = tuple(_terms(predicted, seen))
    return ExplosionRun(
        name=shape.name,
        what=shape.what,
        workers=shape.workers,
        limit=shape.limit,
        cores=shape.cores,
        emulated=shape.emulated,
        recording=Path(report.source.path).name,
        roles=tuple(_roles(predicted, seen)),
        terms=terms,
        predicted=sum(one.processes * one.each.total for one in predicted),
        observed=sum(process.threads for process in seen) if seen else None,
        trouble=trouble_of(report) or (None if seen else "the recording holds no ledger of threads"),
        values=_values(report),
        trials_at_once=report.trials.overlap_mean if report.trials else None,
        tree=tuple(tree_lines(report.tree)),
        wall_s=report.wall_s,
        busy_cores_mean=report.cpu.busy_cores_mean,
        run_queue_wait_share=report.cpu.run_queue_wait_share,
    )


def _processes(report: Report) -> list[ProcessLedger]:
    """The ledger of each process at its own moment of most threads."""
    if report.ledger is None:
        return []
    at_peak = {process.pid: process for process in report.ledger.processes}
    at_peak.update({process.pid: process for process in report.ledger.own_peaks})
    return list(at_peak.values())


def _values(report: Report) -> tuple[tuple[int, float], ...]:
    found = report.trials.trials if report.trials else ()
    return tuple(
        sorted(
            (trial.number, trial.value)
            for trial in found
            if trial.number is not None and trial.value is not None
        )
    )


def _terms(predicted: Sequence[Expected], seen: Sequence[ProcessLedger]) -> Iterator[TermCount]:
    for one in predicted:
        processes = [process for process in seen if process.role == one.role]
        told = [(process, assigned(one.each.terms, process.lines)) for process in processes]
        for place, term in enumerate(one.each.terms):
            counts = [counts[place] for _, (counts, _) in told]
            yield _term(one, term, counts)
        for _, (_, others) in told:
            yield from (_unpredicted(one.role, line) for line in others)
    known = {one.role for one in predicted}
    for process in seen:
        if process.role not in known:
            yield from (_unpredicted(process.role, line) for line in process.lines)


def assigned(terms: Sequence[Term], lines: Sequence[LedgerLine]) -> tuple[list[int], list[LedgerLine]]:
    """Give each predicted term the threads of the lines that are it, and the lines that are none of them.

    A line belongs to the term of its owner and name. The only copy of a native library is the predicted one,
    whatever it is called: an installation may keep it elsewhere.
    """
    counts = [0] * len(terms)
    others: list[LedgerLine] = []
    for line in lines:
        alone = [each.owner for each in lines].count(line.owner) == 1 and line.owner in _NATIVE
        places = [place for place, term in enumerate(terms) if term.owner == line.owner]
        named = [place for place in places if terms[place].name == _name(line)]
        found = named or (places if alone and len(places) == 1 else [])
        if found:
            counts[found[0]] += line.threads
        else:
            others.append(line)
    return counts, others


def _name(line: LedgerLine) -> str:
    """A line's label in the words of the model."""
    return "Python workers" if line.label.removesuffix("s") in _WORKERS else line.label


def _term(one: Expected, term: Term, counts: Sequence[int]) -> TermCount:
    return TermCount(
        role=one.role,
        name=term.name,
        owner=term.owner,
        predicted=one.processes * term.count,
        observed=sum(counts),
        agrees=len(counts) == one.processes and all(count == term.count for count in counts),
        why=term.why,
    )


def _unpredicted(role: str, line: LedgerLine) -> TermCount:
    why = line.reason or "the model knows no such threads here"
    return TermCount(role, line.label, line.owner, 0, line.threads, line.threads == 0, why)


def _roles(predicted: Sequence[Expected], seen: Sequence[ProcessLedger]) -> Iterator[RoleCount]:
    by_role = {one.role: one for one in predicted}
    for role in dict.fromkeys([*by_role, *(process.role for process in seen)]):
        one = by_role.get(role)
        processes = [process for process in seen if process.role == role]
        yield RoleCount(
            role=role,
            predicted_processes=one.processes if one else 0,
            observed_processes=len(processes),
            predicted_equation=one.each.equation() if one else None,
            observed_equations=tuple(dict.fromkeys(process.equation for process in processes)),
        )


def _differences(run: ExplosionRun) -> Iterator[str]:
    where = f"{run.name} on {run.cores} cores"
    if run.trouble is not None:
        yield f"{where}: {run.trouble}"
        return
    for role in run.roles:
        if not role.agrees:
            yield (
                f"{where}: {role.predicted_processes} {role.role} processes predicted,"
                f" {role.observed_processes} observed"
            )
    for term in run.terms:
        if not term.agrees:
            yield f"{where}, {term.role}: {term.predicted} {term.name} predicted, {term.observed} observed"


def _identical(runs: Sequence[ExplosionRun]) -> bool | None:
    found: dict[int, set[float]] = {}
    shared = False
    for run in runs:
        for number, value in run.values:
            shared = shared or number in found
            found.setdefault(number, set()).add(value)
    return all(len(values) == 1 for values in found.values()) if shared else None
