"""Roles told from command lines that were looked at on real programs."""

from __future__ import annotations

import pytest

from corelens.probes import roles
from corelens.probes.roles import Traits, role_of

SCRIPT = ("/venv/bin/python", "search.py", "-n", "5")
SITE = "/venv/lib/python3.11/site-packages"


def child(*argv: str, comm: str = "python", parent_role: str = roles.MAIN) -> Traits:
    return Traits(comm=comm, argv=argv, parent_role=parent_role, parent_argv=SCRIPT)


SPAWN = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=17, pipe_handle=23)"
FORKSERVER = (
    "from multiprocessing.forkserver import main; main(9, 11, ['__main__'], **{'sys_path': ['/tmp']})"
)
LOKY_TRACKER = "from joblib.externals.loky.backend.resource_tracker import main; main(12, False)"
LOKY = ("joblib.externals.loky.backend.popen_loky_posix", "--process-name", "LokyProcess-7", "--pipe", "25")


@pytest.mark.parametrize(
    ("traits", "role"),
    [
        (Traits("python", SCRIPT, is_root=True), roles.MAIN),
        (Traits("python", SCRIPT, is_root=True, drives_ray=True), roles.RAY_DRIVER),
        (child(*SCRIPT), roles.POOL_WORKER_FORK),
        (child(*SCRIPT, comm="pt_data_worker"), roles.DATALOADER_WORKER),
        (child("/venv/bin/python", "-B", "-c", SPAWN, "--multiprocessing-fork"), roles.POOL_WORKER_SPAWN),
        (
            child("/venv/bin/python", "-c", "from multiprocessing.resource_tracker import main;main(16)"),
            roles.RESOURCE_TRACKER,
        ),
        (child("/venv/bin/python", "-B", "-c", LOKY_TRACKER), roles.RESOURCE_TRACKER),
        (child("/venv/bin/python", "-B", "-c", FORKSERVER), roles.FORKSERVER),
        (
            child("/venv/bin/python", "-B", "-c", FORKSERVER, parent_role=roles.FORKSERVER),
            roles.POOL_WORKER_FORKSERVER,
        ),
        (child("/venv/bin/python", "-m", *LOKY), roles.LOKY_WORKER),
        (child(f"{SITE}/ray/core/src/ray/raylet/raylet", "--node_id=1", comm="raylet"), roles.RAYLET),
        (child(f"{SITE}/ray/core/src/ray/gcs/gcs_server", comm="gcs_server"), roles.GCS_SERVER),
        (child("/venv/bin/python", "-u", f"{SITE}/ray/autoscaler/_private/monitor.py"), roles.RAY_SERVICE),
        (child("/venv/bin/python", f"{SITE}/ray/dashboard/dashboard.py"), roles.RAY_SERVICE),
        (child("/venv/bin/python", "-u", f"{SITE}/ray/_private/log_monitor.py"), roles.RAY_SERVICE),
        (child("ray::DashboardAgent", comm="ray::DashboardA"), roles.RAY_SERVICE),
        (child("ray::RuntimeEnvAgent", comm="ray::RuntimeEnv"), roles.RAY_SERVICE),
        (child("ray::IDLE", comm="ray::IDLE"), roles.RAY_WORKER),
        (child("ray::evaluate()", comm="ray::evaluate"), roles.RAY_WORKER),
        (
            child("/venv/bin/python", f"{SITE}/ray/_private/workers/default_worker.py", "--node-id=1"),
            roles.RAY_WORKER,
        ),
        (child("sh", "-c", "make", comm="sh"), roles.CHILD),
        (child("/venv/bin/python", "other.py"), roles.CHILD),
        (Traits("python", None), roles.UNKNOWN),
        (Traits("python", ()), roles.UNKNOWN),
    ],
)
def test_role(traits: Traits, role: str) -> None:
    assert role_of(traits) == role


def test_a_shell_that_forks_itself_is_no_pool_worker() -> None:
    shell = ("bash", "run.sh")
    assert role_of(Traits("bash", shell, parent_role=roles.MAIN, parent_argv=shell)) == roles.CHILD
