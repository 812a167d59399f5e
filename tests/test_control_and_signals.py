"""Signals that are read instead of obeyed, and what ends a recording."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from corelens.probes import pidfd
from corelens.probes.control import GRACE_NS, AttachedControl, ChildControl
from corelens.probes.signals import ENDING, PASSED_ON, Received, SignalReader
from tests.fakeprocesses import SECOND
from tests.programs import TALK, Program, python, running, state, wait_until

TARGET = 2**22 + 5
"""More than any process id."""
OURS = (signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def reader() -> Generator[SignalReader]:
    made = SignalReader(OURS)
    yield made
    made.close()


def blocked() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def send_to_self(number: int) -> None:
    """Send this thread a signal. One sent to the process may reach a thread of a library, which obeys it."""
    signal.pthread_kill(threading.get_ident(), number)


def readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


# signals


def test_a_signal_is_read_and_not_obeyed(reader: SignalReader) -> None:
    """The default of this one would end the process."""
    assert not readable(reader.descriptor)
    send_to_self(signal.SIGUSR1)
    assert readable(reader.descriptor)
    assert list(reader.read()) == [Received(signal.SIGUSR1, from_terminal=False)]
    assert list(reader.read()) == []


def test_several_are_read_at_once(reader: SignalReader) -> None:
    for number in OURS:
        send_to_self(number)
    assert {received.number for received in reader.read()} == set(OURS)


def test_the_descriptor_is_not_handed_to_programs(reader: SignalReader) -> None:
    assert not os.get_inheritable(reader.descriptor)
    assert not os.get_blocking(reader.descriptor)


def test_only_the_wanted_are_blocked_and_only_until_the_end() -> None:
    before = blocked()
    reader = SignalReader(OURS)
    assert blocked() - before == set(OURS)
    reader.close()
    assert blocked() == before


def test_what_waits_at_the_end_is_dropped() -> None:
    reader = SignalReader(OURS)
    send_to_self(signal.SIGUSR1)
    reader.close()
    assert signal.sigpending() == set()


def test_restoring_lets_signals_through_and_keeps_the_descriptor() -> None:
    reader = SignalReader(OURS)
    reader.restore()
    assert not blocked() & set(OURS)
    assert list(reader.read()) == []
    reader.close()


def test_an_ignored_signal_stays_ignored() -> None:
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        reader = SignalReader(OURS)
        send_to_self(signal.SIGUSR1)
        assert list(reader.read()) == []
        assert blocked() & set(OURS) == {signal.SIGUSR2}
        reader.close()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_without_a_signalfd_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    class Library:
        def __init__(self, *_: object, **__: object) -> None:
            ctypes.set_errno(24)

        def signalfd(self, *_: object) -> int:
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    before = blocked()
    with pytest.raises(OSError, match="Too many open files"):
        SignalReader(OURS)
    assert blocked() == before


TERMINAL = """
import os, select, signal, sys
from corelens.probes.signals import SignalReader
reader = SignalReader({signal.SIGINT, signal.SIGUSR1})
print("ready", flush=True)
for _ in range(2):
    select.select([reader.descriptor], [], [])
    for received in reader.read():
        print(received.number.name, received.from_terminal, flush=True)
"""


def test_an_interrupt_from_the_terminal_is_told_from_one_that_was_sent() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", TERMINAL])
    try:
        _words_until(terminal, "ready")
        os.write(terminal, b"\x03")
        _words_until(terminal, "SIGINT True")
        os.kill(pid, signal.SIGUSR1)
        _words_until(terminal, "SIGUSR1 False")
        os.waitpid(pid, 0)
    finally:
        os.close(terminal)


def _words_until(terminal: int, words: str, timeout_s: float = 60) -> None:
    text = ""
    while words not in text:
        ready, _, _ = select.select([terminal], [], [], timeout_s)
        if not ready:
            raise AssertionError(f"waited in vain for {words!r}, saw {text!r}")
        text += os.read(terminal, 1000).decode()


# a program that we started


@dataclass
class FakeSignals:
    """Signals that a test lets arrive."""

    waiting: list[Received] = field(default_factory=list[Received])
    descriptor: int = 3

    def arrive(self, number: signal.Signals, *, from_terminal: bool = False) -> None:
        """Let one arrive."""
        self.waiting.append(Received(number, from_terminal))

    def read(self) -> Iterator[Received]:
        """As of a reader."""
        while self.waiting:
            yield self.waiting.pop(0)


@dataclass
class Sent:
    """A control with the signals that reach it and those that it sends."""

    control: ChildControl
    signals: FakeSignals
    sent: list[tuple[int, int]]

    def take(self, number: signal.Signals, *, from_terminal: bool = False) -> list[tuple[int, int]]:
        """Let one arrive; returns whatever was sent because of it."""
        self.sent.clear()
        self.signals.arrive(number, from_terminal=from_terminal)
        self.control.handle()
        return list(self.sent)

    def reason(self, t_ns: int = 0, *, root_ended: bool = False) -> str | None:
        """Why the recording ends now."""
        return self.control.reason_to_end(t_ns, root_ended=root_ended)


def a_control(pid: int = TARGET, duration_s: float | None = None) -> Sent:
    signals, sent = FakeSignals(), list[tuple[int, int]]()

    def send(to: int, number: int) -> None:
        sent.append((to, number))

    control = ChildControl(pid, cast(Any, signals), duration_s, send)
    return Sent(control, signals, sent)


@pytest.fixture
def control() -> Sent:
    return a_control()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A monotonic clock that stands at its only item."""
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    return now


PASSED_AT_ONCE = sorted(ENDING | PASSED_ON - {signal.SIGTSTP, signal.SIGCONT})


@pytest.mark.parametrize("number", PASSED_AT_ONCE, ids=lambda number: number.name)
def test_what_was_sent_to_us_alone_is_passed_on(control: Sent, number: signal.Signals) -> None:
    assert control.take(number) == [(TARGET, number)]


@pytest.mark.parametrize("number", PASSED_AT_ONCE, ids=lambda number: number.name)
def test_what_the_terminal_sent_is_not(control: Sent, number: signal.Signals) -> None:
    assert control.take(number, from_terminal=True) == []


def test_a_target_that_is_gone_is_no_trouble() -> None:
    gone = ChildControl(TARGET, cast(Any, FakeSignals()), None)
    gone.take(Received(signal.SIGTERM, from_terminal=False))


def test_a_stop_stops_the_target_first_and_then_us(control: Sent) -> None:
    assert control.take(signal.SIGTSTP) == [(TARGET, signal.SIGTSTP), (os.getpid(), signal.SIGSTOP)]


def test_a_stop_from_the_terminal_reached_the_target(control: Sent) -> None:
    assert control.take(signal.SIGTSTP, from_terminal=True) == [(os.getpid(), signal.SIGSTOP)]


def test_continuing_is_passed_on_to_a_stopped_target_only() -> None:
    with running(python("import sys; sys.stdin.readline()")) as program:
        control = a_control(program.pid)
        assert control.take(signal.SIGCONT) == []
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(lambda: state(program.pid) == "T", "the program to stop")
        assert control.take(signal.SIGCONT) == [(program.pid, signal.SIGCONT)]
        os.kill(program.pid, signal.SIGCONT)
    assert a_control().take(signal.SIGCONT) == []


def test_one_ending_signal_does_not_end_the_recording(control: Sent, clock: list[int]) -> None:
    control.take(signal.SIGINT)
    clock[0] = 100 * SECOND
    assert control.reason() is None


@pytest.mark.parametrize("from_terminal", [True, False])
def test_a_second_one_ends_it_a_while_later(control: Sent, clock: list[int], from_terminal: bool) -> None:
    control.take(signal.SIGINT, from_terminal=from_terminal)
    clock[0] = 5 * SECOND
    control.take(signal.SIGTERM, from_terminal=from_terminal)
    assert control.reason() is None
    clock[0] = 5 * SECOND + GRACE_NS - 1
    # A third one does not buy time.
    control.take(signal.SIGTERM, from_terminal=from_terminal)
    assert (control.reason(), control.control.gave_up) == (None, False)
    clock[0] = 5 * SECOND + GRACE_NS
    assert control.reason() == "interrupted"
    assert control.control.gave_up


def test_other_signals_do_not_count(control: Sent, clock: list[int]) -> None:
    for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGTSTP, signal.SIGINT):
        control.take(number)
    clock[0] = 100 * SECOND
    assert control.reason() is None


def test_a_duration_ends_the_recording() -> None:
    control = a_control(duration_s=2.5)
    assert control.reason(5 * SECOND // 2 - 1) is None
    assert control.reason(5 * SECOND // 2) == "duration"


def test_the_end_of_the_target_comes_before_everything(clock: list[int]) -> None:
    control = a_control(duration_s=1)
    control.take(signal.SIGINT)
    control.take(signal.SIGINT)
    clock[0] = 100 * SECOND
    assert control.reason(5 * SECOND, root_ended=True) == "target-ended"


def test_whether_a_target_has_ended() -> None:
    with running(python("import sys; sys.stdin.readline()")) as program:
        control = a_control(program.pid).control
        assert not control.target_ended()
        program.say("end")
        wait_until(lambda: state(program.pid) == "Z", "the program to end")
        assert control.target_ended()
        program.end()
        assert control.target_ended()


# supervision without a recording

ON_SIGNAL = (
    TALK
    + """
import signal
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(4))
signal.signal(signal.SIGTERM, lambda *_: say("no"))
say("ready")
while True:
    signal.pause()
"""
)


@pytest.fixture
def program() -> Generator[Program]:
    with running(python(ON_SIGNAL)) as made:
        assert made.hear() == "ready"
        yield made


def test_a_supervised_program_gets_what_is_sent_to_us(program: Program, reader: SignalReader) -> None:
    control = ChildControl(program.pid, reader, None)
    send_to_self(signal.SIGUSR1)
    control.supervise()
    assert program.end() == 4
    assert not control.gave_up


def no_pidfd(_: int) -> None:
    """As before Linux 5.3."""


@pytest.mark.parametrize("kernel", ["with pidfds", "without"])
def test_supervision_ends_with_the_program(
    program: Program, reader: SignalReader, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    if kernel == "without":
        monkeypatch.setattr(pidfd, "open_pidfd", no_pidfd)
    control = ChildControl(program.pid, reader, 0.0)
    os.kill(program.pid, signal.SIGUSR1)
    control.supervise()
    assert state(program.pid) in "XZ"


def test_supervision_gives_up_after_a_second_interrupt(
    program: Program, reader: SignalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = ChildControl(program.pid, reader, None)
    for _ in range(2):
        control.take(Received(signal.SIGTERM, from_terminal=False))
    now_ns = time.monotonic_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns + 2 * GRACE_NS)
    control.supervise()
    assert control.gave_up
    assert program.hear() == "no"
    assert state(program.pid) not in "XZ"


# a process that somebody else started


@pytest.mark.parametrize(
    ("t_ns", "ended", "interrupted", "reason"),
    [
        (0, False, False, None),
        (0, False, True, "interrupted"),
        (0, True, True, "target-gone"),
        (3 * SECOND, False, False, "duration"),
        (3 * SECOND, False, True, "interrupted"),
        (3 * SECOND, True, False, "target-gone"),
        (3 * SECOND - 1, False, False, None),
    ],
)
def test_what_ends_a_recording_of_another_process(
    t_ns: int, ended: bool, interrupted: bool, reason: str | None
) -> None:
    signals = FakeSignals()
    control = AttachedControl(cast(Any, signals), 3.0)
    if interrupted:
        signals.arrive(signal.SIGINT)
        control.handle()
    assert control.reason_to_end(t_ns, root_ended=ended) == reason


def test_one_signal_is_enough_and_is_not_forgotten() -> None:
    signals = FakeSignals()
    control = AttachedControl(cast(Any, signals), None)
    assert control.descriptor == signals.descriptor
    control.handle()
    assert control.reason_to_end(100 * SECOND, root_ended=False) is None
    signals.arrive(signal.SIGTERM)
    control.handle()
    control.handle()
    assert control.reason_to_end(100 * SECOND, root_ended=False) == "interrupted"
