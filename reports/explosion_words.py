"""What the explosion shows, in sentences: each one measured in these runs, or marked with where it is taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from corelens.reports.exploded import Explosion, ExplosionRun
from corelens.reports.explosion_expected import MAIN, POOL_WORKER
from corelens.reports.facts import owned

MEASURED = "measured here"
# What the story's team saw on a machine of 64 cores, with 5 workers and then, with a limit, with 3.
STORY_CORES, STORY_BEFORE, STORY_AFTER = 64, 387, 257
THE_STORY = (
    f"The story: a hyper-parameter search with Optuna on a machine of 128 CPUs and {STORY_CORES} cores, with n_jobs=5,"
    f" showed {STORY_BEFORE} threads in one Python process and two to four busy cores, and finished 12 trials in eight"
    f" hours. With n_jobs=3 and a switch that limits threads it showed {STORY_AFTER}. Here the same shapes are run"
    " again, and each thread is counted by what made it."
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is so, and where that is known from."""

    claim: str | None
    """What the story says instead; None where this only says what works."""
    text: str
    basis: str
    """MEASURED, or the source."""


# These facts lie outside the runs: the team's own records and the libraries' source code, read again.
FROM_SOURCES = (
    Statement(
        "joblib fell back to sequential work after a heartbeat of 60 s.",
        "No joblib or loky took part: `n_jobs` of Optuna has been a ThreadPoolExecutor since version 2.6.0. Neither"
        " has such a fallback, and the word heartbeat occurs nowhere in their code.",
        "source code of optuna (`study/_optimize.py`), joblib and loky",
    ),
    Statement(
        "The production run was sequential.",
        "Its trials overlapped: trial 12 left its result before trial 11 did.",
        "result files of the story's run",
    ),
    Statement(
        "Trials took 11.4 minutes each.",
        "That is what a trial took alone, with n_jobs=1. In the parallel run 12 trials finished in eight hours, one"
        " in 40 minutes: 0.285 of the sequential throughput.",
        "run logs of the story",
    ),
    Statement(
        "Limiting threads made the test faster: 44.2 s became 28.3 s.",
        "That was a cold start: both tests ran back to back, and the first one read the libraries from disk. The"
        " search itself was equal or slower with the limit, and both tests burned about 100 CPUs.",
        "time stamps and CPU times in the story's logs",
    ),
    Statement(
        "A process pool used 97.7 % of the machine.",
        "With 64 threads in each of three processes it finished no trial in 37 minutes: that was spinning. With few"
        " threads per process the same pool worked.",
        "run logs of the story; spinning is inferred from 42 CPUs per process and 193 to 197 runnable threads",
    ),
)


def statements(found: Explosion) -> list[Statement]:
    """What these runs show; what needs a run that is not there is left out."""
    runs = {run.name: run for run in found.runs if run.trouble is None}
    tellers: tuple[Callable[[dict[str, ExplosionRun]], Iterator[tuple[str | None, str]]], ...] = (
        _fewer_workers, _late, _at_once, _one_process, _the_last_two, _torch, _before_start, _pool,
    )  # fmt: skip
    return [Statement(claim, text, MEASURED) for tell in tellers for claim, text in tell(runs)]


Told = Iterator[tuple[str | None, str]]
"""What the story says, and what is so."""


def _fewer_workers(runs: dict[str, ExplosionRun]) -> Told:
    if "w5" not in runs or "w3" not in runs:
        return
    five, three = runs["w5"], runs["w3"]
    before, after = five.observed or 0, three.observed or 0
    each = (before - after) / (five.workers - three.workers)
    yield (
        f"Limiting threads cut their number from {STORY_BEFORE} to {STORY_AFTER}.",
        f"Fewer workers did: {before} threads with {five.workers} workers and {after} with {three.workers}, both"
        f" without a limit. Each worker that goes takes {each:g} threads with it.",
    )


def _the_last_two(runs: dict[str, ExplosionRun]) -> Told:
    if "w5" not in runs or "w3" not in runs or runs["w5"].cores != STORY_CORES:
        return
    before, after = runs["w5"].observed or 0, runs["w3"].observed or 0
    met = "met exactly" if after == STORY_AFTER else f"{after} here"
    yield (
        None,
        f"The counts themselves hold: {before} of the story's {STORY_BEFORE} threads have an owner here, and"
        f" {STORY_BEFORE - before} are not known, because nobody wrote down who owned them. Its {STORY_AFTER} are"
        f" {met}. Of the {STORY_BEFORE - STORY_AFTER} that went, {before - after} are two workers less.",
    )


def _late(runs: dict[str, ExplosionRun]) -> Told:
    if "w3" not in runs or "w3-late" not in runs:
        return
    without, late = runs["w3"], runs["w3-late"]
    owners = dict.fromkeys(term.owner for run in (without, late) for term in run.terms)
    moved = [owner for owner in owners if without.observed_of(owner) != late.observed_of(owner)]
    verdict = f"but {', '.join(moved)} differ" if moved else "and every owner has the same number"
    yield (
        "The program's own --limit-threads limits the pools.",
        "It sets variables after the imports, and OpenBLAS, libgomp and MKL read them while they are loaded:"
        f" {late.observed} threads with them, {without.observed} without, {verdict}.",
    )


def _at_once(runs: dict[str, ExplosionRun]) -> Told:
    run = runs.get("w5") or runs.get("w3")
    if run is not None and run.trials_at_once is not None:
        yield (
            "Threads ran the trials one after the other.",
            f"They run at the same time: {run.trials_at_once:.1f} of {run.workers} trials were in flight on average."
            " That they slow each other down is another matter.",
        )


def _one_process(runs: dict[str, ExplosionRun]) -> Told:
    run = runs.get("w5") or runs.get("w3")
    if run is not None and [role.role for role in run.roles if role.observed_processes] == [MAIN]:
        helpers = [term.name for term in run.terms if term.owner == owned.PYTHON_HELPER and term.observed]
        yield (
            "One process without children is a pool that failed to start.",
            "It is what `n_jobs` looks like: the workers are threads. Helper threads beside them:"
            f" {', '.join(helpers) or 'none'}; joblib would have added the three handlers of its pool.",
        )


def _torch(runs: dict[str, ExplosionRun]) -> Told:
    if "w3-torch" in runs:
        run = runs["w3-torch"]
        teams, blas = run.observed_of(owned.OPENMP_GNU), run.observed_of(owned.OPENBLAS)
        yield (
            None,
            f"`torch.set_num_threads(1)` in each worker works at once: {run.observed} threads, {teams or 'none'} of"
            f" them libgomp's. {blas} are OpenBLAS's own pool, which the call does not reach.",
        )


def _before_start(runs: dict[str, ExplosionRun]) -> Told:
    if "w3-env" in runs:
        run = runs["w3-env"]
        native = run.observed_of(owned.OPENMP_GNU) + run.observed_of(owned.OPENBLAS)
        yield (
            None,
            f"Variables that stand before Python starts limit everything: {run.observed} threads,"
            f" {native or 'none'} of them native pools'. They are the main thread, the workers and the progress bar.",
        )


def _pool(runs: dict[str, ExplosionRun]) -> Told:
    if "pool-env" not in runs:
        return
    run = runs["pool-env"]
    workers = next((role.observed_processes for role in run.roles if role.role == POOL_WORKER), 0)
    threads = sum(term.observed for term in run.terms if term.role == POOL_WORKER)
    yield (
        None,
        f"The process pool with one thread each has {run.observed} threads in all, {threads} of them in its {workers}"
        " workers; the rest belong to the process that hands out the work.",
    )
