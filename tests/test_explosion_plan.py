"""The explosion is planned as the story went, and emulated pools obey limits as a real machine's would."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from corelens.errors import UsageError
from corelens.scenarios.search import emulation
from corelens.scenarios.search.emulation import Sizes, sizes_on
from corelens.scenarios.search.explosion import WAYS, Machine, PlannedRun, plan_explosion
from corelens.scenarios.search.options import parser, settings_from
from corelens.scenarios.search.thread_limits import VARIABLES

SMALL = Machine(torch_threads=2, cores=2, blas=("numpy",))
LARGE = Machine(torch_threads=64, cores=128, blas=("numpy",))


def by_stem(runs: list[PlannedRun]) -> dict[str, PlannedRun]:
    return {run.stem: run for run in runs}


def test_the_runs_follow_the_story() -> None:
    runs = plan_explosion(SMALL, [64])
    assert [run.stem for run in runs] == [f"{way.name}-on-64" for way in WAYS]
    assert [(run.settings.backend, run.settings.workers, run.settings.limit_threads) for run in runs] == [
        ("optuna-threads", 5, "none"),
        ("optuna-threads", 3, "none"),
        ("optuna-threads", 3, "late"),
        ("optuna-threads", 3, "torch"),
        ("optuna-threads", 3, "env"),
        ("process-pool", 3, "env"),
    ]
    assert {(run.settings.method, run.settings.evaluation) for run in runs} == {("pure", "batched")}


def test_every_worker_has_one_trial_so_that_none_ends_before_the_last_begins() -> None:
    assert all(run.settings.trials == run.settings.workers for run in plan_explosion(SMALL, [64]))


def test_only_variables_that_stand_before_the_start_are_in_the_environment() -> None:
    given = {run.way.name: run.variables for run in plan_explosion(SMALL, [64])}
    assert given["w3-env"] == given["pool-env"] == dict.fromkeys(VARIABLES, "1")
    assert not any(given[name] for name in ("w5", "w3", "w3-late", "w3-torch"))


def test_pools_are_emulated_where_torch_does_not_take_that_size_here() -> None:
    emulated = plan_explosion(SMALL, [64])[0]
    assert emulated.argv[emulated.argv.index("--emulate-cores") + 1] == "64"
    assert (emulated.labels["pools"], emulated.labels["blas_cores"]) == ("emulated", "64")
    native = plan_explosion(LARGE, [64])[0]
    assert "--emulate-cores" not in native.argv
    assert (native.labels["pools"], native.labels["blas_cores"]) == ("native", "128")


def test_the_command_line_of_a_run_means_its_settings() -> None:
    for run in plan_explosion(SMALL, [64]):
        namespace = parser().parse_args(run.argv[3:])
        assert settings_from(namespace) == run.settings
        assert namespace.bar


def test_a_sweep_repeats_the_shape_without_a_limit_on_the_smaller_machines() -> None:
    runs = plan_explosion(SMALL, [2, 64, 8])
    assert [run.stem for run in runs[len(WAYS) :]] == ["w5-on-8", "w5-on-2"]
    assert {run.cores for run in runs[: len(WAYS)]} == {64}
    assert by_stem(runs)["w5-on-2"].labels["pools"] == "native"


@pytest.mark.parametrize("cores", [[], [0], [-2, 4], [8, 8]])
def test_what_is_no_machine_is_refused(cores: list[int]) -> None:
    with pytest.raises(UsageError, match="--cores"):
        plan_explosion(SMALL, cores)


@pytest.mark.parametrize("backend", ["ray", "joblib-loky"])
def test_backends_that_limit_their_own_workers_are_not_emulated(backend: str) -> None:
    with pytest.raises(UsageError, match="--emulate-cores"):
        settings_from(parser().parse_args(["--backend", backend, "--emulate-cores", "4"]))


def test_no_machine_has_less_than_one_core() -> None:
    with pytest.raises(UsageError, match="--emulate-cores 0"):
        settings_from(parser().parse_args(["--backend", "sequential", "--emulate-cores", "0"]))


@pytest.mark.parametrize(
    ("variables", "sizes"),
    [
        ({}, Sizes(64, 64)),
        (dict.fromkeys(VARIABLES, "1"), Sizes(1, 1)),
        ({"OMP_NUM_THREADS": "8"}, Sizes(8, 8)),
        ({"MKL_NUM_THREADS": "4", "OMP_NUM_THREADS": "8"}, Sizes(4, 8)),
        ({"OPENBLAS_NUM_THREADS": "2", "GOTO_NUM_THREADS": "3", "OMP_NUM_THREADS": "8"}, Sizes(8, 2)),
        ({"GOTO_NUM_THREADS": "3"}, Sizes(64, 3)),
        ({"OMP_NUM_THREADS": "500"}, Sizes(64, 64)),
        ({"OMP_NUM_THREADS": "many", "MKL_NUM_THREADS": "", "OPENBLAS_NUM_THREADS": "-3"}, Sizes(64, 64)),
    ],
)
def test_a_users_own_variables_hold_on_the_emulated_machine(variables: dict[str, str], sizes: Sizes) -> None:
    assert sizes_on(64, variables) == sizes


def test_nothing_is_emulated_unless_asked() -> None:
    before = dict(os.environ)
    with emulation.pools_of(None):
        assert dict(os.environ) == before
    emulation.import_as_on(None)


# Prints: threads of this process, size that a new thread gets from torch, variables that differ from before.
EMULATED = """
import os, sys, threading
before = dict(os.environ)
from corelens.scenarios.search import emulation
emulation.import_as_on(int(sys.argv[1]))
import torch
# Counted first: a thread that was joined may still be there for a moment.
count = len(os.listdir("/proc/self/task"))
found = []
thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
thread.start(); thread.join()
print(count, found[0], sorted(os.environ.items() ^ before.items()))
"""


@pytest.mark.lab
@pytest.mark.parametrize(("cores", "blas"), [(16, 16), (1, 1), (80, 64)])
def test_pools_get_their_sizes_and_the_variables_go(cores: int, blas: int) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra lab)")
    argv = [sys.executable, "-c", EMULATED, str(cores)]
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(argv, capture_output=True, text=True, env=clean, check=False)
    assert done.stdout.split(maxsplit=2) == [str(blas), str(cores), "[]\n"], done.stderr
