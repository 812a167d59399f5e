"""What must agree for a comparison to be fair: the work, the machine, and the versions.

How the work is run (backend, workers, thread limits, start method, device) is the point of a comparison and
never counts as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from corelens.reports.compared import Difference
from corelens.reports.report import Report, Source

WORK_KEYS = (
    "scale", "method", "evaluation", "trials", "generations", "seeds", "population", "stagnation_limit",
    "seed",
)  # fmt: skip
"""Labels that say what was computed."""

CONFIGURATION_KEYS = (
    "backend", "limit_threads", "workers", "start_method", "address", "device", "emulate_cores",
)  # fmt: skip
"""Labels that say how it was run."""

_MACHINE: dict[str, Callable[[Report], object]] = {
    "hostname": lambda report: report.host.hostname,
    "CPU model": lambda report: report.host.cpu_model,
    "logical cores": lambda report: report.host.logical_cores,
    "cores the program may use": lambda report: f"{report.capacity.cores:g}",
}
_VERSIONS: dict[str, Callable[[Report], object]] = {
    "kernel": lambda report: report.host.kernel,
    "Python of the recorder": lambda report: report.host.python,
    "in-process agent": lambda report: "yes" if report.source.agent else "no",
    "sampling rate in Hz": lambda report: f"{report.recorder.rate_hz:g}",
}
_NAMED_RUNS = 3
"""A difference names so many runs; beyond that it gives their number, to stay one line."""


def setting(source: Source, key: str) -> str | None:
    """Give a label, or None where the run has none; JSON's null, printed as text, counts as none."""
    return source.labels.get(key) if source.labels.get(key) not in ("", "None", "null") else None


def is_labelled(source: Source) -> bool:
    """Tell whether a run says of itself what it computed."""
    return any(setting(source, key) is not None for key in WORK_KEYS)


def command(source: Source) -> str:
    """Give the command line; the folder of the interpreter or program does not change the work."""
    argv = source.argv
    return " ".join((Path(argv[0]).name, *argv[1:])) if argv else "unknown program"


def trouble_of(report: Report) -> str | None:
    """Say why a run is no result: failed, killed, cut, or ended early; None where it went through."""
    source = report.source
    if source.signal is not None:
        return f"killed by signal {source.signal}"
    if source.exit_code:
        return f"failed with exit code {source.exit_code}"
    if not source.complete:
        return "the recording was cut" + (f": {source.damage[0]}" if source.damage else "")
    if source.how == "started" and source.end_reason in ("duration", "interrupted"):
        return f"recording ended before the program ({source.end_reason})"
    if report.trials is not None and report.trials.failed:
        return f"{report.trials.failed} of {len(report.trials.trials)} trials failed"
    return None


def group_of(labels: dict[str, str], key: str | None) -> str | None:
    """Give the group that a run's labels put it into."""
    return None if key is None else labels.get(key)


def differences(
    reports: Sequence[Report], names: Sequence[str] | None = None, group_by: str | None = None
) -> tuple[Difference, ...]:
    """Find the conditions in which runs differ; `names` stand for the reports in the same order.

    The machine must be the same everywhere, the work within each group that the label `group_by` makes.
    A run that had trouble may not have said what it was to do; its silence is no difference.
    """
    named = list(zip(names or [report.source.path for report in reports], reports, strict=True))
    found = [_difference(what, named, read, refuses=True) for what, read in _MACHINE.items()]
    for value in dict.fromkeys(group_of(report.source.labels, group_by) for report in reports):
        members = [pair for pair in named if group_of(pair[1].source.labels, group_by) == value]
        found += _work_differences(members, f" ({group_by} {value})" if group_by else "")
    found += [_difference(what, named, read, refuses=False) for what, read in _VERSIONS.items()]
    found += [_package_difference(name, named) for name in _package_names(reports)]
    return tuple(difference for difference in found if difference is not None)


def describe(difference: Difference) -> str:
    """Put a difference into one phrase: `population: 200 (5 runs) or 500 (ray)`."""
    return f"{difference.what}: " + " or ".join(
        f"{value} ({_runs(runs)})" for value, runs in difference.values
    )


def _runs(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= _NAMED_RUNS else f"{len(names)} runs"


def _work_differences(named: list[tuple[str, Report]], where: str) -> list[Difference | None]:
    labelled = [pair for pair in named if is_labelled(pair[1].source)]
    speaking = [pair for pair in named if is_labelled(pair[1].source) or trouble_of(pair[1]) is None]
    if len(labelled) < len(speaking):
        return [_difference(f"program{where}", speaking, lambda report: command(report.source), refuses=True)]
    return [_difference(key + where, labelled, _reader(key), refuses=True) for key in WORK_KEYS]


def _reader(key: str) -> Callable[[Report], str | None]:
    return lambda report: setting(report.source, key)


def _difference(
    what: str, named: Iterable[tuple[str, Report]], read: Callable[[Report], object], *, refuses: bool
) -> Difference | None:
    runs: dict[str, list[str]] = {}
    for name, report in named:
        value = read(report)
        runs.setdefault("none" if value is None else str(value), []).append(name)
    if len(runs) < 2:
        return None
    return Difference(what, tuple((value, tuple(who)) for value, who in runs.items()), refuses)


def _package_names(reports: Sequence[Report]) -> list[str]:
    return sorted({name for report in reports for name in report.packages})


def _package_difference(name: str, named: list[tuple[str, Report]]) -> Difference | None:
    # No packages at all means that they could not be read, which is no difference.
    seen = [pair for pair in named if pair[1].packages]
    return _difference(
        f"version of {name}", seen, lambda report: report.packages.get(name, "not installed"), refuses=False
    )
