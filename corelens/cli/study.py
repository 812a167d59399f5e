"""A study: the same search on several backends, each run recorded, all compared at the end.

Every run is a `corelens record` of its own, so that one run's trouble never reaches another and the
recorder's cost is measured in a process that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from corelens.cli.output import refuse_any_of
from corelens.cli.supervised import (
    ended_well,
    last_line,
    make_folder,
    stopped_by_signals,
    supervised,
)
from corelens.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from corelens.cli.study_progress import Progress
    from corelens.scenarios.search.study import PlannedRun

_Name = TypeVar("_Name", bound=str)


@dataclass(frozen=True, slots=True)
class Files:
    """Where one run leaves what it wrote."""

    recording: Path
    results: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run ended; `said` is the last line of its output, which names the trouble."""

    run: PlannedRun
    exit_code: int
    said: str

    @property
    def skipped(self) -> bool:
        """Whether the run never began because an optional part is missing."""
        return self.exit_code == ExitCode.MISSING_EXTRA


def replay_study(args: argparse.Namespace) -> int:
    """Run what is planned, compare, and return 0 if every run that could begin succeeded.

    Ctrl-C ends the current run, keeps what was recorded, and says how to go on.
    """
    from corelens.cli.study_progress import progress

    _check_price(args.price)
    runs = plan(args)
    waiting = _still_to_do(args, runs)
    ended: list[Ended] = []
    try:
        with stopped_by_signals(), progress(len(waiting)) as shown:
            for run in waiting:
                ended.append(_replay(args, run, shown))
    except KeyboardInterrupt:
        return _interrupted(args, len(runs) - len(waiting) + len(ended), len(runs))
    return _conclude(args, runs, ended)


def plan(args: argparse.Namespace) -> list[PlannedRun]:
    """Plan all runs; with several evaluations each file name begins with its own."""
    from corelens.scenarios.search.settings import BACKENDS, EVALUATIONS
    from corelens.scenarios.search.study import plan_study

    chosen = args.backends or args.backend
    backends = _listed("--backends", chosen, BACKENDS) if chosen else BACKENDS
    evaluations = _listed("--evaluations", args.evaluations or args.evaluation, EVALUATIONS)
    planned: list[PlannedRun] = []
    for evaluation in evaluations:
        flags = argparse.Namespace(**{**vars(args), "evaluation": evaluation})
        runs = plan_study(flags, backends=backends, repeats=args.repeat, shuffle_seed=args.shuffle_seed)
        prefix = f"{evaluation}-" if len(evaluations) > 1 else ""
        planned += [replace(run, stem=prefix + run.stem) for run in runs]
    return planned


def files(folder: Path, run: PlannedRun) -> Files:
    """Name the files of one run."""
    return Files(*(folder / f"{run.stem}{ending}" for ending in (".corelens", ".json", ".log")))


def _listed(flag: str, text: str, known: Sequence[_Name]) -> list[_Name]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"{flag} does not know {name!r}", f"choose from {','.join(known)}")
    return cast(list[_Name], names)


def _check_price(price: float | None) -> None:
    """Refuse now what the comparison would refuse after all runs."""
    from corelens.reports.costs import check_price

    if price is not None:
        check_price(price)


def _still_to_do(args: argparse.Namespace, runs: list[PlannedRun]) -> list[PlannedRun]:
    """Leave out what --resume finds done; refuse to touch existing files without being told."""
    folder: Path = args.output
    make_folder(folder)
    if args.resume:
        return [run for run in runs if not _is_done(files(folder, run), run)]
    refuse_any_of((path for run in runs for path in _all(files(folder, run))), force=args.force)
    return runs


def _is_done(kept: Files, run: PlannedRun) -> bool:
    """Tell whether a run ended well before, with the very settings that are asked for now."""
    return kept.results.exists() and ended_well(kept.recording, _labels(run))


def _labels(run: PlannedRun) -> dict[str, str]:
    from corelens.scenarios.search.settings import labels

    return {name: str(value) for name, value in labels(run.settings).items() if value is not None}


def _all(run_files: Files) -> Iterable[Path]:
    return (run_files.recording, run_files.results, run_files.log)


def _replay(args: argparse.Namespace, run: PlannedRun, shown: Progress) -> Ended:
    from corelens.cli.replay import recorder_flags

    kept = files(args.output, run)
    for path in _all(kept):
        path.unlink(missing_ok=True)
    flags = recorder_flags(args, kept.recording, dict(_labels(run)))
    search = [*run.argv, "--results", str(kept.results), "--quiet"]
    shown.begin(run.stem)
    begun = time.monotonic()
    code = supervised([sys.executable, "-m", "corelens", *flags, "--quiet", "--", *search], kept.log)
    ended = Ended(run, code, last_line(kept.log))
    if ended.skipped:
        kept.recording.unlink(missing_ok=True)
    shown.end(run.stem, time.monotonic() - begun, _outcome(ended))
    return ended


def _outcome(ended: Ended) -> str:
    if ended.skipped:
        return f"skipped: {ended.said}"
    return f"failed with exit code {ended.exit_code}: {ended.said}" if ended.exit_code else ""


def _interrupted(args: argparse.Namespace, done: int, planned: int) -> int:
    words = ["corelens", *(word for word in sys.argv[1:] if word not in ("--force", "--resume")), "--resume"]
    print(
        f"corelens: interrupted after {done} of {planned} runs, which are kept in {args.output};"
        f" go on with: {' '.join(words)}",
        file=sys.stderr,
    )
    return ExitCode.INTERRUPTED


def _conclude(args: argparse.Namespace, runs: list[PlannedRun], ended: list[Ended]) -> int:
    from corelens.cli.compare import write_comparison
    from corelens.reports.compared import Skipped

    skipped = [Skipped(each.run.backend, each.said, _labels(each.run)) for each in ended if each.skipped]
    failed = [each for each in ended if each.exit_code and not each.skipped]
    recordings = [path for run in runs if (path := files(args.output, run).recording).exists()]
    write_comparison(
        recordings,
        skipped=skipped,
        output=args.output / "report.md",
        price=args.price,
        group_by="evaluation" if args.evaluations else None,
    )
    for each in failed:
        print(f"corelens: {each.run.stem} {_outcome(each)}", file=sys.stderr)
    return ExitCode.FAILED if failed else ExitCode.OK
