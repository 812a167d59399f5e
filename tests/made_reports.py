"""Reports made of plain values, for tests of what is built on reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from corelens.reports.report import (
    Capacity,
    Cpu,
    Host,
    Memory,
    Recorder,
    Report,
    Source,
    Spread,
    ThreadCount,
    Timeline,
    TreeNode,
    Trial,
    Trials,
)

WORK = {
    "scale": "small",
    "method": "pure",
    "evaluation": "batched",
    "trials": "4",
    "generations": "10",
    "seeds": "1",
    "population": "200",
    "stagnation_limit": "None",
    "seed": "0",
    "limit_threads": "none",
}
HOST = Host("lab", "6.18", "EPYC", 2, 1, 8_000_000_000, "3.11.7")
CAPACITY = Capacity(2.0, "affinity", 2, 2, None, None, None)
VALUES = (0.25, 0.5, 0.75, 1.0)


def trials(
    wall_s: float,
    places: Sequence[tuple[int, int]],
    startup_s: float = 1.0,
    values: Sequence[float] = VALUES,
) -> Trials:
    """Make trials that share the time after start-up, dealt in turn to (pid, tid) places."""
    each = (wall_s - startup_s) * len(places) / len(values)
    made = tuple(
        Trial(
            number,
            *places[number % len(places)],
            begin_s=startup_s + each * (number // len(places)),
            end_s=startup_s + each * (number // len(places) + 1),
            value=value,
            state="complete",
            parameters={},
        )
        for number, value in enumerate(values)
    )
    span = wall_s - startup_s
    return Trials(
        made,
        len(made),
        0,
        0,
        span,
        len(made) * 3600 / span,
        Spread(len(made), each, each, each, each),
        float(len(places)),
    )


def timeline(wall_s: float, busy: float, threads: int) -> Timeline:
    """Make a level timeline of one bin per second, with an idle first one."""
    bins = max(int(wall_s), 2)
    return Timeline(
        step_s=1.0,
        busy_cores=(0.1, *[busy] * (bins - 1)),
        capacity_cores=(2.0,) * bins,
        waiting_threads=(0.0,) * bins,
        threads=(1, *[threads] * (bins - 1)),
        processes=(1,) * bins,
        rss_bytes=(200_000_000,) * bins,
        cores=(0, 1),
        core_busy=((busy / 2,) * bins,) * 2,
    )


def report(
    name: str = "sequential",
    wall_s: float = 41.0,
    *,
    workers: int | None = 1,
    busy: float = 1.0,
    places: Sequence[tuple[int, int]] = ((100, 100),),
    threads: int = 2,
    processes: int = 1,
    startup_s: float = 1.0,
    values: Sequence[float] = VALUES,
    labels: dict[str, str] | None = None,
    path: str | None = None,
) -> Report:
    """Make the report of one search; `labels` replace or add to those of the same small search."""
    said = {**WORK, "backend": name, "workers": str(workers), **(labels or {})}
    return Report(
        source=Source(
            path or f"study/{name}.corelens", "0.1.0", 1, 0, "started",
            ("python", "-m", "corelens.scenarios.search", "--backend", name), said, True, True,
            "target-ended", 0, None, (),
        ),
        host=HOST,
        wall_s=wall_s,
        capacity=CAPACITY,
        cpu=Cpu(busy * wall_s, busy * wall_s, 0.9, busy, 2.0, busy / 2, 0.4, 0.01, 0.02, 0.0),
        threads=ThreadCount(threads, 3.0, float(threads), threads),
        processes_peak=processes,
        processes_total=processes,
        roles=(),
        processes=(),
        tree=(TreeNode(100, "python", "main", threads, ()),),
        tree_at_s=3.0,
        timeline=timeline(wall_s, busy, threads),
        pools=(),
        views=(),
        memory=Memory(1, "workers", Spread(1, 2.5e8, 2.5e8, 2.5e8, 2.5e8), None, 250_000_000),
        trials=trials(wall_s, places, startup_s, values),
        packages={"torch": "2.13.0", "optuna": "5.0.0"},
        recorder=Recorder(0.4, 0.008, 0.01, 10.0, 410, 0, (), 30_000_000),
        unseen=(),
    )  # fmt: skip


def threaded(name: str = "optuna-threads", wall_s: float = 61.0, **more: object) -> Report:
    """Make the report of two threads in one process that are slower than one."""
    made = report(name, wall_s, workers=2, busy=1.4, places=((100, 101), (100, 102)), threads=5)
    return replace(made, **more)  # type: ignore[arg-type]


def spread_out(name: str = "process-pool", wall_s: float = 23.0, **more: object) -> Report:
    """Make the report of two worker processes that are faster than one."""
    made = report(
        name,
        wall_s,
        workers=2,
        busy=1.8,
        places=((201, 201), (202, 202)),
        threads=6,
        processes=4,
        startup_s=2.0,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def unlabelled(path: str, argv: Sequence[str], wall_s: float = 10.0) -> Report:
    """Make the report of a program that marks nothing and says nothing of itself."""
    made = report("x", wall_s, path=path)
    return replace(made, source=replace(made.source, labels={}, argv=tuple(argv)), trials=None)
