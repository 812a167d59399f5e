"""Rows of a comparison: repeats folded into one, named apart, and related to a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corelens.reports.compared import Row, Run, Skipped
from corelens.reports.comparison_figures import FIGURES, measure
from corelens.reports.conditions import CONFIGURATION_KEYS, WORK_KEYS, is_labelled, setting, trouble_of
from corelens.reports.costs import cost_of
from corelens.reports.report import Report, Source, Spread

_SEQUENTIAL = "sequential"
_NO_BASELINE = "no run that it could refer to went through"


@dataclass(frozen=True, slots=True)
class Measured:
    """One report with a name of its own and its figures, not yet related to others."""

    name: str
    report: Report
    values: dict[str, float | None]
    absent: dict[str, str]
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Repeats of one configuration under the name of their row."""

    name: str
    members: tuple[Measured, ...]

    @property
    def source(self) -> Source:
        """The source of the first member; what a row says of its configuration is the same in all."""
        return self.members[0].report.source

    @property
    def trouble(self) -> str | None:
        """Why the row is no result; members with trouble are never folded with others."""
        return self.members[0].trouble


def measured(name: str, report: Report) -> Measured:
    """Read the figures of one report."""
    values, absent = measure(report)
    return Measured(name, report, values, absent, trouble_of(report))


def bundles(runs: Sequence[Measured]) -> tuple[Bundle, ...]:
    """Fold repeats of one configuration; runs of one and the same configuration alone stay apart.

    Two recordings of the same thing, such as before and after a change of code, are there to be compared.
    """
    folded = _folded(runs)
    if len(folded) == 1:
        return tuple(Bundle(run.name, (run,)) for run in runs)
    return tuple(Bundle(name, members) for name, members in zip(_names(folded), folded, strict=True))


def _folded(runs: Sequence[Measured]) -> list[tuple[Measured, ...]]:
    by_key: dict[object, list[Measured]] = {}
    for run in runs:
        by_key.setdefault(_configuration(run), []).append(run)
    return [tuple(members) for members in by_key.values()]


def _configuration(run: Measured) -> object:
    source = run.report.source
    if run.trouble is not None or not is_labelled(source):
        return run.name
    settings = tuple(setting(source, key) for key in CONFIGURATION_KEYS + WORK_KEYS)
    packages = tuple(sorted(run.report.packages.items()))
    return settings, run.report.host.hostname, run.report.capacity.cores, packages


def backend_of(source: Source) -> str:
    """Give the backend by its label, else the program: the script or module rather than the interpreter."""
    label = setting(source, "backend")
    if label is not None:
        return label
    arguments = [Path(word).name for word in source.argv[:1]] + list(source.argv[1:])
    if len(arguments) > 1 and arguments[0].startswith("python"):
        words = [word for word in arguments[1:] if not word.startswith("-")]
        return Path(words[0]).name if words else arguments[0]
    return arguments[0] if arguments else "unknown program"


def workers_of(source: Source) -> int | None:
    """Give the number of workers that were asked for; 1 for a sequential search."""
    if setting(source, "backend") == _SEQUENTIAL:
        return 1
    text = setting(source, "workers")
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None


def _names(folded: Sequence[tuple[Measured, ...]]) -> list[str]:
    """Name rows by what differs among them; a run without result gives way to one that has the same name."""
    firsts = [members[0] for members in folded]
    names = [_name(run, firsts) for run in firsts]
    sound = [name for name, run in zip(names, firsts, strict=True) if run.trouble is None]
    return [
        f"{name} ({run.name})" if name != run.name and _is_taken(name, run, sound) else name
        for name, run in zip(names, firsts, strict=True)
    ]


def _is_taken(name: str, run: Measured, sound: Sequence[str]) -> bool:
    return run.trouble is not None or sound.count(name) > 1


def _name(run: Measured, others: Sequence[Measured]) -> str:
    source = run.report.source
    if setting(source, "backend") is None:
        return run.name
    alike = [other.report.source for other in others if backend_of(other.report.source) == backend_of(source)]
    parts = [
        _part(key, setting(source, key))
        for key in CONFIGURATION_KEYS[1:] + WORK_KEYS
        if len({setting(other, key) for other in alike}) > 1
    ]
    return backend_of(source) + (f" ({', '.join(parts)})" if parts else "")


def _part(key: str, value: str | None) -> str:
    text = value if value is not None else "unset"
    return (
        f"{text} workers" if key == "workers" else f"{key.removesuffix('_threads').replace('_', ' ')} {text}"
    )


def choose_baseline(rows: Sequence[Bundle], wanted: str | None) -> tuple[Bundle | None, str | None]:
    """Choose the row that speed-ups refer to, or say why there is none.

    Without a wish it is the sequential run; of several candidates the fastest, which flatters nobody.
    """
    candidates = [row for row in rows if _is_called(row, wanted or _SEQUENTIAL)]
    usable = [row for row in candidates if row.trouble is None]
    if usable:
        return max(usable, key=_throughput), None
    name = f"run called {wanted}" if wanted else "sequential run"
    if candidates:
        return None, f"the {name} is no result: {candidates[0].trouble}"
    return None, f"there is no {name} here"


def _is_called(row: Bundle, wanted: str) -> bool:
    members = {name for member in row.members for name in (member.name, member.report.source.path)}
    return wanted in members | {row.name, backend_of(row.source)}


def _throughput(row: Bundle) -> tuple[float, float]:
    rate = _median(row, "trials_per_hour")
    return (rate if rate is not None else 0.0, -(_median(row, "wall_s") or 0.0))


def _median(row: Bundle, key: str) -> float | None:
    values = [value for member in row.members if (value := member.values[key]) is not None]
    return statistics.median(values) if values else None


def row_of(bundle: Bundle, baseline: Bundle | None, reason: str | None, price: float | None) -> Row:
    """Make the row of a bundle, with its speed-up over the baseline and, given a price, its cost."""
    related = [_related(member, baseline, reason) for member in bundle.members]
    values = {key: spread_of([run[0].get(key) for run in related]) for key in FIGURES}
    wall = values["wall_s"]
    trials = values["trials_complete"]
    cost = cost_of(wall.median, price, trials.median if trials else None) if price and wall else None
    return Row(
        name=bundle.name,
        backend=backend_of(bundle.source),
        limit=setting(bundle.source, "limit_threads"),
        workers=workers_of(bundle.source),
        runs=tuple(_run(member, run[0]) for member, run in zip(bundle.members, related, strict=True)),
        values=values,
        absent={
            key: related[0][1].get(key, "not measured") for key, value in values.items() if value is None
        },
        cost=cost,
        trouble=bundle.trouble,
    )


def skipped_row(skipped: Skipped) -> Row:
    """Make the row of a run that never started, so that nobody takes its absence for an oversight."""
    text = {key: value for key, value in skipped.labels.items() if value not in ("", "None")}
    workers = text.get("workers", "")
    return Row(
        name=skipped.backend,
        backend=skipped.backend,
        limit=text.get("limit_threads"),
        workers=int(workers) if workers.isdecimal() else None,
        runs=(),
        values=dict.fromkeys(FIGURES),
        absent=dict.fromkeys(FIGURES, f"skipped: {skipped.reason}"),
        cost=None,
        trouble=f"skipped: {skipped.reason}",
    )


def _run(member: Measured, values: dict[str, float | None]) -> Run:
    report = member.report
    return Run(
        name=member.name,
        path=report.source.path,
        trouble=member.trouble,
        values=values,
        timeline=report.timeline,
        capacity_cores=report.capacity.cores,
        tree=report.tree,
        tree_at_s=report.tree_at_s,
        diagnosis=report.diagnosis,
    )


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """Sum up the values that are there; None when there are none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    return Spread(
        len(present), min(present), statistics.median(present), max(present), statistics.fmean(present)
    )


def _related(
    member: Measured, baseline: Bundle | None, reason: str | None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Add the figures that refer to the baseline: speed-ups and the efficiency per worker."""
    whole = _ratio(member, baseline, reason, "trials_per_hour")
    if baseline is not None and _median(baseline, "trials_per_hour") is None:
        whole = _wall_ratio(member, baseline)
    inside = _ratio(member, baseline, reason, "trials_per_hour_in_trials")
    added = {
        "speed_up": whole,
        "speed_up_in_trials": inside,
        "parallel_efficiency": _per_worker(whole, workers_of(member.report.source)),
    }
    values = {key: None if isinstance(value, str) else value for key, value in added.items()}
    absent = {key: value for key, value in added.items() if isinstance(value, str)}
    return {**member.values, **values}, {**member.absent, **absent}


def _ratio(member: Measured, baseline: Bundle | None, reason: str | None, key: str) -> float | str:
    if member.trouble is not None:
        return member.trouble
    if baseline is None:
        return reason or _NO_BASELINE
    own, reference = member.values[key], _median(baseline, key)
    if own is None:
        return member.absent[key]
    return own / reference if reference else "the baseline has no rate"


def _wall_ratio(member: Measured, baseline: Bundle) -> float | str:
    own, reference = member.values["wall_s"], _median(baseline, "wall_s")
    if member.trouble is not None or not own or reference is None:
        return member.trouble or "the recording has no length"
    if member.values["trials_per_hour"] is not None:
        return "the baseline marked no trials"
    return reference / own


def _per_worker(speed_up: float | str, workers: int | None) -> float | str:
    if isinstance(speed_up, str):
        return speed_up
    return speed_up / workers if workers is not None else "the number of workers is not known"
