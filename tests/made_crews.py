"""Facts of a process with workers, made of plain values: who ran when, and what each waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from corelens.reports.facts import owned
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.memory_strain import MemoryStrain
from corelens.reports.facts.owned import Owner
from corelens.reports.facts.processes import Life
from corelens.reports.facts.stack_samples import Frame, StackSample
from corelens.reports.report import Timeline
from tests.made_reports import report

STEP_S = 0.5
BOSS = 100
STANDARD = "/opt/python/lib/python3.11"
PROGRAM = "/home/lab/program.py"


def thread(
    pid: int = BOSS,
    tid: int | None = None,
    *,
    kind: str = owned.MAIN,
    role: str = "main",
    busy: Mapping[int, float] | None = None,
    life_s: tuple[float, float | None] = (0.0, None),
    doing: Mapping[str, float] | None = None,
    calls: Mapping[tuple[str, str | None], float] | None = None,
    voluntary: int | None = 100,
) -> ThreadFacts:
    """A thread that ran for part of each bin in `busy`."""
    run = {index: part * STEP_S for index, part in (busy or {}).items()}
    return ThreadFacts(
        pid=pid,
        tid=pid if tid is None else tid,
        role=role,
        name=None,
        owner=Owner(kind, kind, None, None),
        master_tid=None,
        born_s=life_s[0],
        died_s=life_s[1],
        run_s=sum(run.values()),
        queue_s=0.0,
        voluntary=voluntary,
        involuntary=0,
        doing=doing or {},
        calls=calls or {},
        run_s_by_bin=run,
        queue_s_by_bin={},
    )


def process(
    *threads: ThreadFacts, parent: int | None = None, system_share: float = 0.0, faults: int = 0
) -> ProcessFacts:
    """The process of some threads, the main one first."""
    main = threads[0]
    run_s = sum(one.run_s for one in threads)
    return ProcessFacts(
        life=_life(main, parent),
        pid=main.pid,
        role=main.role,
        parent_pid=parent,
        born_s=main.born_s,
        died_s=main.died_s,
        exit_code=0,
        signal=None,
        threads=threads,
        run_s=run_s,
        user_s=run_s * (1 - system_share),
        system_s=run_s * system_share,
        major_faults=0,
        minor_faults=faults,
        read_bytes=0,
        write_bytes=0,
        affinity=None,
        variables={},
    )


def worker(
    pid: int,
    busy: Mapping[int, float],
    *,
    calls: Mapping[tuple[str, str | None], float] | None = None,
    doing: Mapping[str, float] | None = None,
    role: str = "pool-worker-fork",
    life_s: tuple[float, float | None] = (0.0, None),
) -> ProcessFacts:
    """A worker process that was busy in some bins."""
    return process(thread(pid, busy=busy, role=role, calls=calls, doing=doing, life_s=life_s), parent=BOSS)


def facts(*processes: ProcessFacts, wall_s: float = 10.0, samples: Sequence[StackSample] = ()) -> Facts:
    """Facts of a recording on two cores; the first process is the recorded program."""
    bins = round(wall_s / STEP_S)
    busy = [
        sum(one.run_s_by_bin.get(index, 0.0) for each in processes for one in each.threads) / STEP_S
        for index in range(bins)
    ]
    made = report("made", wall_s=wall_s)
    used_s = sum(each.run_s for each in processes)
    return Facts(
        report=replace(
            made,
            wall_s=wall_s,
            timeline=_timeline(busy),
            capacity=replace(made.capacity, cores=2.0),
            cpu=replace(made.cpu, used_core_s=used_s, busy_cores_mean=used_s / wall_s),
        ),
        processes=processes,
        root=processes[0],
        samples=tuple(samples),
        strain=MemoryStrain(None, None, None, None, None, None, None, None),
    )


def sample(
    of: ProcessFacts, *frames: tuple[str, str], active: bool = True, count: int = 1, tid: int | None = None
) -> StackSample:
    """A stack of (function, file), outermost first."""
    stack = tuple(Frame(function, file, 7) for function, file in frames)
    return StackSample(0, 1, of.life, of.pid if tid is None else tid, stack, count, active, None, "active")


def _life(main: ThreadFacts, parent: int | None) -> Life:
    return Life(
        pid=main.pid,
        start_ticks=1,
        ppid=parent,
        born_ns=int(main.born_s * 1e9),
        comm="python",
        argv=None,
        role=main.role,
        affinity_cores=None,
        variables=None,
        first_cpu_ns=0,
        began_before=False,
    )


def _timeline(busy: Sequence[float]) -> Timeline:
    none = (None,) * len(busy)
    return Timeline(
        step_s=STEP_S,
        busy_cores=tuple(busy),
        capacity_cores=(2.0,) * len(busy),
        waiting_threads=none,
        threads=none,
        processes=none,
        rss_bytes=none,
        cores=(),
        core_busy=(),
    )
