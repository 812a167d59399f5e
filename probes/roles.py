"""Roles: what a process is for, told from its command line, its name and its parent.

The command lines were looked at on CPython 3.11, joblib 1.6 and Ray 2.60. A role is a plain
word, because readers of old recordings must understand the roles of that time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAIN = "main"
CHILD = "child"
POOL_WORKER_FORK = "pool-worker-fork"
POOL_WORKER_SPAWN = "pool-worker-spawn"
POOL_WORKER_FORKSERVER = "pool-worker-forkserver"
FORKSERVER = "forkserver"
LOKY_WORKER = "loky-worker"
RESOURCE_TRACKER = "resource-tracker"
RAY_DRIVER = "ray-driver"
RAYLET = "raylet"
GCS_SERVER = "gcs-server"
RAY_WORKER = "ray-worker"
RAY_SERVICE = "ray-service"
DATALOADER_WORKER = "dataloader-worker"
UNKNOWN = "unknown"

_PYTHON = re.compile(r"^(?:python|pypy)[\d.]*t?d?$")
# Services that a raylet runs for itself use the same title prefix as workers do.
_RAY_SERVICE_TITLE = re.compile(
    r"^ray::(?:DashboardAgent|RuntimeEnvAgent|IDLE_SpillWorker|IDLE_RestoreWorker)"
)
_RAY_SERVICE_SCRIPT = re.compile(
    r"/ray/(?:dashboard/(?:dashboard|agent)|autoscaler/_private/monitor|_private/(?:log_monitor|runtime_env/agent/main"
    r"|ray_process_reaper)|util/client/server/.*)(?:\.py)?$"
)
_RAY_WORKER_SCRIPT = re.compile(r"/ray/_private/workers/(?:default_worker|setup_worker)\.py$")
_SAME_SCRIPT_FORKS = {MAIN, CHILD, RAY_DRIVER, POOL_WORKER_SPAWN, LOKY_WORKER, RAY_WORKER, POOL_WORKER_FORK}


@dataclass(frozen=True, slots=True)
class Traits:
    """What a role is told from. `argv` is None where it could not be read."""

    comm: str
    argv: tuple[str, ...] | None
    is_root: bool = False
    drives_ray: bool = False
    """The process has a Ray driver's log open, or started a raylet itself."""
    parent_role: str | None = None
    parent_argv: tuple[str, ...] | None = None


def role_of(traits: Traits) -> str:
    """Name the role of a process; `unknown` where the command line could not be read.

    A fork without exec keeps its parent's command line, which is how a forked pool worker is told.
    """
    if traits.drives_ray:
        return RAY_DRIVER
    if traits.is_root:
        return MAIN
    if traits.comm.startswith("pt_data_worker"):
        return DATALOADER_WORKER
    if not traits.argv:
        return UNKNOWN
    return _ray_role(traits.comm, traits.argv) or _python_role(traits) or CHILD


def _ray_role(comm: str, argv: tuple[str, ...]) -> str | None:
    if comm == "raylet" or argv[0].endswith("/raylet"):
        return RAYLET
    if comm == "gcs_server" or argv[0].endswith("/gcs_server"):
        return GCS_SERVER
    if argv[0].startswith("ray::"):
        return RAY_SERVICE if _RAY_SERVICE_TITLE.match(argv[0]) else RAY_WORKER
    if any(_RAY_SERVICE_SCRIPT.search(part) for part in argv[1:5]):
        return RAY_SERVICE
    return RAY_WORKER if any(_RAY_WORKER_SCRIPT.search(part) for part in argv[1:5]) else None


def _python_role(traits: Traits) -> str | None:
    argv = traits.argv or ()
    text = " ".join(argv[1:8])
    if "resource_tracker import main" in text or "semaphore_tracker import main" in text:
        return RESOURCE_TRACKER
    if "popen_loky_posix" in text:
        return LOKY_WORKER
    if "--multiprocessing-fork" in argv:
        return POOL_WORKER_SPAWN
    if "multiprocessing.forkserver import main" in text:
        return POOL_WORKER_FORKSERVER if traits.parent_role == FORKSERVER else FORKSERVER
    return POOL_WORKER_FORK if _is_fork(traits) else None


def _is_fork(traits: Traits) -> bool:
    if not traits.argv or traits.argv != traits.parent_argv:
        return False
    program = traits.argv[0].rpartition("/")[2]
    return traits.parent_role in _SAME_SCRIPT_FORKS and bool(_PYTHON.match(program))
