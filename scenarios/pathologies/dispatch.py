"""Programs whose work does not reach the workers as it should."""

from __future__ import annotations

from corelens.scenarios.pathologies.program import Program

DISPATCH: tuple[Program, ...] = (
    Program(
        "apply-in-loop",
        "serial-dispatch",
        "result-in-loop",
        "Pool.apply in a loop: one piece at a time",
        fast=True,
    ),
    Program(
        "ray-get-in-loop",
        "serial-dispatch",
        "result-in-loop",
        "ray.get after each .remote()",
        libraries=("ray",),
    ),
    Program(
        "async-cpu-handler",
        "serial-dispatch",
        "cpu-bound-handler",
        "an asyncio service computes on its event loop",
        fast=True,
    ),
    Program(
        "loader-in-main",
        "slow-producer",
        "loader-without-workers",
        "a DataLoader with num_workers=0 prepares batches between steps",
        libraries=("torch",),
    ),
    Program("chunked-skew", "load-imbalance", "chunking", "the costly items lie in one chunk", fast=True),
    Program("giant-last", "load-imbalance", "straggler", "the largest task begins last", fast=True),
    Program(
        "static-halves", "load-imbalance", "static-partition", "rows dealt out in halves of unequal work"
    ),
    Program(
        "imap-singly",
        "fine-grained-tasks",
        "pool-chunksize",
        "Pool.imap moves one tiny item at a time",
        fast=True,
    ),
    Program(
        "submit-singly", "fine-grained-tasks", "executor-submit", "one submit for each tiny piece of work"
    ),
    Program(
        "graph-scheduler",
        "fine-grained-tasks",
        "scheduler-per-task",
        "a scheduler sends the nodes of a graph one by one",
    ),
    Program(
        "ray-small-calls",
        "fine-grained-tasks",
        "ray-tiny-tasks",
        "actor calls of microseconds",
        libraries=("ray",),
    ),
    Program(
        "large-arguments",
        "data-transfer",
        "large-arguments",
        "arrays go through pipes for a moment's work",
        libraries=("numpy",),
        fast=True,
    ),
    Program(
        "large-results",
        "data-transfer",
        "large-results",
        "workers send back everything of which a mean is wanted",
        libraries=("joblib",),
    ),
    Program(
        "ray-copied-arguments",
        "data-transfer",
        "argument-by-value",
        "the same table is serialised for every Ray task",
        libraries=("numpy", "ray"),
    ),
    Program(
        "slow-sampler",
        "slow-producer",
        "slow-sampler",
        "a DataLoader's main process draws batches too slowly",
        libraries=("torch",),
    ),
    Program(
        "one-reader",
        "slow-producer",
        "slow-input-generator",
        "the parent decodes what the workers wait for",
        fast=True,
    ),
    Program(
        "tpe-in-parent",
        "slow-producer",
        "sampler-in-parent",
        "a TPE sampler in the parent costs more than a trial in a worker",
        libraries=("optuna",),
    ),
)
