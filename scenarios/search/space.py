"""What is searched: the hyper-parameters of each method, as an Optuna search space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelens.scenarios.search.settings import Method

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Params = dict[str, float | int | str]

SELECTIONS = ("tournament", "truncation", "rank")
CROSSOVERS = ("uniform", "one-point", "blend")
HIDDEN_SIZES = (16, 20, 24, 28, 32)


def suggest(trial: BaseTrial, method: Method) -> Params:
    """Draw one parameter set for the method from an Optuna trial."""
    return _suggest_pure(trial) if method == "pure" else _suggest_neat(trial)


def draw(method: Method, count: int, seed: int) -> list[Params]:
    """Draw `count` parameter sets at random; the same seed gives the same sets.

    They are drawn before any trial runs, because a sampler that learns from finished trials gives other sets
    whenever trials finish in another order.
    """
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(study.ask(), method) for _ in range(count)]


def _suggest_pure(trial: BaseTrial) -> Params:
    return {
        "hidden_size": trial.suggest_categorical("hidden_size", HIDDEN_SIZES),
        "initial_size": trial.suggest_float("initial_size", 0.2, 2.0, log=True),
        "mutation_rate": trial.suggest_float("mutation_rate", 0.01, 0.5, log=True),
        "mutation_size": trial.suggest_float("mutation_size", 0.02, 1.0, log=True),
        "selection": trial.suggest_categorical("selection", SELECTIONS),
        "selected_share": trial.suggest_float("selected_share", 0.1, 0.5),
        "tournament_size": trial.suggest_int("tournament_size", 2, 7),
        "crossover": trial.suggest_categorical("crossover", CROSSOVERS),
        "crossover_rate": trial.suggest_float("crossover_rate", 0.0, 0.9),
        "elite_share": trial.suggest_float("elite_share", 0.01, 0.2),
    }


def _suggest_neat(trial: BaseTrial) -> Params:
    return {
        "conn_add_prob": trial.suggest_float("conn_add_prob", 0.05, 0.5),
        "conn_delete_prob": trial.suggest_float("conn_delete_prob", 0.05, 0.4),
        "node_add_prob": trial.suggest_float("node_add_prob", 0.02, 0.2),
        "node_delete_prob": trial.suggest_float("node_delete_prob", 0.02, 0.2),
        "compatibility_threshold": trial.suggest_float("compatibility_threshold", 2.0, 4.0),
        "weight_mutate_rate": trial.suggest_float("weight_mutate_rate", 0.3, 0.9),
        "weight_mutate_power": trial.suggest_float("weight_mutate_power", 0.1, 1.5, log=True),
        "weight_replace_rate": trial.suggest_float("weight_replace_rate", 0.01, 0.2),
        "bias_mutate_rate": trial.suggest_float("bias_mutate_rate", 0.2, 0.9),
        "survival_threshold": trial.suggest_float("survival_threshold", 0.1, 0.5),
    }
