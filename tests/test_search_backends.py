"""Every backend finds the same values, says what failed, and ends when told to, leaving nothing behind."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corelens.errors import ExitCode
from corelens.scenarios.search.execution import execute
from corelens.scenarios.search.options import parser, settings_from
from corelens.scenarios.search.settings import BACKENDS, BackendName, SearchSettings
from corelens.scenarios.search.space import Params

pytestmark = pytest.mark.lab

PROGRAM = [sys.executable, "-m", "corelens.scenarios.search"]
PARALLEL = [name for name in BACKENDS if name != "sequential"]
PROCESSES = ["joblib-loky", "process-pool", "process-executor", "ray"]
NEEDS = {"joblib-threads": "joblib", "joblib-loky": "joblib", "ray": "ray"}
# The recorder's way to hear from a program; here it tells the test which trials run where.
SPOOL = "CORELENS_SPOOL"
BOUND_S = 120.0
ENDLESS = ["--evaluation", "per-genome", "-p", "8", "-g", "1000000", "-n", "3", "-w", "2"]


@pytest.fixture(autouse=True)
def lab() -> None:
    for module in ("torch", "optuna"):
        skip_without(module)


def need(backend: str) -> None:
    if backend in NEEDS:
        skip_without(NEEDS[backend])


def skip_without(module: str) -> None:
    # Found, not imported: some of them set variables when they are.
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (extra {'ray' if module == 'ray' else 'lab'})")


def found_by(backend: str, target: Path, *flags: str, env: dict[str, str] | None = None) -> Any:
    argv = [*PROGRAM, "--backend", backend, "--scale", "smoke", *flags, "-o", str(target)]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stderr == ""
    return json.loads(target.read_text())


def story(found: Any) -> list[Any]:
    """What was tried and what came of it, without who did it and when."""
    return [
        [trial[key] for key in ("number", "params", "state", "value", "seeds")] for trial in found["trials"]
    ]


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> Any:
    for module in ("torch", "optuna"):
        skip_without(module)
    return found_by("sequential", tmp_path_factory.mktemp("sequential") / "results.json")


@pytest.mark.parametrize("backend", PARALLEL)
def test_every_backend_finds_the_same_values(backend: str, sequential: Any, tmp_path: Path) -> None:
    need(backend)
    found = found_by(backend, tmp_path / "results.json")
    assert story(found) == story(sequential)
    assert len({trial["value"] for trial in found["trials"]}) == len(found["trials"]) == 4
    workers = {trial["pid"] for trial in found["trials"]}
    threads = {trial["tid"] for trial in found["trials"]}
    if backend in PROCESSES:
        assert 1 <= len(workers) <= 2
    else:
        assert len(workers) == 1
        assert len(threads) > 1


@pytest.mark.parametrize("evaluation", ["batched", "per-genome"])
def test_neat_finds_the_same_values_in_threads_and_processes(evaluation: str, tmp_path: Path) -> None:
    skip_without("neat")
    flags = ["-m", "neat", "--evaluation", evaluation, "-p", "24", "-g", "3"]
    stories = [
        story(found_by(backend, tmp_path / f"{backend}.json", *flags))
        for backend in ("sequential", "optuna-threads", "process-executor")
    ]
    assert stories[0] == stories[1] == stories[2]


@pytest.mark.parametrize("limit", ["env", "late", "threadpoolctl", "torch"])
def test_a_thread_limit_changes_no_value(limit: str, sequential: Any, tmp_path: Path) -> None:
    found = found_by("optuna-threads", tmp_path / "results.json", "--limit-threads", limit)
    assert story(found) == story(sequential)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_other_start_methods_find_the_same_values(method: str, sequential: Any, tmp_path: Path) -> None:
    found = found_by("process-pool", tmp_path / "results.json", "--start-method", method)
    assert story(found) == story(sequential)


def test_a_storage_that_was_named_is_kept(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    flags = ["--evaluation", "per-genome", "-p", "8", "-n", "2", "--storage", str(journal)]
    found = found_by("process-executor", tmp_path / "results.json", *flags)
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(journal)))
    kept = optuna.load_study(study_name="search", storage=storage).trials
    assert [(trial.number, trial.value) for trial in kept] == [
        (trial["number"], trial["value"]) for trial in found["trials"]
    ]


@pytest.mark.parametrize("backend", ["sequential", "optuna-threads", "joblib-threads"])
def test_a_trial_that_raises_fails_alone(backend: BackendName, monkeypatch: pytest.MonkeyPatch) -> None:
    need(backend)
    from corelens.scenarios.search import objective

    intact = objective.best_per_generation
    flags = ["--backend", backend, "--scale", "smoke", "--evaluation", "per-genome", "-p", "8", "-n", "3"]
    settings = settings_from(parser().parse_args(flags))
    doomed: list[Params] = []

    def breaking(settings: SearchSettings, params: Params, seed: int) -> Iterator[float]:
        doomed.append(params)
        if params == doomed[0]:
            raise ArithmeticError("the pole flew off")
        return intact(settings, params, seed)

    monkeypatch.setattr(objective, "best_per_generation", breaking)
    outcome = execute(settings, storage=None, bar=False)
    failed = outcome.results.failed
    assert len(outcome.results.trials) == 3
    assert [(trial.params, trial.value) for trial in failed] == [(doomed[0], None)]
    assert failed[0].error == "ArithmeticError: the pole flew off"


class Running:
    """A search that would run for ever, in a session of its own, and what its marks say about it."""

    def __init__(self, backend: str, folder: Path, *flags: str) -> None:
        self.results = folder / "results.json"
        self.spool = folder / "spool"
        self.spool.mkdir()
        argv = [*PROGRAM, "--backend", backend, *ENDLESS, "-o", str(self.results), *flags]
        self.process = subprocess.Popen(
            argv,
            env={**os.environ, SPOOL: str(self.spool)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_trials(self, count: int) -> list[int]:
        """Give the processes of running trials once there are `count` of these."""
        deadline = time.monotonic() + BOUND_S
        while len(pids := [mark["pid"] for mark in self._marks() if mark["name"] == "trial"]) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "no trial began"
            select.select([], [], [], 0.02)
        return pids

    def ended(self) -> tuple[int, str, Any]:
        """Give the exit code, what was complained, and the results."""
        _, complaint = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode, complaint, json.loads(self.results.read_text())

    def _marks(self) -> list[Any]:
        lines = [line for path in self.spool.iterdir() for line in path.read_text().splitlines(keepends=True)]
        return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("backend", PARALLEL)
def test_ctrl_c_ends_workers_and_keeps_the_results(backend: str, tmp_path: Path) -> None:
    need(backend)
    search = Running(backend, tmp_path)
    search.wait_for_trials(2)
    # A terminal sends it to every process of the program.
    os.killpg(search.process.pid, signal.SIGINT)
    code, complaint, found = search.ended()
    assert code == ExitCode.INTERRUPTED, complaint
    assert complaint == "corelens: interrupted after 0 of 3 trials\n"
    assert found["interrupted"]
    assert found["trials"] == []


def test_ctrl_c_keeps_the_trials_that_had_ended(tmp_path: Path) -> None:
    # The first trial stagnates at once on a fitness that no generation betters; the others go on.
    search = Running("sequential", tmp_path, "-w", "1", "-g", "40")
    search.wait_for_trials(3)
    search.process.send_signal(signal.SIGINT)
    code, complaint, found = search.ended()
    assert code == ExitCode.INTERRUPTED, complaint
    assert [trial["number"] for trial in found["trials"]] == [0]
    assert found["trials"][0]["state"] == "complete"


def test_sigterm_is_passed_on_as_the_shells_code(tmp_path: Path) -> None:
    search = Running("process-executor", tmp_path)
    search.wait_for_trials(2)
    search.process.terminate()
    code, complaint, found = search.ended()
    assert code == 128 + signal.SIGTERM, complaint
    assert found["interrupted"]


@pytest.mark.parametrize("backend", ["joblib-loky", "process-pool", "process-executor"])
def test_a_killed_worker_is_a_failed_trial_and_not_a_hang(backend: str, tmp_path: Path) -> None:
    need(backend)
    search = Running(backend, tmp_path)
    os.kill(search.wait_for_trials(2)[0], signal.SIGKILL)
    code, complaint, found = search.ended()
    assert code == ExitCode.FAILED
    assert "3 of 3 trials failed" in complaint
    assert [trial["state"] for trial in found["trials"]] == ["failed"] * 3
    assert all(trial["error"].startswith("no result: ") for trial in found["trials"])
    assert all(trial["wall_s"] is None and trial["params"] for trial in found["trials"])


# A cluster that somebody else runs: it says where it is, and after the search whether it still works.
CLUSTER = """
import logging, os, ray
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
print(ray.get_runtime_context().gcs_address, flush=True)
input()
print(ray.get(ray.remote(lambda: "still here").remote()), flush=True)
ray.shutdown()
"""


def test_a_running_cluster_is_joined_and_left_running(sequential: Any, tmp_path: Path) -> None:
    need("ray")
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        flags = ["--address", address, "--limit-threads", "env"]
        # Ray gave this cluster a token, and uses none for an address given by name unless told to.
        found = found_by("ray", tmp_path / "results.json", *flags, env={"RAY_AUTH_MODE": "token"})
        said, _ = cluster.communicate("\n", timeout=BOUND_S)
    assert story(found) == story(sequential)
    assert said.strip() == "still here"
    assert cluster.returncode == 0


def test_a_cluster_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    need("ray")
    target = tmp_path / "results.json"
    argv = [*PROGRAM, "--backend", "ray", "--scale", "smoke", "--address", "auto", "-o", str(target)]
    # A temporary folder of its own, so that no cluster of somebody else's is found.
    environment = {**os.environ, "RAY_TMPDIR": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("corelens: the Ray cluster at --address auto cannot be joined; ")
    assert done.stderr.count("\n") == 1
    assert not target.exists()
