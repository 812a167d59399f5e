"""Optuna's TPE sampler costs more than the trials, and `n_jobs=3` makes its threads take turns.

`--fixed` runs the study in two processes that share a journal.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

FIXED = "--fixed" in sys.argv
TRIALS = 480


def sampler(seed: int) -> optuna.samplers.TPESampler:
    """Give a sampler that weighs many candidates for each parameter."""
    return optuna.samplers.TPESampler(n_startup_trials=5, n_ei_candidates=256, seed=seed)


def objective(trial: optuna.Trial) -> float:
    """Score a point: the arithmetic is nothing beside choosing the point."""
    return sum(trial.suggest_float(f"x{number}", -1.0, 1.0) ** 2 for number in range(10))


def part(path: str, seed: int) -> None:
    """Run half of the trials in a process of its own."""
    storage = JournalStorage(JournalFileBackend(path))
    study = optuna.load_study(study_name="tpe", storage=storage, sampler=sampler(seed))
    study.optimize(objective, n_trials=TRIALS // 2)


def main() -> None:
    """Run all trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    begun = time.perf_counter()
    if FIXED:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "journal.log"))
            optuna.create_study(study_name="tpe", storage=JournalStorage(JournalFileBackend(path)))
            with multiprocessing.Pool(2) as pool:
                pool.starmap(part, [(path, 0), (path, 1)], chunksize=1)
    else:
        optuna.create_study(sampler=sampler(0)).optimize(objective, n_trials=TRIALS, n_jobs=3)
    print(f"units={TRIALS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
