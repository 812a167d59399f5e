"""What the program did on its cores: start-up, Python, native libraries, coordination; with the kernel's part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from corelens.reports.core_time import OnCore
from corelens.reports.facts import owned, startup
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.facts.workforce import Hands

STARTUP, PYTHON, NATIVE, ACTIVE_WAIT, COORDINATION, COORDINATOR, UNSEEN = (
    "start-up", "python", "native", "active-wait", "coordination", "coordinator", "unseen",
)  # fmt: skip
_LABELS = {
    STARTUP: "start-up and imports",
    PYTHON: "tasks in Python threads (Python code and the native code that it calls)",
    COORDINATION: "coordination: dispatch, pickling, feeding queues, services",
    COORDINATOR: "Python code of the process that hands out the tasks",
    UNSEEN: "threads and processes that came and went between two looks",
}
# The kernel's part of processes that were read stands for the others where those are few.
_MOST_READ = 0.8
# Fewer samples of active threads than this do not divide their time: it stays with the tasks.
_LEAST_SAMPLES = 10
# Work is handed over in these wherever they stand in a stack: what user code does beneath them, it does to be pickled.
_HANDS_OVER = (
    "/multiprocessing/reduction.py", "/multiprocessing/connection.py", "/multiprocessing/queues.py",
    "/pickle.py", "/cloudpickle/", "/ray/_private/serialization.py", "/ray/cloudpickle/",
)  # fmt: skip
# These work around the tasks only where they are innermost: further out they call the task.
_WORKS_AROUND = (
    "/multiprocessing/", "/concurrent/futures/", "/joblib/", "/loky/", "/queue.py", "/selectors.py", "/ray/_private/",
    "/ray/remote_function.py", "/ray/actor.py", "/distributed/",
)  # fmt: skip
# Innermost, and on a core, these have called a task that is native code.
_CALLS_TASKS = frozenset(
    ("worker", "mapstar", "starmapstar", "run", "_process_chunk", "_worker", "__call__", "<listcomp>")
)
_OPENMP = (owned.OPENMP_GNU, owned.OPENMP_LLVM, owned.OPENMP_INTEL)


@dataclass(slots=True)
class _Part:
    core_s: float = 0.0
    read_core_s: float = 0.0
    """Of processes whose division into user and system was read."""
    system_core_s: float = 0.0
    threads: int = 0

    def add(self, core_s: float, system_share: float | None) -> None:
        """Take some of a thread's time."""
        if core_s <= 0:
            return
        self.core_s += core_s
        self.threads += 1
        if system_share is not None:
            self.read_core_s += core_s
            self.system_core_s += core_s * system_share

    def line(self, kind: str, label: str, capacity_core_s: float) -> OnCore:
        """Sum up; the kernel's part stands for all where most of it was read."""
        known = self.read_core_s > _MOST_READ * self.core_s
        return OnCore(
            kind=kind,
            label=label,
            core_s=self.core_s,
            capacity_share=self.core_s / capacity_core_s,
            system_core_s=self.system_core_s * self.core_s / self.read_core_s if known else None,
            threads=self.threads,
        )


def on_core(facts: Facts, hands: Hands, unseen_core_s: float) -> tuple[OnCore, ...]:
    """Divide what the threads used; `unseen_core_s` is what the clocks show beyond them."""
    parts: dict[tuple[str, str], _Part] = {}
    ready, shares = _ready_s(facts, hands), _coordination_shares(facts, hands)
    for process in facts.processes:
        coordinating = shares.get(_group(process, hands), 0.0)
        system_share = _system_share(process)
        for thread in process.threads:
            startup_s = startup.run_until((thread,), ready(process), facts.report.timeline.step_s)
            for kind, label, core_s in _divided(
                thread, _kind(process, thread, hands), startup_s, coordinating
            ):
                parts.setdefault((kind, label), _Part()).add(core_s, system_share)
    if unseen_core_s > 0:
        parts[UNSEEN, _LABELS[UNSEEN]] = _Part(unseen_core_s)
    lines = (
        part.line(kind, label, facts.capacity_core_s)
        for (kind, label), part in parts.items()
        if part.core_s > 0
    )
    return tuple(sorted(lines, key=lambda line: -line.core_s))


def _system_share(process: ProcessFacts) -> float | None:
    if process.user_s is None or process.system_s is None or process.user_s + process.system_s <= 0:
        return None
    return process.system_s / (process.user_s + process.system_s)


def _divided(
    thread: ThreadFacts, of: tuple[str, str], startup_s: float, coordinating: float
) -> Iterator[tuple[str, str, float]]:
    before = min(thread.run_s, startup_s)
    yield STARTUP, _LABELS[STARTUP], before
    kind, label = of
    rest = thread.run_s - before
    if kind in (PYTHON, COORDINATOR):
        yield COORDINATION, _LABELS[COORDINATION], rest * coordinating
        rest -= rest * coordinating
    yield kind, label, rest


def _ready_s(facts: Facts, hands: Hands) -> Callable[[ProcessFacts], float]:
    """When the start-up of a process was over: of a worker its own, of all others that of the program."""
    phases = facts.report.phases
    program_s = 0.0 if phases is None else phases.startup_until_s
    if phases is not None and phases.waves:
        program_s = phases.waves[0].begin_s
    of = {
        process: worker.ready_s for process, worker in zip(hands.processes, hands.said.workers, strict=False)
    }
    return lambda process: of.get(process, program_s)


def _kind(process: ProcessFacts, thread: ThreadFacts, hands: Hands) -> tuple[str, str]:
    owner = thread.owner
    if process in hands.helpers or owner.kind in (owned.PYTHON_HELPER, owned.RAY, owned.GRPC):
        return COORDINATION, _LABELS[COORDINATION]
    if owner.kind in _OPENMP and process.variables.get("OMP_WAIT_POLICY", "").strip().lower() == "active":
        return ACTIVE_WAIT, f"{owner.label}: work, or waiting actively (OMP_WAIT_POLICY=active)"
    if owner.library is not None and owner.kind not in (owned.MAIN, owned.PYTHON):
        return NATIVE, owner.label
    if process is hands.home and hands.threads and thread not in hands.threads:
        return COORDINATOR, _LABELS[COORDINATOR]
    return PYTHON, _LABELS[PYTHON]


def _group(process: ProcessFacts, hands: Hands) -> str:
    """Alike processes do alike things; the one that hands out the tasks is like no other."""
    return "" if process is hands.home else process.role


def _coordination_shares(facts: Facts, hands: Hands) -> dict[str, float]:
    """Part of the samples of active threads that stood in pickling, queues or a pool's own code, by group.

    A group of which too little was seen is absent, and its time stays with the tasks.
    """
    groups = {process.life: _group(process, hands) for process in facts.processes}
    seen: dict[str, list[int]] = {}
    for sample in facts.samples if hands.threads else ():
        if sample.active and sample.life in groups and not startup.is_starting(sample):
            counts = seen.setdefault(groups[sample.life], [0, 0])
            counts[0] += sample.samples
            counts[1] += sample.samples if coordinates(sample) else 0
    return {group: some / every for group, (every, some) in seen.items() if every >= _LEAST_SAMPLES}


def coordinates(sample: StackSample) -> bool:
    """Whether a stack stands in what hands work around instead of in the work."""
    if any(part in frame.file for frame in sample.frames for part in _HANDS_OVER):
        return True
    innermost = sample.frames[-1] if sample.frames else None
    if innermost is None or innermost.function.rpartition(".")[2] in _CALLS_TASKS:
        return False
    return any(part in innermost.file for part in _WORKS_AROUND)
