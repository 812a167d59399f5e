"""Programs whose workers wait: for one another, for a lock, a slot, a device, or their own start."""

from __future__ import annotations

from corelens.scenarios.pathologies.program import Program

WAITING: tuple[Program, ...] = (
    Program(
        "forked-holding-lock",
        "deadlock",
        "fork-with-lock-held",
        "a worker is forked while another thread holds a lock",
        fast=True,
    ),
    Program(
        "forked-after-boosting",
        "deadlock",
        "fork-after-openmp",
        "forked workers wait for OpenMP threads that stayed in the parent",
        libraries=("numpy", "sklearn"),
    ),
    Program(
        "pool-awaits-itself",
        "deadlock",
        "pool-waits-for-itself",
        "tasks wait for tasks queued behind them in the same pool",
        fast=True,
    ),
    Program("lock-order", "deadlock", "lock-order", "two threads take two locks in opposite order"),
    Program(
        "answer-never-comes",
        "deadlock",
        "worker-killed-result-lost",
        "the parent waits for the answer of a worker that was killed",
    ),
    Program(
        "join-before-receive",
        "deadlock",
        "join-before-drain",
        "the parent joins a child that waits for the parent to read",
    ),
    Program(
        "file-lock",
        "lock-contention",
        "file-lock",
        "processes compute while they hold a lock on a file",
        fast=True,
    ),
    Program(
        "one-thread-lock",
        "lock-contention",
        "thread-lock",
        "threads hash, lock-free work, under one lock",
        fast=True,
    ),
    Program(
        "shared-list",
        "lock-contention",
        "manager-process",
        "every append is a call to the manager's process",
    ),
    Program(
        "ray-one-actor", "lock-contention", "single-actor", "all tasks ask one actor", libraries=("ray",)
    ),
    Program(
        "optuna-sqlite",
        "lock-contention",
        "sqlite-write-lock",
        "short Optuna trials of three processes in one SQLite file",
        libraries=("optuna",),
    ),
    Program(
        "ray-one-licence",
        "slot-starvation",
        "custom-resource",
        "tasks wait for a resource of which there is one",
        libraries=("ray",),
        fast=True,
    ),
    Program(
        "ray-idle-actors",
        "slot-starvation",
        "idle-actors-hold-slots",
        "an actor that does next to nothing holds a CPU",
        libraries=("ray",),
    ),
    Program(
        "executor-of-one",
        "slot-starvation",
        "executor-too-small",
        "many tasks queue for a pool of one worker",
        fast=True,
    ),
    Program(
        "one-task-workers",
        "worker-churn",
        "maxtasksperchild",
        "a new worker, with all its imports, for every task",
        libraries=("scipy",),
        fast=True,
    ),
    Program(
        "interpreter-per-item",
        "worker-churn",
        "process-per-task",
        "a new interpreter for every item",
        libraries=("numpy",),
    ),
    Program(
        "loader-respawn",
        "worker-churn",
        "respawn-each-epoch",
        "a DataLoader starts its workers anew for every epoch",
        libraries=("torch",),
    ),
    Program(
        "ray-trial-actors",
        "worker-churn",
        "actor-per-trial",
        "a Ray actor, hence a process, for every short trial",
        libraries=("ray", "torch"),
    ),
    Program(
        "commit-each-row",
        "io-bound",
        "fsync-disk",
        "every row is a transaction that waits for the disk",
        fast=True,
    ),
    Program(
        "small-direct-reads",
        "io-bound",
        "small-reads",
        "threads read a device 4 kB at a time, past the cache",
    ),
    Program(
        "remote-side",
        "io-bound",
        "remote-side",
        "workers fetch one page after the other from a slow service",
        fast=True,
    ),
)
