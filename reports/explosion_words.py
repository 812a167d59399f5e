"""What the explosion shows, in sentences: each one measured in these runs, or marked with where it is taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from corelens.reports.explosion import Explosion, ExplosionRun
from corelens.reports.explosion_expected import MAIN, POOL_WORKER
from corelens.reports.facts import owned

MEASURED = "measured here"
# What the story's team saw on a machine of 64 cores, with 5 workers and then, with a limit, with 3.
STORY_CORES, STORY_BEFORE, STORY_AFTER = 64, 387, 257


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence or two; `basis` is MEASURED or names the source."""

    text: str
    basis: str


# In the order in which the story tells it. These facts lie outside the runs: they are the team's own
# measurements and the libraries' source code, read again.
FROM_SOURCES = (
    Statement(
        "No joblib or loky took part, and neither falls back to sequential work after a 60 s heartbeat: the word"
        " heartbeat occurs nowhere in joblib or loky, and `n_jobs` of Optuna has been a ThreadPoolExecutor since"
        " version 2.6.0.",
        "source code of optuna (`study/_optimize.py`), joblib and loky",
    ),
    Statement(
        "The trials of the eight-hour run overlapped: trial 12 left its result before trial 11 did.",
        "result files of the story's run",
    ),
    Statement(
        "11.4 minutes is what a trial took alone, with n_jobs=1. In the parallel run 12 trials finished in eight"
        " hours, 40 minutes each: 0.285 of the sequential throughput.",
        "run logs of the story",
    ),
    Statement(
        "The 44.2 s that became 28.3 s with the limit were a cold start: both tests ran back to back, and the first"
        " one paid for reading the libraries from disk. The search itself was equal or slower with the limit, and"
        " both tests burned about 100 CPUs.",
        "time stamps and CPU times in the story's logs",
    ),
    Statement(
        "The pool of three processes with 64 threads each finished no trial in 37 minutes; with few threads per"
        " process the same pool worked.",
        "run logs of the story",
    ),
)


def statements(found: Explosion) -> list[Statement]:
    """What these runs show; a sentence that needs a run which is not there is left out."""
    runs = {run.name: run for run in found.runs if run.trouble is None}
    tellers: tuple[Callable[[dict[str, ExplosionRun]], Iterator[str]], ...] = (
        _fewer_workers, _late, _torch, _before_start, _at_once, _one_process, _pool,
    )  # fmt: skip
    return [Statement(text, MEASURED) for tell in tellers for text in tell(runs)]


def _fewer_workers(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    if "w5" not in runs or "w3" not in runs:
        return
    five, three = runs["w5"], runs["w3"]
    before, after = five.observed or 0, three.observed or 0
    each = (before - after) / (five.workers - three.workers)
    yield (
        f"Fewer workers made the count fall, and no limit: {before} threads with {five.workers} workers and {after}"
        f" with {three.workers}, both without a limit. Each worker that goes takes {each:g} threads with it."
    )
    if five.cores == STORY_CORES:
        yield (
            f"Of the story's {STORY_BEFORE}, {before} are accounted for by owner, and {STORY_BEFORE - before} are"
            f" not known: nobody wrote down who owned them. Its {STORY_AFTER} are"
            f" {'met exactly' if after == STORY_AFTER else f'{after} here'}; of its drop of"
            f" {STORY_BEFORE - STORY_AFTER}, {before - after} are two workers less."
        )


def _late(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    if "w3" not in runs or "w3-late" not in runs:
        return
    without, late = runs["w3"], runs["w3-late"]
    owners = dict.fromkeys(term.owner for run in (without, late) for term in run.terms)
    moved = [owner for owner in owners if without.observed_of(owner) != late.observed_of(owner)]
    verdict = f"but {', '.join(moved)} differ" if moved else "and every owner has the same number"
    yield (
        "Variables that the program sets after its imports do nothing: OpenBLAS, libgomp and MKL read them while"
        f" they are loaded. {late.observed} threads with them, {without.observed} without, {verdict}."
    )


def _torch(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    if "w3-torch" in runs:
        run = runs["w3-torch"]
        teams, blas = run.observed_of(owned.OPENMP_GNU), run.observed_of(owned.OPENBLAS)
        yield (
            f"`torch.set_num_threads(1)` works at once: {run.observed} threads, {teams or 'none'} of libgomp's."
            f" {blas} are OpenBLAS's own pool, which the call does not reach."
        )


def _before_start(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    if "w3-env" in runs:
        run = runs["w3-env"]
        native = run.observed_of(owned.OPENMP_GNU) + run.observed_of(owned.OPENBLAS)
        yield (
            f"Variables that stand before Python starts limit everything: {run.observed} threads,"
            f" {native or 'none'} of them native pools'. They are the main thread, the workers and the progress bar."
        )


def _at_once(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    run = runs.get("w5") or runs.get("w3")
    if run is not None and run.trials_at_once is not None:
        yield (
            f"Threads run trials at the same time and not one after the other: {run.trials_at_once:.1f} of"
            f" {run.workers} trials were in flight on average. That they slow each other down is another matter."
        )


def _one_process(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    run = runs.get("w5") or runs.get("w3")
    if run is None:
        return
    alone = [role.role for role in run.roles if role.observed_processes] == [MAIN]
    if alone and not any(term.owner == owned.PYTHON_HELPER and term.agrees is False for term in run.terms):
        yield (
            "One process without children is what `n_jobs` looks like, and no sign of a failed pool. Its only helper"
            " thread is the progress bar's; joblib would have added the three handlers of its pool."
        )


def _pool(runs: dict[str, ExplosionRun]) -> Iterator[str]:
    if "pool-env" not in runs:
        return
    run = runs["pool-env"]
    workers = next((role.observed_processes for role in run.roles if role.role == POOL_WORKER), 0)
    threads = sum(term.observed for term in run.terms if term.role == POOL_WORKER)
    yield (
        f"The process pool has {run.observed} threads in all, {threads} of them in its {workers} workers; the rest"
        " belong to the process that hands out the work."
    )
