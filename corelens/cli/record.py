"""`corelens record`: start a program, or attach to a running process, and record its whole tree."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corelens.errors import NothingMeasured, UsageError

if TYPE_CHECKING:
    from corelens.probes.session import RecordOptions
    from corelens.probes.stacks import StacksOptions
    from corelens.probes.standstill import Watch
    from corelens.vocabulary import Line

_DESCRIPTION = """\
Start CMD and record it with all its children, or attach to a running process with -p.

The program's exit code passes through (128 and the signal's number where a signal ended it), its standard
streams are its own, and signals are forwarded. Ctrl-C reaches the program as usual and the recording ends
with it; a second Ctrl-C ends the recording at once. Attached with -p, Ctrl-C ends the recording alone, and the
verdict and the thread ledger are printed: how many threads there were, and which library made them."""

_EXAMPLES = """\
examples:
  corelens record -- python train.py --epochs 3
  corelens record -o run.corelens --agent -- python search.py
  corelens record -p 4711 --duration 30"""


# Longer than pools take to start their workers anew, or a retry waits.
DEFAULT_WATCH_S = 10.0
LEAST_WATCH_S = 0.5

# Measured with: python benchmarks/stacks.py
_BLOCKING = (
    "--blocking-stacks stops every thread of the program for each sample (0.5 ms with 4 threads, 11 ms with 400 native"
    " and 34 ms with 400 Python ones, longer on a busy machine): it runs slower, and its times are not its own"
)


def add_parser(subparsers: Any) -> None:
    """Add the flags of `record`."""
    parser = subparsers.add_parser(
        "record",
        help="record a program, or a running process, with all its children",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="corelens record [options] -- CMD ...\n       corelens record [options] -p PID",
    )
    parser.set_defaults(run=run)
    parser.add_argument("command", nargs="*", metavar="CMD", help="the program to start, after --")
    parser.add_argument("-p", "--pid", type=int, metavar="PID", help="attach to this process")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the recording (default: named by program and time)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")
    parser.add_argument(
        "-d",
        "--duration",
        type=float,
        metavar="S",
        help="end the recording after S seconds; the program runs on",
    )
    parser.add_argument(
        "-r",
        "--rate",
        type=float,
        default=10.0,
        metavar="HZ",
        help="rounds per second, 0.1 to 100 (default: 10)",
    )
    parser.add_argument(
        "--agent",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="load a small reporter into Python programs, for native thread pools (default: no)",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="CORES",
        help="look less often when the recorder uses more than this; 0 is no limit (default: 0.02)",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="note something about this run; repeatable",
    )
    parser.add_argument(
        "--full-argv", action="store_true", help="record command lines whole, passwords and tokens included"
    )
    _add_stacks(parser)
    _add_perf(parser)
    _add_watch(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing at the end")


def _add_perf(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--perf",
        action="store_true",
        help="let the kernel sample which native code is on a core (perf_event_open), so that spinning shows",
    )


def _add_stacks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-stacks", action="store_true", help="take no Python stacks and names of threads with py-spy"
    )
    parser.add_argument(
        "--stacks-rate",
        type=float,
        metavar="HZ",
        help="highest rate of Python stacks, 0.01 to 100; the budget usually allows less (default: 10)",
    )
    parser.add_argument(
        "--blocking-stacks",
        action="store_true",
        help="stop the program for each sample, so that no stack is torn; this slows it down",
    )


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=DEFAULT_WATCH_S,
        metavar="S",
        help="when nothing has moved for S seconds (default: 10), find out whether anything ever can, and tell who"
        " waits for whom if not; the recording goes on",
    )
    parser.add_argument(
        "--kill-deadlocked",
        action="store_true",
        help="end the program when --watch finds that nothing will ever move (SIGTERM, 2 s later SIGKILL, to the whole"
        " tree); the exit code is then 12",
    )


def run(args: argparse.Namespace) -> int:
    """Record, and return the exit code of the recorded program."""
    options = options_from(args)
    from corelens.probes.session import record, say_on_stderr

    if options.stacks is not None and options.stacks.blocking:
        say_on_stderr(_BLOCKING)
    outcome = record(options)
    if not args.quiet and outcome.path.exists():
        if options.pid is not None:
            _print_verdict(outcome.path)
        say_on_stderr(f"recorded {outcome.path}; see it with: corelens report {outcome.path}")
    return outcome.exit_code


def _print_verdict(path: Path) -> None:
    """Print the verdict and who made the threads: what somebody who attaches to a process wants to know first.

    Of a program that we start stdout is its own, and whoever waits for it shall not wait for us as well: there
    the report tells it.
    """
    from corelens.cli.report import summarised
    from corelens.cli.report_options import show_or_write
    from corelens.reports.terminal import show_verdict_and_ledger

    with contextlib.suppress(NothingMeasured):
        report = summarised(path)
        show_or_write(lambda console: show_verdict_and_ledger(report, console), None)


def options_from(args: argparse.Namespace) -> RecordOptions:
    """Check the flags against each other; raises UsageError."""
    from corelens.probes.governor import DEFAULT_BUDGET_CORES
    from corelens.probes.session import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, RecordOptions

    _check_target(args)
    if not LOWEST_RATE_HZ <= args.rate <= HIGHEST_RATE_HZ:
        raise UsageError(
            f"--rate {args.rate:g} is out of range", f"give {LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g} Hz"
        )
    if args.duration is not None and not 0 < args.duration < float("inf"):
        raise UsageError(f"--duration {args.duration:g} is no length of time", "give seconds above 0")
    budget = DEFAULT_BUDGET_CORES if args.budget is None else args.budget
    if not 0 <= budget < float("inf"):
        raise UsageError(
            f"--budget {budget:g} is no share of a core", "give cores, such as 0.02, or 0 for no limit"
        )
    return RecordOptions(
        output=args.output or free_name(args.command, args.pid),
        command=tuple(args.command),
        pid=args.pid,
        rate_hz=args.rate,
        duration_s=args.duration,
        force=args.force,
        agent=args.agent,
        budget_cores=budget or None,
        full_argv=args.full_argv,
        labels=labels_from(args.label),
        stacks=_stacks_from(args, budget or None),
        perf=args.perf,
        watch=_watch_from(args),
    )


def _watch_from(args: argparse.Namespace) -> Watch | None:
    """What the flags say about deadlocks; raises UsageError."""
    from corelens.probes.standstill import Watch

    if args.watch is None and not args.kill_deadlocked:
        return None
    after_s = DEFAULT_WATCH_S if args.watch is None else args.watch
    if not LEAST_WATCH_S <= after_s < float("inf"):
        raise UsageError(
            f"--watch {after_s:g} is no time to wait for a movement",
            f"give {LEAST_WATCH_S:g} seconds or more",
        )
    return Watch(round(after_s * 1e9), _chain, args.kill_deadlocked)


def _chain(lines: list[Line], parents: Mapping[int, int | None]) -> str | None:
    """Who waits for whom, where nobody can end it: the same reasoning as in the report."""
    from corelens.reports.facts.wait_chain import judged

    return judged(lines, parents)


def _stacks_from(args: argparse.Namespace, budget_cores: float | None) -> StacksOptions | None:
    """What the flags say about stacks; raises UsageError."""
    from corelens.probes.stacks import (
        DEFAULT_RATE_HZ,
        HIGHEST_RATE_HZ,
        LOWEST_RATE_HZ,
        StacksOptions,
        cores_for,
    )

    if args.no_stacks and (args.blocking_stacks or args.stacks_rate is not None):
        raise UsageError("--no-stacks contradicts the other flags about stacks", "leave one of them out")
    rate_hz = DEFAULT_RATE_HZ if args.stacks_rate is None else args.stacks_rate
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise UsageError(
            f"--stacks-rate {rate_hz:g} is out of range", f"give {LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g} Hz"
        )
    if args.no_stacks:
        return None
    return StacksOptions(rate_hz, args.blocking_stacks, cores_for(budget_cores))


def labels_from(texts: Sequence[str]) -> dict[str, str]:
    """Labels by name; raises UsageError."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--label {text!r} has no name", "write it as --label NAME=TEXT")
        labels[name] = value
    return labels


def free_name(command: Sequence[str], pid: int | None) -> Path:
    """A name in this folder that no file has yet."""
    what = Path(command[0]).name if command else f"pid{pid}"
    stem = f"corelens-{what}-{time.strftime('%Y%m%d-%H%M%S')}"
    number, path = 1, Path(f"{stem}.corelens")
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}.corelens")
    return path


def _check_target(args: argparse.Namespace) -> None:
    if args.pid is None and not args.command:
        raise UsageError("nothing to record", "name a program after --, or a running process with -p PID")
    if args.pid is not None and args.command:
        raise UsageError("both a program and -p PID are given", "choose one")
    if args.pid is not None and args.pid <= 0:
        raise UsageError(f"-p {args.pid} is no process id", "give a number above 0")
    if args.pid is not None and args.agent:
        raise UsageError(
            "--agent works only for a program that corelens starts",
            "leave it out, or start the program after --",
        )
