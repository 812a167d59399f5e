"""Which process py-spy looks at next, how, and how often: decided from what was measured, without a clock.

Starting py-spy costs about 9 ms, mostly for reading the interpreter's symbols; one more sample of a process
with 4 threads costs 0.4 ms, with 400 threads 29 ms, and of the holder of the GIL alone 0.13 ms whatever their
number (`python benchmarks/stacks.py`). So a dump now and then tells names and idle threads, and runs of ten
seconds in between take samples at the rate that the allowance affords.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corelens.probes.pyspy import How, Job

SECOND_NS = 1_000_000_000
SLICE_S = 10
# Names and idle threads go out of date.
DUMP_PERIOD_NS = 30 * SECOND_NS
# Threads came or went: their names are wanted soon, but a program may start threads all the time, so that each
# time the next such dump waits twice as long.
DUMP_AGAIN_NS = 2 * SECOND_NS
# Processes come round more seldom than dumps are due where there are many: most looks shall take samples.
SLICES_PER_DUMP = 2
# Fewer samples than ten in a run are had more cheaply by a dump, which tells more.
LOWEST_RATE_HZ = 1
# An interpreter that has used so much CPU, or is so old, has begun its program; before, py-spy finds nothing in it.
STARTED_NS = 30_000_000
GROWN_NS = SECOND_NS
# First guesses, put right by what is measured: start, one sample, and what each thread adds to it.
_START_NS = 10_000_000
_SAMPLE_NS: Mapping[How, tuple[int, int]] = {
    "dump": (300_000, 100_000),
    "active": (300_000, 100_000),
    "gil": (120_000, 100),
}
_LOWEST_RATIO = 0.1
_FIRST_RETRY_NS = SECOND_NS
_LONGEST_RETRY_NS = 60 * SECOND_NS


@dataclass(slots=True)
class Costs:
    """What py-spy costs on this machine and program, as far as it was seen."""

    start_ns: int = _START_NS
    ratios: dict[How, float] = field(default_factory=dict[How, float])
    """What a sample cost when it was last measured, over the first guess."""

    def sample_ns(self, how: How, threads: int) -> float:
        """CPU of one sample of a process with so many threads."""
        return self.ratios.get(how, 1.0) * _guess_ns(how, threads)

    def learn(self, job: Job, threads: int, seconds: float, cpu_ns: int) -> None:
        """Take note of a run that lasted so long."""
        samples = 1 if job.rate_hz is None else max(1.0, job.rate_hz * seconds)
        self.start_ns = max(min(self.start_ns, cpu_ns), _START_NS // 4)
        measured_ns = (cpu_ns - self.start_ns) / samples
        self.ratios[job.how] = max(_LOWEST_RATIO, measured_ns / _guess_ns(job.how, threads))


def _guess_ns(how: How, threads: int) -> int:
    once_ns, each_ns = _SAMPLE_NS[how]
    return once_ns + each_ns * threads


@dataclass(slots=True)
class Known:
    """What is known of one Python process. Times count from the beginning of the recording."""

    pid: int
    start_ticks: int
    role: str
    first_ns: int
    seen_cpu_ns: int = 0
    """Its CPU clock when it was last looked at."""
    dumped_ns: int | None = None
    dumped_threads: int = 0
    dump_again_ns: int = DUMP_AGAIN_NS
    slices: int = 0
    """Runs of samples since the last dump."""
    next_slice: How = "active"
    not_before_ns: int = 0
    failures: int = 0
    """In a row."""
    hopeless: bool = False

    def succeeded(self, job: Job, from_ns: int, threads: int) -> None:
        """A run ended well that began then, with so many threads."""
        self.failures = 0
        if job.how != "dump":
            self.slices += 1
            return
        if self.dumped_ns is not None and threads != self.dumped_threads:
            self.dump_again_ns = min(2 * self.dump_again_ns, DUMP_PERIOD_NS)
        self.dumped_ns, self.dumped_threads, self.slices = from_ns, threads, 0

    def wants_names(self, threads: int, t_ns: int) -> bool:
        """Whether threads came or went since the last dump, and that is long enough ago."""
        if self.dumped_ns is None or threads == self.dumped_threads:
            return False
        return t_ns - self.dumped_ns >= self.dump_again_ns

    def failed(self, t_ns: int) -> None:
        """A run ended badly: try again later, and each time later still."""
        self.failures += 1
        pause_ns = _FIRST_RETRY_NS << min(self.failures - 1, 10)
        self.not_before_ns = t_ns + min(pause_ns, _LONGEST_RETRY_NS)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A process that may be looked at now."""

    known: Known
    cpu_ns: int

    @property
    def unseen_cpu_ns(self) -> int:
        """What it used since it was last looked at."""
        return self.cpu_ns - self.known.seen_cpu_ns


@dataclass(frozen=True, slots=True)
class Means:
    """What may be spent: now, and per time; and the highest rate."""

    balance_ns: float
    cores: float
    rate_hz: float
    blocking: bool = False
    costs: Costs = field(default_factory=Costs)


def choose(candidates: list[Candidate], roles_seen: set[str], t_ns: int) -> Candidate | None:
    """The process that used the most CPU unseen, one of a role that was never looked at before all others.

    Among many alike this goes round, and it gives each process its share of the looks.
    """
    ready = [each for each in candidates if _is_ready(each, t_ns)]
    return max(ready, key=lambda each: (each.known.role not in roles_seen, each.unseen_cpu_ns), default=None)


def next_job(known: Known, threads: int, means: Means, t_ns: int, *, role_is_known: bool) -> Job:
    """A dump when one is due or nothing else can be afforded, else a run of samples, of both kinds in turn.

    The first process of a role is dumped first; those after it are much the same.
    """
    dump = Job(known.pid, "dump", blocking=means.blocking)
    if means.rate_hz < LOWEST_RATE_HZ or not role_is_known or _dump_is_due(known, threads, t_ns):
        return dump
    how = known.next_slice
    rate_hz = affordable_hz(threads, how, means)
    known.next_slice = "gil" if how == "active" else "active"
    if rate_hz < LOWEST_RATE_HZ:
        return dump
    return Job(known.pid, how, rate_hz, SLICE_S, means.blocking)


def affordable_hz(threads: int, how: How, means: Means) -> int:
    """Samples per second whose cost in one run is what is there now and what comes in meanwhile."""
    spare_ns = means.balance_ns + means.cores * SLICE_S * SECOND_NS - means.costs.start_ns
    each_ns = means.costs.sample_ns(how, threads)
    return int(max(0.0, min(means.rate_hz, spare_ns / (SLICE_S * each_ns))))


def _is_ready(each: Candidate, t_ns: int) -> bool:
    begun = each.cpu_ns >= STARTED_NS or t_ns - each.known.first_ns >= GROWN_NS
    return begun and not each.known.hopeless and t_ns >= each.known.not_before_ns


def _dump_is_due(known: Known, threads: int, t_ns: int) -> bool:
    if known.wants_names(threads, t_ns):
        return True
    old = known.dumped_ns is None or t_ns - known.dumped_ns >= DUMP_PERIOD_NS
    return old and known.slices >= SLICES_PER_DUMP
