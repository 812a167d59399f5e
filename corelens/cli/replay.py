"""`corelens replay`: run a scenario under the recorder: a search, a study of backends, programs that do not scale.

Neither torch nor optuna is loaded here; the scenario is a program of its own, started by `corelens record` as
any other program would be.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

DEFAULT_RATE_HZ = 10.0


def add_parser(subparsers: Any) -> None:
    """Declare `replay search`, `replay study`, `replay explosion` and `replay pathology`."""
    parser = subparsers.add_parser(
        "replay",
        help="run a scenario under the recorder: a search, a study, the thread explosion, pathologies",
        description="Run a scenario under the recorder, with the in-process agent.",
    )
    parser.set_defaults(run=_no_scenario)
    scenarios = parser.add_subparsers(title="scenarios", metavar="SCENARIO", prog="corelens replay")
    _add_search(scenarios)
    _add_study(scenarios)
    _add_explosion(scenarios)
    _add_pathology(scenarios)


def recorder_flags(args: argparse.Namespace, output: Path, labels: dict[str, object]) -> list[str]:
    """Give the command line of `corelens` up to `--`, for one replayed program."""
    flags = ["record", "--output", str(output), "--rate", f"{args.rate:g}"]
    flags.append("--no-agent" if args.no_agent else "--agent")
    for name, value in labels.items():
        if value is not None:
            flags += ["--label", f"{name}={value}"]
    return flags


def run_search(args: argparse.Namespace) -> int:
    """Replay one search; the exit code is the search's own."""
    from corelens.cli import main
    from corelens.scenarios.search.options import command_line, settings_from
    from corelens.scenarios.search.settings import labels

    settings = settings_from(args)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    output = args.output or Path(f"replay-{settings.backend}-{stamp}.corelens")
    results = ["--results", str(args.results)] if args.results else []
    force = ["--force"] if args.force else []
    program = command_line(settings, *results, *(force if results else []))
    flags = recorder_flags(args, output, dict(labels(settings)))
    return main([*flags, *force, "--", *program])


def run_study(args: argparse.Namespace) -> int:
    """Replay every backend and compare them."""
    from corelens.cli.study import replay_study

    return replay_study(args)


def _no_scenario(_args: argparse.Namespace) -> int:
    from corelens.errors import UsageError

    raise UsageError("no scenario given", "use one of: corelens replay search, study, explosion, pathology")


def _add_search(scenarios: Any) -> None:
    from corelens.scenarios.search.options import add_search_options

    parser = scenarios.add_parser(
        "search",
        help="one hyper-parameter search on one backend",
        description="Start the search under the recorder. Its exit code passes through.",
    )
    _add_recording_options(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the recording (default: named by time)"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="the search's own results as JSON")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_search_options(parser)
    parser.set_defaults(run=run_search)


def _add_study(scenarios: Any) -> None:
    from corelens.scenarios.search.options import add_search_options
    from corelens.scenarios.search.settings import BACKENDS, EVALUATIONS

    parser = scenarios.add_parser(
        "study",
        help="the same search on every backend, compared in one report",
        description="Replay the same search on several backends in shuffled order and compare them in"
        " DIR/report.md. Each run leaves its recording, its results and its output in DIR.",
    )
    _add_recording_options(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="folder for everything written"
    )
    parser.add_argument(
        "--backends", metavar="A,B", help=f"some of {','.join(BACKENDS)} (default: all that are installed)"
    )
    parser.add_argument(
        "--evaluations",
        metavar="A,B",
        help=f"compare within each of {','.join(EVALUATIONS)} (default: --evaluation)",
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs per backend (default: 1)")
    parser.add_argument(
        "--shuffle-seed", type=int, default=0, metavar="N", help="decides the order of runs (default: 0)"
    )
    parser.add_argument(
        "--price", type=float, metavar="USD", help="price of the machine per hour, for a cost table"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help="replace what an earlier study left in DIR")
    again.add_argument("--resume", action="store_true", help="keep what succeeded in DIR and run the rest")
    add_search_options(parser, backend_required=False)
    parser.set_defaults(run=run_study)


def _add_explosion(scenarios: Any) -> None:
    from corelens.cli.explosion import add_explosion, replay_explosion

    parser = add_explosion(scenarios)
    _add_rate(parser)
    parser.set_defaults(run=replay_explosion)


def _add_pathology(scenarios: Any) -> None:
    from corelens.cli.pathology import add_pathology, replay_pathology

    parser = add_pathology(scenarios)
    _add_recording_options(parser)
    parser.set_defaults(run=replay_pathology)


def _add_recording_options(parser: argparse.ArgumentParser) -> None:
    _add_rate(parser)
    parser.add_argument("--no-agent", action="store_true", help="do not look at native pools from inside")


def _add_rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, default=DEFAULT_RATE_HZ, metavar="HZ", help="samples per second (default: 10)"
    )
