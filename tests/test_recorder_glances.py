"""The recorder's loop between its rounds: a probe that glances, and what interrupts it."""

from __future__ import annotations

import os
import select
from collections.abc import Generator, Iterable

import pytest

from corelens.probes.governor import Governor
from corelens.probes.probe import Moment
from corelens.probes.recorder import Recorder
from corelens.probes.threads import ThreadsProbe
from corelens.probes.tree import TreeProbe
from corelens.vocabulary import Line

MS = 1_000_000


class Ended:
    """Ends after so many glances, or when something was written into its pipe."""

    def __init__(self, glances: int) -> None:
        self.glances = glances
        self.descriptor, self.writing = os.pipe()
        self.handled = 0
        self.seen: list[int] = []

    def handle(self) -> None:
        os.read(self.descriptor, 1)
        self.handled += 1

    def reason_to_end(self, t_ns: int, *, root_ended: bool) -> str | None:
        return "duration" if self.handled or len(self.seen) >= self.glances else None

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self.writing)


class Glancing:
    """A probe that wants to glance every 2 ms from its first look on, and says when it did."""

    name = "glancing"
    period_ns = 20 * MS

    def __init__(self, control: Ended, *, interrupt_at: int | None = None) -> None:
        self._control = control
        self._interrupt_at = interrupt_at
        self.next_glance_ns: int | None = None

    def look(self, moment: Moment) -> Iterable[Line]:
        self.next_glance_ns = self.next_glance_ns or moment.t_ns
        return ()

    def glance(self, t_ns: int) -> None:
        assert self.next_glance_ns is not None
        # Never early: the moment was drawn at random.
        assert t_ns >= self.next_glance_ns
        self._control.seen.append(t_ns)
        self.next_glance_ns += 2 * MS
        if len(self._control.seen) == self._interrupt_at:
            os.write(self._control.writing, b"x")

    def close(self) -> None:
        pass


class Nowhere:
    """Takes lines and drops them."""

    def add(self, line: Line) -> None:
        pass

    def flush(self, t_ns: int) -> None:
        pass


@pytest.fixture
def poll() -> Generator[select.epoll]:
    made = select.epoll()
    yield made
    made.close()


def run(poll: select.epoll, control: Ended, glancer: Glancing) -> Recorder:
    import time

    tree, threads = TreeProbe(os.getpid(), poll=poll), ThreadsProbe()
    recorder = Recorder(
        tree=tree,
        threads=threads,
        others=[glancer],
        sink=Nowhere(),
        governor=Governor(None, {}),
        control=control,
        poll=poll,
        t0_ns=time.monotonic_ns(),
        tick_ns=20 * MS,
        glancer=glancer,
    )
    try:
        assert recorder.run() == "duration"
    finally:
        for probe in (tree, threads, control):
            probe.close()
    return recorder


def test_glances_come_between_the_rounds_and_are_charged(poll: select.epoll) -> None:
    control = Ended(glances=40)
    recorder = run(poll, control, Glancing(control))
    assert len(control.seen) >= 40
    assert recorder.tally.ticks >= 2
    assert recorder.tally.cpu_by_probe_ns["glancing"] > 0


def test_what_arrives_is_handled(poll: select.epoll) -> None:
    control = Ended(glances=1_000_000)
    run(poll, control, Glancing(control, interrupt_at=5))
    assert control.handled == 1
