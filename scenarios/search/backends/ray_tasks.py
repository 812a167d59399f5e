"""Plain tasks on Ray: worker processes that are not children of this one and share the study in a journal."""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

from corelens.errors import UsageError
from corelens.marks import SPOOL_VARIABLE
from corelens.scenarios.search import thread_limits
from corelens.scenarios.search.backends.protocol import Report, Search
from corelens.scenarios.search.interrupt import interruption
from corelens.scenarios.search.settings import SearchSettings
from corelens.scenarios.search.trials import take_stored_trial_alone

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray 2 warns that a later version will stop hiding accelerators from tasks that ask for none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def run(search: Search, report: Report) -> None:
    """Run the trials as tasks of one CPU each, on a running cluster or on one of our own, then stopped."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray: Any = importlib.import_module("ray")
    waiting: list[Any] = []
    try:
        _connect(ray, search.settings)
        # Ray's own handler of SIGTERM aborts the program, and its workers outlive that.
        interruption.listen()
        # A lost worker is reported, not replaced: a trial that ran twice would not be the same work.
        task = ray.remote(num_cpus=1, max_retries=0)(take_stored_trial_alone)
        waiting = [task.remote(search.stored_work) for _ in range(search.settings.trials)]
        while waiting:
            done, waiting = ray.wait(waiting)
            report(ray.get(done[0]))
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        ray.shutdown()


def _connect(ray: Any, settings: SearchSettings) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address is None:
        # "local" by name: Ray's default would join a cluster that somebody else started on this machine.
        ray.init(address="local", num_cpus=settings.workers, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=settings.address, runtime_env={"env_vars": _environment(settings)}, **quiet)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise UsageError(
            f"the Ray cluster at --address {settings.address} cannot be joined",
            "check that it runs, or leave --address out; a cluster with token authentication, which Ray switches"
            " on by itself for one that ray.init() starts, needs RAY_AUTH_MODE=token here",
        ) from error


def _environment(settings: SearchSettings) -> dict[str, str]:
    """Give the variables that workers of a running cluster cannot inherit from this process."""
    spool = os.environ.get(SPOOL_VARIABLE)
    limits = thread_limits.variables() if settings.limit_threads in {"env", "late"} else {}
    return limits if spool is None else {**limits, SPOOL_VARIABLE: spool}
