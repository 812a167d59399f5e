"""Three Optuna processes share a study in one SQLite file, with trials shorter than its transactions.

`--fixed` writes the study to a journal file instead.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

FIXED = "--fixed" in sys.argv
WORKERS = 3
SECONDS = 8.0


def storage(folder: str) -> JournalStorage | RDBStorage:
    """Open the storage of the study."""
    if FIXED:
        return JournalStorage(JournalFileBackend(str(Path(folder, "journal.log"))))
    options = {"connect_args": {"timeout": 60}}
    return RDBStorage(f"sqlite:///{folder}/study.db", engine_kwargs=options)


def objective(trial: optuna.Trial) -> float:
    """Report a learning curve, each point of which is a transaction."""
    value = trial.suggest_float("x", -1.0, 1.0)
    for epoch in range(20):
        value = value * value - 0.5
        trial.report(value, epoch)
    return value


def work(folder: str, seed: int) -> None:
    """Run trials for some seconds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed)
    study = optuna.load_study(study_name="shared", storage=storage(folder), sampler=sampler)
    study.optimize(objective, timeout=SECONDS)


def main() -> None:
    """Run trials in three processes for some seconds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        optuna.create_study(study_name="shared", storage=storage(folder))
        begun = time.perf_counter()
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=work, args=(folder, seed)) for seed in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        elapsed = time.perf_counter() - begun
        done = len(optuna.load_study(study_name="shared", storage=storage(folder)).trials)
    print(f"units={done} elapsed {elapsed:.2f}")


if __name__ == "__main__":
    main()
