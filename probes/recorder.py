"""The recorder's loop: one thread that waits for a round, a death or a signal, and writes what it sees.

It knows neither how the target was started nor what ends the recording: a `Control` decides that.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corelens.probes import procfs
from corelens.probes.governor import Cost, Governor
from corelens.probes.own_cpu import OwnCpu
from corelens.probes.probe import Concluding, Moment, Probe, Process
from corelens.probes.signals import ENDING
from corelens.probes.threads import ThreadsProbe
from corelens.probes.tree import TreeProbe
from corelens.vocabulary import Line

FLUSH_PERIOD_NS = 1_000_000_000

Clock = Callable[[], int]


class Sink(Protocol):
    """Where lines go; a `RecordingWriter`."""

    def add(self, line: Line) -> None:
        """Keep a line."""
        ...

    def flush(self, t_ns: int) -> None:
        """Write what was kept; raises OutputFailed."""
        ...


class Control(Protocol):
    """Decides when the recording ends; its answers are the reasons a footer may give."""

    descriptor: int
    """Readable when `handle` should be called."""

    def handle(self) -> None:
        """Look at what arrived."""
        ...

    def reason_to_end(self, t_ns: int, *, root_ended: bool) -> str | None:
        """Why to end now, None to go on."""
        ...


class LastWords(Protocol):
    """A probe that looks once more before the program hears of a signal that may end it."""

    name: str

    def interrupted(self, t_ns: int) -> Iterable[Line]:
        """Look at once, for a second at most."""
        ...


class Glancer(Protocol):
    """A probe that also looks between the rounds, for so little that a moment's waking is most of the cost."""

    name: str

    @property
    def next_glance_ns(self) -> int | None:
        """When to glance next; None: there is nothing to glance at before the next round."""
        ...

    def glance(self, t_ns: int) -> None:
        """Look; what is seen is told in the next round."""
        ...


@dataclass(slots=True)
class Tally:
    """What the recorder has done so far."""

    ticks: int = 0
    ticks_missed: int = 0
    longest_gap_ns: int = 0
    cpu_by_probe_ns: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class _Turn:
    """A probe with the time of its next look, and the processes that moved since its last."""

    probe: Probe
    next_ns: int = 0
    moved: set[int] = field(default_factory=set[int])


class Recorder:
    """Looks at a tree in rounds until its control says to end.

    The tree looks first, so that the other probes see the processes that are there now. Deaths are handled as
    the kernel tells of them, between the rounds. A round that begins late skips those it missed, and counts
    them.
    """

    def __init__(
        self,
        *,
        tree: TreeProbe,
        threads: ThreadsProbe,
        others: Iterable[Probe],
        sink: Sink,
        governor: Governor,
        control: Control,
        poll: select.epoll,
        t0_ns: int,
        tick_ns: int,
        clock: Clock = time.monotonic_ns,
        own: OwnCpu | None = None,
        glancer: Glancer | None = None,
        last_words: LastWords | None = None,
    ) -> None:
        self.tally = Tally()
        self._tree = tree
        self._threads = threads
        probes: list[Probe] = [tree, threads, *others]
        self._turns = [_Turn(probe) for probe in probes]
        self._sink = sink
        self._governor = governor
        self._control = control
        self._poll = poll
        self._t0_ns = t0_ns
        self._tick_ns = tick_ns
        self._clock = clock
        self._glancer = glancer
        self._last_words = last_words
        self._next_flush_ns = FLUSH_PERIOD_NS
        self._last_tree_ns = 0
        self._own = own or OwnCpu()
        self._accounted = (0, self._own.settled_ns(), dict[str, int]())
        poll.register(control.descriptor, select.EPOLLIN)

    def run(self) -> str:
        """Record until there is a reason to end, and return it. Raises OutputFailed."""
        next_tick_ns = 0
        while True:
            self._wait(min(next_tick_ns, self._next_flush_ns))
            reason = self._control.reason_to_end(self.now_ns(), root_ended=self._tree.root_ended)
            if reason is not None:
                return reason
            if self.now_ns() >= next_tick_ns:
                self._round(self.now_ns())
                next_tick_ns = self._following(next_tick_ns)
            if self.now_ns() >= self._next_flush_ns:
                self._flush(self.now_ns())

    def finish(self) -> None:
        """Look once more at everything, whatever its period. Raises OutputFailed."""
        t_ns = self.now_ns()
        for turn in self._turns:
            turn.next_ns = 0
        self._round(t_ns)
        for turn in self._turns:
            if isinstance(turn.probe, Concluding):
                self._charged(turn.probe.name, turn.probe.conclude(self.now_ns()))
        self._sink.add(self._self_line(self.now_ns()))

    def now_ns(self) -> int:
        """Time since the recording began."""
        return self._clock() - self._t0_ns

    # one round

    def _following(self, tick_ns: int) -> int:
        missed = max(0, (self.now_ns() - tick_ns) // self._tick_ns)
        self.tally.ticks_missed += missed
        return tick_ns + (missed + 1) * self._tick_ns

    def _round(self, t_ns: int) -> None:
        self.tally.ticks += 1
        for turn in self._turns:
            # Periods are multiples of the tick, and a tick never comes early.
            if turn.next_ns <= t_ns:
                turn.next_ns = t_ns - t_ns % self._tick_ns + turn.probe.period_ns
                self._take(turn, t_ns)
        if self.tally.ticks == 1:
            # From here on a kill leaves a recording, and the file tells whoever waits for it that it began.
            self._sink.flush(t_ns)

    def _flush(self, t_ns: int) -> None:
        self._next_flush_ns = t_ns - t_ns % FLUSH_PERIOD_NS + FLUSH_PERIOD_NS
        self._sink.add(self._self_line(t_ns))
        self._govern(t_ns)
        self._sink.flush(t_ns)

    def _take(self, turn: _Turn, t_ns: int) -> None:
        processes: dict[int, Process] = self._tree.processes
        moment = Moment(t_ns, processes, frozenset(turn.moved))
        turn.moved.clear()
        self._charged(turn.probe.name, turn.probe.look(moment))
        if turn.probe is self._tree:
            self.tally.longest_gap_ns = max(self.tally.longest_gap_ns, t_ns - self._last_tree_ns)
            self._last_tree_ns = t_ns
            for other in self._turns:
                other.moved |= self._tree.moved

    def _charged(self, name: str, lines: Iterable[Line]) -> None:
        """Write lines down and charge their making to a probe."""
        before = self._own()
        for line in lines:
            self._sink.add(line)
        spent = self.tally.cpu_by_probe_ns
        spent[name] = spent.get(name, 0) + self._own() - before

    # between the rounds

    def _wait(self, until_ns: int) -> None:
        """Wait for the next round, and meanwhile glance, and handle deaths and signals."""
        if self._glancer is not None and self._glancer.next_glance_ns is not None:
            self._glance_until(self._glancer, until_ns)
        timeout_s = max(0, until_ns - self.now_ns()) / 1e9
        for descriptor, _ in self._poll.poll(timeout_s):
            if descriptor == self._control.descriptor:
                self._hear_last_words()
                self._control.handle()
            elif (pid := self._tree.pid_of(descriptor)) is not None:
                t_ns = self.now_ns()
                self._charged("threads", self._threads.bury(pid, t_ns))
                self._charged("tree", self._tree.bury(pid, t_ns))

    def _hear_last_words(self) -> None:
        """Look at who hangs before a signal is passed on that may end it; once, so that a second one is quick."""
        if self._last_words is not None and signal.sigpending() & ENDING:
            probe, self._last_words = self._last_words, None
            self._charged(probe.name, probe.interrupted(self.now_ns()))

    def _glance_until(self, glancer: Glancer, until_ns: int) -> None:
        """Glance as often as is due; returns early when something arrived that must be handled."""
        before = time.process_time_ns()
        # `select` waits for microseconds, `epoll` for whole milliseconds, in step with a target that does too.
        descriptor = (self._poll.fileno(),)
        nothing: tuple[int, ...] = ()
        while (due_ns := glancer.next_glance_ns) is not None and due_ns < until_ns:
            wait_s = (due_ns - self.now_ns()) / 1e9
            if wait_s > 0 and select.select(descriptor, nothing, nothing, wait_s)[0]:
                break
            glancer.glance(self.now_ns())
        spent = self.tally.cpu_by_probe_ns
        spent[glancer.name] = spent.get(glancer.name, 0) + time.process_time_ns() - before

    def _govern(self, t_ns: int) -> None:
        then_ns, cpu_before, spent_before = self._accounted
        spent = dict(self.tally.cpu_by_probe_ns)
        cpu_ns = self._own.settled_ns()
        by_probe = {name: value - spent_before.get(name, 0) for name, value in spent.items()}
        self._accounted = (t_ns, cpu_ns, spent)
        change = self._governor.account(Cost(t_ns - then_ns, cpu_ns - cpu_before, by_probe))
        if change is None:
            return
        for turn in self._turns:
            if turn.probe.name == change.probe:
                turn.probe.period_ns = change.period_ns
        self._sink.add(
            {
                "kind": "rate",
                "t_ns": t_ns,
                "probe": change.probe,
                "period_ns": change.period_ns,
                "reason": change.reason,
                "own_cores": round(change.own_cores, 5),
            }
        )

    def _self_line(self, t_ns: int) -> Line:
        longest_gap_ns, self.tally.longest_gap_ns = self.tally.longest_gap_ns, 0
        return {
            "kind": "self",
            "t_ns": t_ns,
            "cpu_ns": self._own(),
            "rss_bytes": _resident_bytes(),
            "ticks": self.tally.ticks,
            "ticks_missed": self.tally.ticks_missed,
            "longest_gap_ns": longest_gap_ns,
            "threads_read": self._threads.readings,
            "cpu_by_probe_ns": dict(self.tally.cpu_by_probe_ns),
        }


def footer(t_ns: int, reason: str, tally: Tally, own: OwnCpu | None = None, **ended: Any) -> Line:
    """The last line. `ended` gives exit_code, signal, user_ns, system_ns and max_rss_bytes where known."""
    unknown = dict.fromkeys(("exit_code", "signal", "user_ns", "system_ns", "max_rss_bytes"))
    return {
        "kind": "footer",
        "t_ns": t_ns,
        "reason": reason,
        **unknown,
        **ended,
        "ticks": tally.ticks,
        "ticks_missed": tally.ticks_missed,
        "own_cpu_ns": (own or OwnCpu())(),
        "own_max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _resident_bytes(proc: Path = procfs.PROC) -> int:
    pages = int(procfs.read_bytes(f"{proc}/self/statm").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
