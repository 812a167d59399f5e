"""The search as a program: parse, import in the order that was asked for, run, write, say what was found."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from corelens import marks
from corelens.errors import CorelensError, ExitCode, MissingExtra, OutputExists, UsageError
from corelens.scenarios.search import emulation, options, progress, results, thread_limits
from corelens.scenarios.search.results import SearchResults, TrialResult
from corelens.scenarios.search.settings import SearchSettings, labels

# The shell's convention for a program that a signal ended.
SIGNAL_BASE = 128


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search from a command line and give its exit code."""
    namespace = options.parser().parse_args(argv)
    try:
        return _run(namespace)
    except CorelensError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted before the first trial; nothing was written")
        return ExitCode.INTERRUPTED


def _run(namespace: argparse.Namespace) -> int:
    settings = options.settings_from(namespace)
    _refuse_overwriting(namespace)
    marks.mark("search", **labels(settings))
    load_workload(settings)

    from corelens.scenarios.search.execution import execute

    bar = progress.wanted(quiet=namespace.quiet, always=namespace.bar)
    outcome = execute(settings, storage=namespace.storage, bar=bar)
    _print_trials(outcome.results)
    if namespace.results is not None:
        results.write(outcome.results, namespace.results)
    if outcome.signal_number is not None:
        _complain(f"interrupted after {len(outcome.results.trials)} of {settings.trials} trials")
        return SIGNAL_BASE + outcome.signal_number
    return _verdict(outcome.results)


def load_workload(settings: SearchSettings) -> None:
    """Import what the search needs, with the thread limits set before or after as asked."""
    thread_limits.before_imports(settings.limit_threads)
    with marks.span("import"), emulation.pools_of(settings.emulate_cores):
        for module, extra in _needed(settings):
            _require(module, extra)
    thread_limits.after_imports(settings.limit_threads)
    if settings.device == "cuda":
        _require_cuda()


def _refuse_overwriting(namespace: argparse.Namespace) -> None:
    path: Path | None = namespace.results
    if path is not None:
        results.refuse_unwritable(path, force=namespace.force)
    journal: Path | None = namespace.storage
    if journal is not None and journal.exists():
        if not namespace.force:
            raise OutputExists(journal)
        journal.unlink()


def _needed(settings: SearchSettings) -> list[tuple[str, str]]:
    needed = [("numpy", "lab"), ("torch", "lab"), ("optuna", "lab")]
    if settings.method == "neat":
        needed.append(("neat", "lab"))
    if settings.backend.startswith("joblib"):
        needed.append(("joblib", "lab"))
    if settings.backend == "ray":
        needed.append(("ray", "ray"))
    return needed


def _require(module: str, extra: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or module, extra) from error


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UsageError("torch sees no CUDA device here", "use --device cpu")


def _print_trials(found: SearchResults) -> None:
    for trial in sorted(found.trials, key=lambda trial: trial.number):
        print(_line(trial))
    if found.best is not None:
        print(f"best: trial {found.best.number}, fitness {found.best.value:.4f}")
    print(f"the search took {found.wall_s:.1f} s")


def _line(trial: TrialResult) -> str:
    took = "" if trial.wall_s is None else f" in {trial.wall_s:.1f} s"
    if trial.value is None:
        return f"trial {trial.number}: failed{took}: {trial.error}"
    return f"trial {trial.number}: fitness {trial.value:.4f}{took}"


def _verdict(found: SearchResults) -> int:
    failed = found.failed
    if not failed:
        return ExitCode.OK
    _complain(f"{len(failed)} of {len(found.trials)} trials failed; the first: {failed[0].error}")
    return ExitCode.FAILED


def _complain(message: str) -> None:
    print(f"corelens: {message}", file=sys.stderr)
