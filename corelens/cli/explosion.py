"""`corelens replay explosion`: the story's 387 threads again, every one of them predicted, counted and named.

Each run is a `corelens record` of its own, as in a study. The report is made from the recordings alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corelens.cli.output import refuse_any_of
from corelens.cli.supervised import (
    ended_well,
    last_line,
    make_folder,
    stopped_by_signals,
    supervised,
)
from corelens.errors import (
    CorelensError,
    ExitCode,
    NothingMeasured,
    UnreadableRecording,
    UsageError,
)

if TYPE_CHECKING:
    from corelens.cli.study_progress import Progress
    from corelens.reports.report import Report
    from corelens.scenarios.search.explosion import Machine, PlannedRun, Way

DEFAULT_CORES = "64"
REPORTS = ("explosion.md", "explosion.json")
# The runs begin without anybody's limits: what a limit does is what they show.
_LIMIT_ENDINGS = ("_NUM_THREADS", "_MAX_THREADS", "_THREAD_LIMIT")
_LIMITS = frozenset({"MKL_DYNAMIC", "OMP_DYNAMIC", "MKL_DOMAIN_NUM_THREADS"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run ended; `said` is the last line of its output."""

    run: PlannedRun
    exit_code: int
    said: str


def add_explosion(scenarios: Any) -> argparse.ArgumentParser:
    """Declare `replay explosion` and its flags."""
    parser: argparse.ArgumentParser = scenarios.add_parser(
        "explosion",
        help="the 387 threads of the story, predicted and counted by owner",
        description="Replay the thread explosion: the search on 5 and on 3 Optuna threads, with limits that do"
        " nothing and limits that work. DIR/explosion.md holds every run's predicted thread count against the"
        " observed one, by owner. Where this machine is another one, native pools get the sizes they have there:"
        " counts are real then, times are not.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="folder for everything written"
    )
    parser.add_argument(
        "--cores",
        default=DEFAULT_CORES,
        metavar="N[,N...]",
        help="machine to replay on; of several, all runs on the largest and w5 on each (default: 64)",
    )
    parser.add_argument("--runs", metavar="A,B", help="some of the runs, by name (default: all)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help="replace what an earlier replay left in DIR")
    again.add_argument("--resume", action="store_true", help="keep what succeeded in DIR and run the rest")
    return parser


def replay_explosion(args: argparse.Namespace) -> int:
    """Run what is planned and report; 0 only when every run's count is the predicted one, to the thread.

    Ctrl-C ends the current run and keeps what was recorded.
    """
    from corelens.cli.study_progress import progress
    from corelens.scenarios.search.explosion import plan_explosion

    ways, cores = _ways(args.runs), _cores(args.cores)
    machine = _machine()
    if machine is None:
        return ExitCode.MISSING_EXTRA
    runs = plan_explosion(machine, cores, ways)
    waiting = _still_to_do(args, runs)
    ended: list[Ended] = []
    try:
        with stopped_by_signals(), progress(len(waiting)) as shown:
            for run in waiting:
                ended.append(_replay(args.output, args.rate, run, shown))
    except KeyboardInterrupt:
        return _interrupted(args.output, len(runs) - len(waiting) + len(ended), len(runs))
    return _conclude(args.output, runs, ended)


def _ways(text: str | None) -> Sequence[Way]:
    from corelens.scenarios.search.explosion import WAYS

    if text is None:
        return WAYS
    known = {way.name: way for way in WAYS}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"--runs does not know {name!r}", f"choose from {','.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def _cores(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--cores {text} is no list of numbers", "write it as --cores 2,8,64") from None


def _machine() -> Machine | None:
    """Ask a process of its own how pools are sized here; it says itself what is not installed."""
    from corelens.scenarios.search.explosion import Machine

    argv = [sys.executable, "-m", "corelens.scenarios.search.pools"]
    asked = subprocess.run(argv, stdout=subprocess.PIPE, env=unlimited(os.environ), check=False)
    if asked.returncode == ExitCode.MISSING_EXTRA:
        return None
    if asked.returncode:
        raise CorelensError(f"{' '.join(argv)} failed with exit code {asked.returncode}")
    said = json.loads(asked.stdout)
    return Machine(said["torch_threads"], said["cores"], tuple(said["blas"]))


def unlimited(variables: Mapping[str, str]) -> dict[str, str]:
    """Give an environment without the variables that limit native pools."""
    return {
        name: value
        for name, value in variables.items()
        if not (name.endswith(_LIMIT_ENDINGS) or name in _LIMITS)
    }


def _still_to_do(args: argparse.Namespace, runs: list[PlannedRun]) -> list[PlannedRun]:
    folder: Path = args.output
    make_folder(folder)
    if args.resume:
        return [run for run in runs if not _is_done(folder, run)]
    written = [*(folder / name for name in REPORTS), *(path for run in runs for path in _files(folder, run))]
    refuse_any_of(written, force=args.force)
    return runs


def _files(folder: Path, run: PlannedRun) -> tuple[Path, Path]:
    """Name the recording and the log of one run."""
    return folder / f"{run.stem}.corelens", folder / f"{run.stem}.log"


def _is_done(folder: Path, run: PlannedRun) -> bool:
    """Tell whether a run ended well before, with the very settings that are asked for now."""
    return ended_well(_files(folder, run)[0], labels_of(run))


def labels_of(run: PlannedRun) -> dict[str, str]:
    """Give everything that the recording of a run is labelled with."""
    from corelens.scenarios.search.settings import labels

    search = {name: str(value) for name, value in labels(run.settings).items() if value is not None}
    return {**search, **run.labels}


def _replay(folder: Path, rate_hz: float, run: PlannedRun, shown: Progress) -> Ended:
    recording, log = _files(folder, run)
    for path in (recording, log):
        path.unlink(missing_ok=True)
    shown.begin(run.stem)
    begun = time.monotonic()
    environment = {**unlimited(os.environ), **run.variables}
    code = supervised(_recorded(run, recording, rate_hz), log, environment)
    ended = Ended(run, code, last_line(log))
    shown.end(run.stem, time.monotonic() - begun, _outcome(ended))
    return ended


def _recorded(run: PlannedRun, recording: Path, rate_hz: float) -> list[str]:
    """Give the command that records a run: without the agent, whose thread would be one more, and at a steady
    rate, because a peak lasts as long as the work does."""
    labels = [word for name, value in labels_of(run).items() for word in ("--label", f"{name}={value}")]
    flags = ["record", "--output", str(recording), "--rate", f"{rate_hz:g}", "--no-agent", "--budget", "0"]
    return [sys.executable, "-m", "corelens", *flags, *labels, "--quiet", "--", *run.argv]


def _outcome(ended: Ended) -> str:
    return f"failed with exit code {ended.exit_code}: {ended.said}" if ended.exit_code else ""


def _interrupted(folder: Path, done: int, planned: int) -> int:
    words = ["corelens", *(word for word in sys.argv[1:] if word not in ("--force", "--resume")), "--resume"]
    print(
        f"corelens: interrupted after {done} of {planned} runs, which are kept in {folder};"
        f" go on with: {' '.join(words)}",
        file=sys.stderr,
    )
    return ExitCode.INTERRUPTED


def _conclude(folder: Path, runs: list[PlannedRun], ended: list[Ended]) -> int:
    """Write both reports, print what they say, and judge: a run that failed first, then a count that differs."""
    from corelens.cli.output import write_whole
    from corelens.reports.explosion import explosion
    from corelens.reports.explosion_json import explosion_json
    from corelens.reports.explosion_markdown import markdown
    from corelens.reports.explosion_terminal import lines

    reports, unusable = _usable([path for run in runs if (path := _files(folder, run)[0]).exists()])
    found = explosion(reports)
    for name, text in zip(REPORTS, (markdown(found), explosion_json(found)), strict=True):
        write_whole(folder / name, text.encode())
    print("\n".join(lines(found)))
    print(f"corelens: the report is {folder / REPORTS[0]}", file=sys.stderr)
    failed = [f"{each.run.stem} {_outcome(each)}" for each in ended if each.exit_code]
    for trouble in (*failed, *unusable):
        print(f"corelens: {trouble}", file=sys.stderr)
    if failed or unusable:
        return ExitCode.FAILED
    for difference in found.differences:
        print(f"corelens: not as predicted: {difference}", file=sys.stderr)
    return ExitCode.NOT_AS_PREDICTED if found.differences else ExitCode.OK


def _usable(recordings: Sequence[Path]) -> tuple[list[Report], list[str]]:
    """Sum the recordings up; one that holds nothing becomes a sentence."""
    from corelens.recording import read
    from corelens.reports.elf import SymbolsOnDisk
    from corelens.reports.facts import summarise

    reports: list[Report] = []
    empty: list[str] = []
    for path in recordings:
        try:
            reports.append(summarise(read(path), SymbolsOnDisk()))
        except (NothingMeasured, UnreadableRecording) as error:
            empty.append(str(error))
    return reports, empty
