"""The stacks probe: Python threads' names and stacks, through py-spy, without stopping anything, under a budget.

py-spy runs beside the recorder's loop: it is started at one look and its result is taken at a later one. One
run at a time, and the next only when the CPU of the last, and our own for reading it, has been paid off.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import pidfd, procfs, pyspy
from corelens.probes.allowance import Allowance
from corelens.probes.gaps import Gaps
from corelens.probes.interpreters import Interpreters
from corelens.probes.own_cpu import OwnCpu
from corelens.probes.probe import Moment, Process
from corelens.probes.pyspy import Ended, Job, Run, Start
from corelens.probes.stacks_lines import Look
from corelens.probes.stacks_plan import Candidate, Costs, Known, Means, choose, next_job
from corelens.probes.stacks_results import StackResults, last_words, parsed_output
from corelens.vocabulary import Line

PERIOD_NS = 250_000_000
KEYFRAME_PERIOD_NS = 30_000_000_000
DEFAULT_RATE_HZ = 10.0
LOWEST_RATE_HZ = 0.01
HIGHEST_RATE_HZ = 100.0
# The default budget of the recorder is 2 % of a core: stacks then get 0.3 %.
SHARE_OF_BUDGET = 0.15
MOST_CORES = 0.02
# Saved for the beginning, where most is unknown: a dump, and the start of the samples after it.
SAVINGS_NS = 15_000_000
# A dump takes 0.1 s for 400 threads on an idle machine; on a busy one it waits for a core.
LONGEST_DUMP_NS = 15_000_000_000
# After the last look the recording waits so long for samples that are under way.
_LAST_WAIT_S = 0.5
# Samples may be torn now and then; so many failures in a row are worth telling.
_FAILURES_WORTH_TELLING = 4
# A run may begin with what was saved, and start-up costs what it costs.
_HEAD_START_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class StacksOptions:
    """How stacks are taken; `rate_hz` is the highest rate, and `cores` what they may cost on average."""

    rate_hz: float = DEFAULT_RATE_HZ
    blocking: bool = False
    cores: float = SHARE_OF_BUDGET * MOST_CORES


def cores_for(budget_cores: float | None) -> float:
    """What stacks may cost under a budget for the whole recorder; without one, the most they ever may."""
    return MOST_CORES if budget_cores is None else min(MOST_CORES, SHARE_OF_BUDGET * budget_cores)


def _is_closed(pid: int) -> bool:
    """Whether we are not permitted to read the memory of a process."""
    try:
        os.close(os.open(f"{procfs.PROC}/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return procfs.reason_of(error) == "forbidden"
    return False


@dataclass(slots=True)
class _UnderWay:
    """A run that has not ended."""

    run: Run
    job: Job
    from_ns: int
    threads: int
    """How many there were at the start."""
    now: int
    """How many there were at the last look."""
    tids: set[int]
    """All that were seen since."""
    links: int | None = None
    billed_ns: int = 0
    stopped: bool = False

    @property
    def overdue_ns(self) -> int:
        """When it should have ended long ago."""
        return self.from_ns + LONGEST_DUMP_NS + (self.job.seconds or 0) * 1_000_000_000


class StacksProbe:
    """Looks at one Python process after another; `close` ends a py-spy that is under way.

    `start` starts py-spy with given arguments, None where there is none. What it costs is added to `own`.
    """

    name = "stacks"

    def __init__(
        self,
        options: StacksOptions,
        own: OwnCpu,
        start: Start | None,
        *,
        proc: Path = procfs.PROC,
        period_ns: int = PERIOD_NS,
        cpu_of: Callable[[int], int] = pidfd.cpu_ns,
        is_closed: Callable[[int], bool] = _is_closed,
    ) -> None:
        self.period_ns = period_ns
        self._first_period_ns = period_ns
        self._options = options
        self._own = own
        self._start = start
        self._cpu_of = cpu_of
        self._is_closed = is_closed
        self._allowance = Allowance(options.cores, SAVINGS_NS)
        self._interpreters = Interpreters(proc)
        self._gaps = Gaps(self.name)
        self._results = StackResults(self._gaps, proc)
        self._known: dict[int, Known] = {}
        self._costs = Costs()
        self._moved: set[int] = set()
        self._roles_seen: set[str] = set()
        self._under_way: _UnderWay | None = None
        self._next_start_ns = 0
        self._next_keyframe_ns = KEYFRAME_PERIOD_NS

    def look(self, moment: Moment) -> Iterator[Line]:
        """Take the result of the run under way if it has ended, and begin another if that can be afforded."""
        t_ns = moment.t_ns
        if self._start is None:
            yield from self._gaps.say(
                t_ns, None, "Python stacks and names of threads", "unsupported", _MISSING
            )
            return
        # The governor lengthens the period when the recorder costs too much: stacks then cost less too.
        first_ns = max(self._first_period_ns, 1)
        self._allowance.accrue(t_ns, first_ns / max(self.period_ns, first_ns))
        before_ns = self._own.process_ns()
        yield from self._work(moment)
        self._allowance.spend(self._own.process_ns() - before_ns)
        self._own.deferred_ns = self._allowance.debt_ns

    def _work(self, moment: Moment) -> Iterator[Line]:
        t_ns = moment.t_ns
        self._follow(moment)
        if self._under_way is not None:
            yield from self._attend(self._under_way, t_ns)
        if self._under_way is None and self._allowance.balance_ns > 0 and t_ns >= self._next_start_ns:
            yield from self._begin(moment)
        if t_ns >= self._next_keyframe_ns:
            self._next_keyframe_ns = t_ns + KEYFRAME_PERIOD_NS
            yield from self._results.keyframe(t_ns)

    def conclude(self, t_ns: int) -> Iterator[Line]:
        """Take what a run under way has, and wait for it a moment: for a short program it may be all there is."""
        under_way, self._own.deferred_ns = self._under_way, 0
        if under_way is None:
            return
        if under_way.job.how != "dump":
            under_way.run.interrupt()
        under_way.run.poll(_LAST_WAIT_S)
        yield from self._attend(under_way, t_ns)

    def close(self) -> None:
        """End what is under way."""
        if self._under_way is not None:
            self._bill(self._under_way, self._under_way.run.kill())
            self._under_way = None

    # processes

    def _follow(self, moment: Moment) -> None:
        """Bring what is known up to date with who is there."""
        self._moved = (self._moved | moment.moved) & moment.processes.keys()
        gone = [
            pid
            for pid, known in self._known.items()
            if (process := moment.processes.get(pid)) is None or process.start_ticks != known.start_ticks
        ]
        for pid in gone:
            del self._known[pid]
            self._results.forget(pid)
        if gone:
            self._interpreters.forget({(each.pid, each.start_ticks) for each in moment.processes.values()})

    def _candidates(self, moment: Moment) -> Iterator[Candidate]:
        for pid in self._moved:
            process = moment.processes[pid]
            if self._interpreters.is_python(pid, process.start_ticks, moment.t_ns):
                known = self._introduce(process, moment.t_ns)
                with contextlib.suppress(OSError):
                    yield Candidate(known, self._cpu_of(pid))

    def _introduce(self, process: Process, t_ns: int) -> Known:
        known = self._known.get(process.pid)
        if known is None:
            known = Known(process.pid, process.start_ticks, process.role, t_ns)
            self._known[process.pid] = known
        known.role = process.role
        return known

    # runs

    def _begin(self, moment: Moment) -> Iterator[Line]:
        chosen = choose(list(self._candidates(moment)), self._roles_seen, moment.t_ns)
        if chosen is None:
            return
        known = chosen.known
        if self._is_closed(known.pid):
            yield from self._give_up(known, moment.t_ns)
            return
        options = self._options
        means = Means(
            self._allowance.balance_ns, options.cores, options.rate_hz, options.blocking, self._costs
        )
        tids = self._results.tids(known.pid)
        role_is_known = known.role in self._roles_seen
        job = next_job(known, len(tids), means, moment.t_ns, role_is_known=role_is_known)
        is_urgent = not role_is_known or known.wants_names(len(tids), moment.t_ns)
        missing_ns = 0 if is_urgent else self._missing_ns(job, len(tids))
        if missing_ns > 0:
            self._next_start_ns = moment.t_ns + round(missing_ns / self._allowance.cores)
            return
        known.seen_cpu_ns = chosen.cpu_ns
        self._moved.discard(known.pid)
        yield from self._launch(job, known, tids, moment.t_ns)

    def _missing_ns(self, job: Job, threads: int) -> float:
        """What must come in before a dump without need is begun; samples come at a rate that can be afforded."""
        if job.how != "dump":
            return 0
        expected_ns = self._costs.start_ns + self._costs.sample_ns("dump", threads)
        return min(expected_ns, SAVINGS_NS) - self._allowance.balance_ns

    def _launch(self, job: Job, known: Known, tids: set[int], t_ns: int) -> Iterator[Line]:
        self._next_start_ns = t_ns + round(1e9 / self._options.rate_hz)
        assert self._start is not None
        try:
            run = self._start(job.arguments())
        except OSError as error:
            known.failed(t_ns)
            detail = f"py-spy cannot be started: {error.strerror}"
            yield from self._gaps.say(t_ns, None, "Python stacks", procfs.reason_of(error), detail)
            return
        self._under_way = _UnderWay(run, job, t_ns, len(tids), len(tids), tids)

    def _attend(self, under_way: _UnderWay, t_ns: int) -> Iterator[Line]:
        self._bill(under_way, under_way.run.cpu_ns())
        ended = under_way.run.poll()
        if ended is not None:
            self._bill(under_way, ended.cpu_ns)
            self._under_way = None
            yield from self._take(under_way, ended, t_ns)
        elif t_ns >= under_way.overdue_ns:
            self._bill(under_way, under_way.run.kill())
            self._under_way = None
            yield from self._lost(under_way, t_ns, "it hung and was ended", "late")
        elif under_way.job.seconds and not under_way.stopped:
            self._watch(under_way, t_ns)

    def _watch(self, under_way: _UnderWay, t_ns: int) -> None:
        """Keep up with the threads of the process, and cut samples short where something matters more."""
        known = self._known.get(under_way.job.pid)
        self._follow_threads(under_way)
        news = known is not None and known.wants_names(under_way.now, t_ns)
        if news or self._is_too_dear(under_way, t_ns):
            under_way.stopped = True
            under_way.run.interrupt()

    def _follow_threads(self, under_way: _UnderWay) -> None:
        """List the threads again when their number changed."""
        links = self._results.links(under_way.job.pid)
        if links is not None and links != under_way.links:
            tids = self._results.tids(under_way.job.pid)
            under_way.links = links
            under_way.tids |= tids
            under_way.now = len(tids) or under_way.now

    def _is_too_dear(self, under_way: _UnderWay, t_ns: int) -> bool:
        """Whether samples cost more than stacks ever may, because there are more threads than at the start."""
        lasted_ns = t_ns - under_way.from_ns
        return under_way.billed_ns > _HEAD_START_NS + MOST_CORES * lasted_ns

    def _bill(self, under_way: _UnderWay, cpu_ns: int) -> None:
        added = max(0, cpu_ns - under_way.billed_ns)
        under_way.billed_ns += added
        self._own.bill(added)
        self._allowance.spend(added)

    # results

    def _take(self, under_way: _UnderWay, ended: Ended, t_ns: int) -> Iterator[Line]:
        job, known = under_way.job, self._known.get(under_way.job.pid)
        if known is None:
            # The process ended meanwhile; what py-spy has seen of it until then still counts.
            known = Known(job.pid, 0, "", t_ns)
        try:
            parsed = parsed_output(job, ended)
        except (ValueError, RecursionError) as error:
            yield from self._lost(under_way, t_ns, last_words(ended) or str(error), "broken")
            return
        seconds = (t_ns - under_way.from_ns) / 1e9
        self._costs.learn(job, under_way.threads, min(seconds, job.seconds or seconds), ended.cpu_ns)
        known.succeeded(job, under_way.from_ns, under_way.threads)
        self._roles_seen.add(known.role)
        look = Look(t_ns, under_way.from_ns, job, cpu_ns=under_way.billed_ns)
        yield from self._results.write(look, parsed, under_way.tids)

    def _lost(self, under_way: _UnderWay, t_ns: int, why: str, reason: procfs.Reason) -> Iterator[Line]:
        """Say that a run failed; of a process that ended meanwhile nothing is said."""
        job = under_way.job
        known = self._known.get(job.pid)
        if known is None or not self._results.tids(job.pid):
            return
        known.failed(t_ns)
        look = Look(t_ns, under_way.from_ns, job, cpu_ns=under_way.billed_ns, failed=why[:300])
        yield look.line()
        if self._is_closed(job.pid):
            yield from self._give_up(known, t_ns)
        elif reason == "late" or known.failures >= _FAILURES_WORTH_TELLING:
            yield from self._gaps.say(t_ns, job.pid, "Python stacks", reason, f"py-spy: {why[:200]}")

    def _give_up(self, known: Known, t_ns: int) -> Iterator[Line]:
        known.hopeless = True
        yield from self._gaps.say(t_ns, known.pid, "Python stacks", "forbidden", _FORBIDDEN)


def stacks_probe(options: StacksOptions, own: OwnCpu, period_ns: int) -> StacksProbe:
    """The probe with the py-spy that is installed here; it looks no more often than the recorder does."""
    executable = pyspy.find()
    return StacksProbe(
        options,
        own,
        pyspy.starter(executable) if executable is not None else None,
        period_ns=max(PERIOD_NS, period_ns),
    )


_MISSING = "py-spy is not installed beside the recorder or on PATH; install it with: pip install py-spy"
_FORBIDDEN = (
    "the memory of the process may not be read; run as its user or as root, or start it with: corelens record --"
    " CMD (docker run --cap-add SYS_PTRACE in a container)"
)
