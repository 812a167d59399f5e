"""The search's flags: presets, contradictions, the way to a command line and back, the plan of a study."""

from __future__ import annotations

import json

import pytest

from corelens.errors import UsageError
from corelens.scenarios.search.options import command_line, parser, settings_from
from corelens.scenarios.search.settings import BACKENDS, PRESETS, SCALES, Scale, SearchSettings, labels
from corelens.scenarios.search.study import plan_study


def settings(*argv: str) -> SearchSettings:
    return settings_from(parser().parse_args(argv))


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_gives_its_sizes(scale: Scale) -> None:
    found = settings("--backend", "process-pool", "--scale", scale)
    preset = PRESETS[scale]
    assert (found.trials, found.generations, found.seeds) == (preset.trials, preset.generations, preset.seeds)
    assert (found.population, found.workers) == (preset.population, preset.workers)


def test_production_is_the_size_of_the_story() -> None:
    preset = PRESETS["production"]
    assert (preset.population, preset.generations, preset.seeds) == (500, 150, 3)
    assert (preset.workers, preset.trials) == (3, 3)


def test_every_size_can_be_overridden() -> None:
    short = settings("--backend", "ray", "-n7", "-g8", "-s9", "-p10", "-w11")
    assert (short.trials, short.generations, short.seeds, short.population, short.workers) == (
        7,
        8,
        9,
        10,
        11,
    )
    assert settings("--backend", "ray", "--n-jobs", "5").workers == 5


def test_one_trial_at_a_time_is_one_worker() -> None:
    assert settings("--backend", "sequential", "--scale", "production").workers == 1


def test_processes_are_spawned_unless_told() -> None:
    assert settings("--backend", "process-pool").start_method == "spawn"
    assert settings("--backend", "process-executor", "--start-method", "fork").start_method == "fork"
    assert settings("--backend", "joblib-loky").start_method is None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--backend ray -w 0", "--workers 0"),
        ("--backend ray -n 0", "--trials 0"),
        ("--backend ray -g 0", "--generations 0"),
        ("--backend ray -s 0", "--seeds 0"),
        ("--backend ray -p 3", "--population 3"),
        ("--backend ray --stagnation-limit 0", "--stagnation-limit 0"),
        ("--backend ray --seed -1", "--seed -1"),
        ("--backend sequential -w 2", "--workers 2"),
        ("--backend process-pool --address auto", "--address"),
        ("--backend ray --start-method fork", "--start-method"),
        ("--backend process-pool --device cuda --start-method fork", "--start-method fork"),
        ("--backend ray --device cuda -m neat --evaluation per-genome", "--evaluation per-genome"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_flag(argv: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings(*argv.split())
    assert words in refused.value.seen
    assert "--" in refused.value.remedy
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "argv",
    [
        "--backend sequential",
        "--backend process-pool --scale production --start-method forkserver --limit-threads env -m neat",
        "--backend ray --address 10.0.0.1:6379 --evaluation per-genome --stagnation-limit 5 --seed 7",
        "--backend joblib-loky -n 1 -g 2 -s 3 -p 4 -w 5 --device cuda",
    ],
)
def test_a_command_line_means_the_settings_it_was_made_from(argv: str) -> None:
    given = settings(*argv.split())
    line = command_line(given, "--quiet")
    assert line[1:3] == ["-m", "corelens.scenarios.search"]
    namespace = parser().parse_args(line[3:])
    assert settings_from(namespace) == given
    assert namespace.quiet


def test_labels_are_plain_json_values() -> None:
    said = labels(settings("--backend", "sequential", "--limit-threads", "late"))
    assert json.loads(json.dumps(said)) == said
    assert {"backend", "workers", "scale", "method", "evaluation", "trials", "generations", "seeds"} <= set(
        said
    )
    assert {"population", "limit_threads", "stagnation_limit", "device", "seed"} <= set(said)


def test_a_study_holds_every_backend_once_per_repeat() -> None:
    namespace = parser().parse_args(["--backend", "ray", "-w", "3"])
    planned = plan_study(namespace, repeats=3)
    assert len({run.stem for run in planned}) == len(planned) == 3 * len(BACKENDS)
    for repeat in (1, 2, 3):
        block = planned[(repeat - 1) * len(BACKENDS) : repeat * len(BACKENDS)]
        assert {run.backend for run in block} == set(BACKENDS)
        assert {run.repeat for run in block} == {repeat}


def test_a_study_is_shuffled_by_its_seed_alone() -> None:
    namespace = parser().parse_args(["--backend", "ray"])
    orders = [
        [run.backend for run in plan_study(namespace, repeats=2, shuffle_seed=seed)] for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0][: len(BACKENDS)] != orders[0][len(BACKENDS) :]


def test_a_study_drops_flags_where_they_mean_nothing() -> None:
    namespace = parser().parse_args(
        ["--backend", "ray", "-w4", "--start-method", "fork", "--address", "auto"]
    )
    by_backend = {run.backend: run.settings for run in plan_study(namespace)}
    assert by_backend["sequential"].workers == 1
    assert by_backend["optuna-threads"].workers == 4
    assert by_backend["process-pool"].start_method == "fork"
    assert by_backend["joblib-loky"].start_method is None
    assert [name for name, found in by_backend.items() if found.address] == ["ray"]


def test_a_study_without_runs_or_with_two_of_a_name_is_refused() -> None:
    namespace = parser().parse_args(["--backend", "ray"])
    with pytest.raises(UsageError):
        plan_study(namespace, repeats=0)
    with pytest.raises(UsageError):
        plan_study(namespace, backends=["ray", "ray"])
    with pytest.raises(UsageError):
        plan_study(namespace, backends=[])
