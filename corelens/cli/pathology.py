"""`corelens replay pathology`: record a program that does not scale, and check what it is diagnosed as.

Each run is a `corelens record` of its own, as in a study; the verdict is read from the recording alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corelens.cli.output import refuse_any_of, write_whole
from corelens.cli.supervised import last_line, make_folder, stopped_by_signals, supervised
from corelens.errors import CorelensError, ExitCode, NothingMeasured, UsageError

if TYPE_CHECKING:
    from corelens.reports.report import Report
    from corelens.scenarios.pathologies.outcome import Gain, Outcome, Run
    from corelens.scenarios.pathologies.program import Program

RESULTS = "pathologies.json"
CORES = 2
"""What the programs are made for: as many workers, and pools that are too large for them."""


class Said(NamedTuple):
    """What a report says first; `verdict` is None where it gives no diagnosis."""

    verdict: str | None
    variant: str | None
    predicted: Gain | None


def add_pathology(scenarios: Any) -> argparse.ArgumentParser:
    """Declare `replay pathology` and its flags."""
    parser: argparse.ArgumentParser = scenarios.add_parser(
        "pathology",
        help="programs that do not scale, each with the verdict that it must get, and its fix",
        description="Record a small program that does not scale, or one that merely looks so, and check what"
        " the recording is diagnosed as. The exit code is 0 when that is right and 11 when it is not.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one program; see --list")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--list", action="store_true", help="say what there is and what cannot run here")
    which.add_argument(
        "--all", action="store_true", help="all programs, without and with their fix: a table, in 20 minutes"
    )
    which.add_argument(
        "--fast", action="store_true", help="some of each verdict, without their fix, in 6 minutes"
    )
    parser.add_argument(
        "--fixed", action="store_true", help="NAME with its fix, which must get another verdict"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="the recording, beside a log of what the program said; with --all and --fast a folder for them"
        " (default: named by time)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument(
        "--least",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="with --all and --fast: share of the programs that must be right, for machines that others use too"
        " (default: 1, all)",
    )
    parser.add_argument(
        "--accuracy",
        type=Path,
        metavar="FILE",
        help="with --all and --fast: write the table as a Markdown page too; --fast runs the fixes then",
    )
    return parser


def replay_pathology(args: argparse.Namespace) -> int:
    """List, run one, or run many; 0 only when every verdict is right."""
    _check(args)
    if args.list:
        return _list()
    if len(os.sched_getaffinity(0)) != CORES:
        print(
            f"corelens: the programs are made for {CORES} cores; on another number verdicts may differ",
            file=sys.stderr,
        )
    try:
        with stopped_by_signals():
            return _many(args) if args.all or args.fast else _one(args)
    except KeyboardInterrupt:
        print("corelens: interrupted; what was recorded is kept", file=sys.stderr)
        return ExitCode.INTERRUPTED
    finally:
        _sweep()


def verdict_of(report: Report) -> Said:
    """Take the verdict, its variant and the predicted gain from a report."""
    from corelens.scenarios.pathologies.outcome import Gain

    diagnosis = report.diagnosis
    if diagnosis is None:
        return Said(None, None, None)
    first = next((each for each in diagnosis.findings if each.slug == diagnosis.verdict), None)
    gain = first.gain if first is not None else None
    predicted = Gain(gain.factor, gain.at_least) if gain is not None and gain.factor is not None else None
    return Said(diagnosis.verdict, diagnosis.variant, predicted)


def _check(args: argparse.Namespace) -> None:
    many = args.all or args.fast
    if not (many or args.list or args.name):
        raise UsageError(
            "no pathology given", "name one, or use --all; see: corelens replay pathology --list"
        )
    if args.name and (many or args.list):
        raise UsageError(f"{args.name} and a flag that chooses many exclude each other", "use one of them")
    if args.fixed and not args.name:
        raise UsageError("--fixed is for one program", "name it; --all runs every program without and with")
    if args.accuracy and not many:
        raise UsageError("--accuracy needs both twins of many programs", "use it with --all or --fast")


def _list() -> int:
    from corelens.scenarios.pathologies.registry import PROGRAMS
    from corelens.scenarios.pathologies.requirements import obstacle

    width = max(len(program.name) for program in PROGRAMS)
    slug = max(len(program.verdict) for program in PROGRAMS)
    for program in PROGRAMS:
        needs = obstacle(program)
        note = f" (cannot run here: {needs.seen})" if needs else ""
        print(f"{program.name:{width}}  {program.verdict:{slug}}  {program.shows}{note}")
    return ExitCode.OK


def _one(args: argparse.Namespace) -> int:
    from corelens.scenarios.pathologies.outcome import is_right
    from corelens.scenarios.pathologies.registry import named
    from corelens.scenarios.pathologies.requirements import obstacle

    program = named(args.name)
    if args.fixed and not program.is_sick:
        raise UsageError(f"{program.name} is healthy, there is nothing to fix", "leave --fixed out")
    needs = obstacle(program)
    if needs is not None:
        raise needs
    stamp = time.strftime("%Y%m%d-%H%M%S")
    recording = args.output or Path(f"pathology-{_stem(program, fixed=args.fixed)}-{stamp}.corelens")
    log = recording.with_suffix(".log")
    refuse_any_of((recording, log), force=args.force)
    run = _run(args, program, recording, fixed=args.fixed)
    right = is_right(program, run, fixed=args.fixed)
    must = f"anything but {program.verdict}" if args.fixed else program.verdict
    print(f"{program.name}: must be {must}, got {_got(run)}: {'right' if right else 'WRONG'}")
    print(f"corelens: the recording is {recording}; see: corelens report {recording}", file=sys.stderr)
    return _code([run.trouble], right)


def _many(args: argparse.Namespace) -> int:
    from corelens.cli.study_progress import progress
    from corelens.scenarios.pathologies.outcome import Outcome
    from corelens.scenarios.pathologies.registry import PROGRAMS
    from corelens.scenarios.pathologies.requirements import obstacle
    from corelens.scenarios.pathologies.table import lines

    programs = [program for program in PROGRAMS if args.all or program.fast]
    folder = _folder(args, programs)
    outcomes: list[Outcome] = []
    try:
        with progress(len(programs)) as shown:
            for program in programs:
                shown.begin(program.name)
                begun = time.monotonic()
                needs = obstacle(program)
                outcome = Outcome(program, not_run=str(needs)) if needs else _twins(args, program, folder)
                outcomes.append(outcome)
                shown.end(program.name, time.monotonic() - begun, outcome.not_run or _mistake(outcome))
    except KeyboardInterrupt:
        print("\n".join(lines(outcomes)))
        raise
    return _conclude(args, folder, outcomes)


def _folder(args: argparse.Namespace, programs: Iterable[Program]) -> Path:
    folder: Path = args.output or Path(f"pathologies-{time.strftime('%Y%m%d-%H%M%S')}")
    make_folder(folder)
    stems = [_stem(program, fixed=fixed) for program in programs for fixed in (False, True)]
    kept = [folder / f"{stem}{ending}" for stem in stems for ending in (".corelens", ".log")]
    refuse_any_of((folder / RESULTS, *kept), force=args.force)
    return folder


def _twins(args: argparse.Namespace, program: Program, folder: Path) -> Outcome:
    from corelens.scenarios.pathologies.outcome import Outcome

    outcome = Outcome(program, _run(args, program, folder / f"{_stem(program, fixed=False)}.corelens"))
    if (args.all or args.accuracy) and program.is_sick:
        fixed = _run(args, program, folder / f"{_stem(program, fixed=True)}.corelens", fixed=True)
        outcome = replace(outcome, fixed=fixed)
    return outcome


def _stem(program: Program, *, fixed: bool) -> str:
    return f"{program.name}-fixed" if fixed else program.name


def _run(args: argparse.Namespace, program: Program, recording: Path, *, fixed: bool = False) -> Run:
    """Record one twin and diagnose it."""
    from corelens.cli.replay import recorder_flags
    from corelens.scenarios.pathologies.outcome import Run, throughput_hz

    log = recording.with_suffix(".log")
    for path in (recording, log):
        path.unlink(missing_ok=True)
    labels: dict[str, object] = {"pathology": program.name, "twin": "fixed" if fixed else "sick"}
    flags = [*recorder_flags(args, recording, labels), "--quiet", "--"]
    argv = [sys.executable, "-m", "corelens", *flags, *program.command_line(fixed=fixed)]
    begun = time.monotonic()
    code = supervised(argv, log)
    wall_s = time.monotonic() - begun
    said, trouble = _diagnosed(recording), _trouble(program, code, log, fixed=fixed)
    if isinstance(said, str):
        return Run(None, None, wall_s, None, None, trouble or said)
    return Run(*said[:2], wall_s, throughput_hz(log.read_text(errors="replace")), said.predicted, trouble)


def _diagnosed(recording: Path) -> Said | str:
    """Diagnose a recording, or say why it cannot be."""
    from corelens.cli.report import summarised

    try:
        return verdict_of(summarised(recording))
    except CorelensError as error:
        return str(error)


def _trouble(program: Program, code: int, log: Path, *, fixed: bool) -> str:
    """Say what is wrong with how a program ended: one that must get stuck has to say so."""
    from corelens.scenarios.pathologies.program import STUCK_EXIT_CODE

    must = STUCK_EXIT_CODE if program.gives_up and not fixed else 0
    if code == must:
        return ""
    if must:
        return f"did not get stuck: it ended with exit code {code}"
    return f"failed with exit code {code}: {last_line(log)}"


def _got(run: Run) -> str:
    return run.trouble or run.verdict or "no verdict"


def _mistake(outcome: Outcome) -> str:
    """Say what is wrong with an outcome; empty when nothing is."""
    if outcome.sick is not None and not outcome.sick_is_right:
        return f"must be {outcome.program.verdict}, got {_got(outcome.sick)}"
    if outcome.fixed is not None and not outcome.fixed_is_right:
        return f"with the fix still got {_got(outcome.fixed)}"
    return ""


def _conclude(args: argparse.Namespace, folder: Path, outcomes: Sequence[Outcome]) -> int:
    from corelens.scenarios.pathologies.outcome import written
    from corelens.scenarios.pathologies.table import accuracy_page, lines

    conditions = {"date": time.strftime("%Y-%m-%d"), "machine": _machine(), "command": _command()}
    results = {**conditions, "outcomes": written(outcomes)}
    write_whole(folder / RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    print("\n".join(lines(outcomes)))
    if args.accuracy:
        write_whole(args.accuracy, accuracy_page(outcomes, **conditions).encode())
    print(f"corelens: recordings and {RESULTS} are in {folder}", file=sys.stderr)
    if not any(each.sick for each in outcomes):
        raise NothingMeasured("no program could run here", "see: corelens replay pathology --list")
    if args.least < 1:
        return _code((), _right_share(outcomes) >= args.least)
    troubles = [run.trouble for each in outcomes for run in (each.sick, each.fixed) if run]
    return _code(troubles, not any(_mistake(each) for each in outcomes))


def _right_share(outcomes: Iterable[Outcome]) -> float:
    """Part of the programs that ran whose verdicts are right, a program that failed being wrong."""
    ran = [each for each in outcomes if each.sick]
    wrong = [
        each for each in ran if _mistake(each) or any(run.trouble for run in (each.sick, each.fixed) if run)
    ]
    return 1 - len(wrong) / len(ran)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: give a number from 0 to 1, such as 0.8")
    return share


def _code(troubles: Iterable[str], right: bool) -> int:
    if any(troubles):
        return ExitCode.FAILED
    return ExitCode.OK if right else ExitCode.NOT_AS_PREDICTED


def _machine() -> str:
    release = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{len(os.sched_getaffinity(0))} cores, {_model()}, Linux {release.release}, Python {python}"


def _model() -> str:
    named = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
    lines = dict(line.split(":", 1) for line in named.splitlines() if ":" in line)
    return lines.get("Model name", os.uname().machine).strip()


def _command() -> str:
    return " ".join(["corelens", *sys.argv[1:]])


def _sweep() -> None:
    """Remove the control groups of programs that were killed before they could."""
    from corelens.scenarios.pathologies.requirements import remove_left_groups

    for group in remove_left_groups():
        print(f"corelens: removed {group}, which a program had left", file=sys.stderr)
