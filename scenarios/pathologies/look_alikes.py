"""Programs that look suspicious and are healthy, and one that is over too soon to tell."""

from __future__ import annotations

from corelens.scenarios.pathologies.program import Program

LOOK_ALIKES: tuple[Program, ...] = (
    Program(
        "over-at-once",
        "insufficient-evidence",
        "too-short",
        "a program that ends before much can be seen",
        fast=True,
    ),
    Program(
        "forest",
        "healthy",
        "threads-without-lock",
        "a random forest on two Python threads",
        libraries=("numpy", "sklearn"),
        fast=True,
    ),
    Program(
        "packing-threads",
        "healthy",
        "threads-without-lock",
        "more compressing threads than cores, none of which needs the lock",
        fast=True,
    ),
    Program("training", "healthy", "native-threads", "one process trains on all cores", libraries=("torch",)),
    Program("light-service", "healthy", "light-load", "a server that is idle because nobody asks", fast=True),
    Program(
        "blas-then-fork",
        "healthy",
        "fork-after-blas",
        "workers forked after a matrix product, which OpenBLAS allows for",
        libraries=("numpy", "threadpoolctl"),
    ),
    Program(
        "full-queue",
        "healthy",
        "back-pressure",
        "a producer blocked by a full queue, with busy consumers",
        fast=True,
    ),
    Program(
        "large-pool-few-tasks", "healthy", "idle-workers", "a pool of eight with two tasks, and two cores"
    ),
    Program("ray-even-map", "healthy", "warm-pool", "even Ray tasks beside idle workers", libraries=("ray",)),
    Program(
        "grid-search",
        "healthy",
        "even-tasks",
        "a grid search on two loky workers",
        libraries=("numpy", "sklearn"),
    ),
    Program(
        "waiting-threads", "healthy", "overlapping-waits", "forty threads wait for a slow service at once"
    ),
    Program(
        "quota-covers", "healthy", "quota-covers", "a quota larger than the pool", control="cpu", fast=True
    ),
)
