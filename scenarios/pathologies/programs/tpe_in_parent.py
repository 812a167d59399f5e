"""The parent asks a TPE sampler that costs more than a trial, and four workers wait for trials to run.

`--fixed` draws at random, which costs nothing, and runs more trials.
"""

# pyright: basic
from __future__ import annotations

import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

FIXED = "--fixed" in sys.argv
TRIALS = 300 * (12 if FIXED else 1)


def evaluate(point: dict[str, float]) -> float:
    """Score a point with a short simulation."""
    values = list(point.values())
    for _ in range(1500):
        values = [value - 0.001 * (value * value - 0.25) for value in values]
    return sum(values)


def main() -> None:
    """Ask, evaluate on four workers, and tell."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tpe = optuna.samplers.TPESampler(seed=0, n_startup_trials=4, n_ei_candidates=512, multivariate=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0) if FIXED else tpe)
    space: dict[str, BaseDistribution] = {f"x{number}": FloatDistribution(-1.0, 1.0) for number in range(12)}
    begun, running = time.perf_counter(), dict[Future[float], optuna.Trial]()
    with ProcessPoolExecutor(4) as executor:
        for _ in range(TRIALS):
            trial = study.ask(space)
            running[executor.submit(evaluate, trial.params)] = trial
            if len(running) >= 8:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    study.tell(running.pop(future), future.result())
        for future, trial in running.items():
            study.tell(trial, future.result())
    print(f"units={TRIALS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
