"""What the program did on its cores: start-up, Python, native libraries, coordination; with the kernel's part."""

from __future__ import annotations

from collections.abc import Iterator
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
# Fewer samples of active threads than this do not divide their time: it stays with the tasks.
_LEAST_SAMPLES = 5
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
    system_core_s: float | None = 0.0
    threads: int = 0

    def add(self, core_s: float, system_share: float | None) -> None:
        """Take some of a thread's time."""
        if core_s <= 0:
            return
        self.core_s += core_s
        self.threads += 1
        if self.system_core_s is not None:
            self.system_core_s = None if system_share is None else self.system_core_s + core_s * system_share


def on_core(facts: Facts, hands: Hands, unseen_core_s: float) -> tuple[OnCore, ...]:
    """Divide what the threads used; `unseen_core_s` is what the clocks show beyond them."""
    parts: dict[tuple[str, str], _Part] = {}
    for process in facts.processes:
        system_share = _system_share(process)
        for thread in process.threads:
            for kind, label, core_s in _divided(facts, hands, process, thread):
                parts.setdefault((kind, label), _Part()).add(core_s, system_share)
    if unseen_core_s > 0:
        parts[UNSEEN, _LABELS[UNSEEN]] = _Part(unseen_core_s, None, 0)
    capacity = facts.capacity_core_s
    lines = (
        OnCore(kind, label, part.core_s, part.core_s / capacity, part.system_core_s, part.threads)
        for (kind, label), part in parts.items()
        if part.core_s > 0
    )
    return tuple(sorted(lines, key=lambda line: -line.core_s))


def _system_share(process: ProcessFacts) -> float | None:
    if process.user_s is None or process.system_s is None or process.user_s + process.system_s <= 0:
        return None
    return process.system_s / (process.user_s + process.system_s)


def _divided(
    facts: Facts, hands: Hands, process: ProcessFacts, thread: ThreadFacts
) -> Iterator[tuple[str, str, float]]:
    ready_s = _ready_s(facts, hands, process)
    before = min(thread.run_s, startup.run_until((thread,), ready_s, facts.report.timeline.step_s))
    yield STARTUP, _LABELS[STARTUP], before
    rest = thread.run_s - before
    kind, label = _kind(process, thread, hands)
    if kind in (PYTHON, COORDINATOR):
        share = _coordination_share(facts, process) if hands.threads else 0.0
        yield COORDINATION, _LABELS[COORDINATION], rest * share
        rest -= rest * share
    yield kind, label, rest


def _ready_s(facts: Facts, hands: Hands, process: ProcessFacts) -> float:
    for each, worker in zip(hands.processes, hands.said.workers, strict=False):
        if each is process:
            return worker.ready_s
    waves = () if facts.report.phases is None else facts.report.phases.waves
    if waves:
        return waves[0].begin_s
    return 0.0 if facts.report.phases is None else facts.report.phases.startup_until_s


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


def _coordination_share(facts: Facts, process: ProcessFacts) -> float:
    """Part of the samples of its active Python threads that stood in pickling, queues or a pool's own code."""
    active = [
        sample for sample in facts.samples_of(process) if sample.active and not startup.is_starting(sample)
    ]
    seen = sum(sample.samples for sample in active)
    if seen < _LEAST_SAMPLES:
        return 0.0
    return sum(sample.samples for sample in active if coordinates(sample)) / seen


def coordinates(sample: StackSample) -> bool:
    """Whether a stack stands in what hands work around instead of in the work."""
    if any(part in frame.file for frame in sample.frames for part in _HANDS_OVER):
        return True
    innermost = sample.frames[-1] if sample.frames else None
    if innermost is None or innermost.function.rpartition(".")[2] in _CALLS_TASKS:
        return False
    return any(part in innermost.file for part in _WORKS_AROUND)
