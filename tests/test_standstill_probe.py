"""The standstill probe: when it looks, whom it tells, and whom it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from corelens.probes import procfs
from corelens.probes.own_cpu import OwnCpu
from corelens.probes.probe import Moment, Process
from corelens.probes.standstill import StandstillProbe, Watch
from corelens.vocabulary import Line
from tests.test_vocabulary import complaints

S = 1_000_000_000
PID = os.getpid()


class Watched:
    """A probe over this very process, with a made clock, a made judge and nobody to be killed."""

    def __init__(
        self, verdict: str | None = None, *, after_s: float | None = None, kill: bool = False
    ) -> None:
        self.cpu_ns = 0
        self.said: list[str] = []
        self.sent: list[tuple[int, int]] = []
        watch = None if after_s is None else Watch(round(after_s * S), lambda _lines, _parents: verdict, kill)
        self.probe = StandstillProbe(
            OwnCpu(), None, watch, self.said.append, cpu_of=lambda _: self.cpu_ns,
            kill=lambda pid, number: self.sent.append((pid, number)),
        )  # fmt: skip
        stat = procfs.read_stat(procfs.PROC, PID)
        self._processes: Mapping[int, Process] = {PID: Process(PID, None, stat.start_ticks, "main")}

    def look(self, t_s: float, used_s: float = 0) -> list[Line]:
        self.cpu_ns += round(used_s * S)
        moved = frozenset({PID}) if used_s else frozenset[int]()
        lines = list(self.probe.look(Moment(round(t_s * S), self._processes, moved)))
        assert [text for line in lines for text in complaints(line)] == []
        return lines

    def kinds(self, *times_s: float) -> list[Any]:
        return [[line["kind"] for line in self.look(t_s)] for t_s in times_s]


LOOKED = ["standstill", "standstill.waits"]


def test_it_looks_once_after_three_seconds_and_again_much_later() -> None:
    watched = Watched()
    looks = watched.kinds(0, 1, 2.9, 3, 3.25, 3.5, 12.9, 13.25, 13.5)
    assert [place for place, kinds in enumerate(looks) if kinds[:2] == LOOKED] == [4, 8]


def test_who_works_is_not_looked_at_and_who_polls_is() -> None:
    busy, polls = Watched(), Watched()
    for watched, used_s in ((busy, 0.1), (polls, 0.001)):
        watched.look(0)
        for second in range(1, 6):
            watched.look(second, used_s)
    assert not busy.look(6)
    assert not busy.look(6.25, 0.1)
    assert polls.probe.killed is False
    assert busy.kinds(9.5, 9.75)[1][:1] == ["standstill"]


def test_a_deadlock_is_told_once_in_one_line() -> None:
    watched = Watched("a waits for b", after_s=1)
    watched.kinds(0, 1)
    assert watched.look(1.25)[0]["deadlock"] == "a waits for b"
    watched.kinds(2.5, 2.75, 5.5, 5.75)
    assert len(watched.said) == 1
    assert "a waits for b" in watched.said[0]
    assert not watched.sent


def test_what_can_go_on_is_recorded_and_not_told() -> None:
    watched = Watched(None, after_s=1, kill=True)
    watched.kinds(0, 1)
    assert watched.look(1.25)[0]["deadlock"] is None
    assert not watched.said
    assert not watched.sent


def test_it_ends_the_program_where_asked_at_first_gently() -> None:
    watched = Watched("a waits for b", after_s=1, kill=True)
    watched.kinds(0, 1)
    assert watched.look(1.25)[0]["killed"] is True
    assert watched.sent == [(PID, signal.SIGTERM), (PID, signal.SIGCONT)]
    watched.kinds(2, 3.25)
    assert watched.sent[2:] == [(PID, signal.SIGKILL)]
    assert watched.probe.killed


def test_an_interrupt_has_everybody_looked_at_unless_they_move() -> None:
    watched = Watched()
    watched.look(0)
    assert not list(watched.probe.interrupted(S // 10))
    lines = list(watched.probe.interrupted(S))
    assert [line["kind"] for line in lines][:2] == LOOKED
    assert lines[0]["why"] == "interrupted"
