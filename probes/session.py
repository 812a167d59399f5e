"""One recording from beginning to end: start or attach, record, write the footer, tell how it ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corelens import __version__
from corelens.errors import ExitCode, NothingMeasured, NotPermitted, OutputExists, OutputFailed, UsageError
from corelens.marks import SPOOL_VARIABLE
from corelens.probes import pidfd, procfs
from corelens.probes.capabilities import capabilities
from corelens.probes.control import AttachedControl, ChildControl
from corelens.probes.descriptors import raise_limit
from corelens.probes.file_locks import FileLocksProbe
from corelens.probes.gil import GilProbe
from corelens.probes.governor import DEFAULT_BUDGET_CORES, Governor
from corelens.probes.host import HostProbe, describe_host
from corelens.probes.launcher import Child
from corelens.probes.limits import LimitsProbe
from corelens.probes.marks import MarksProbe
from corelens.probes.masking import masked
from corelens.probes.members import Masking
from corelens.probes.memory import MemoryProbe
from corelens.probes.own_cpu import OwnCpu
from corelens.probes.owners import OwnersProbe
from corelens.probes.packages import PackagesProbe
from corelens.probes.perf_samples import DEFAULT_PERIOD_NS as PERF_PERIOD_NS
from corelens.probes.perf_samples import PerfProbe
from corelens.probes.pools import PoolsProbe
from corelens.probes.probe import Probe
from corelens.probes.ray_node import DEFAULT_PERIOD_NS as RAY_PERIOD_NS
from corelens.probes.ray_node import RayProbe
from corelens.probes.recorder import Recorder, Tally, footer
from corelens.probes.signals import ENDING, PASSED_ON, SignalReader
from corelens.probes.spool import Spool
from corelens.probes.stacks import StacksOptions, stacks_probe
from corelens.probes.standstill import Watch, standstill_probe
from corelens.probes.threads import ThreadsProbe
from corelens.probes.tree import TreeProbe
from corelens.probes.variables import VariablesProbe
from corelens.probes.waits import WaitsProbe
from corelens.recording import RecordingWriter
from corelens.vocabulary import FORMAT_VERSION, Line

DEFAULT_RATE_HZ = 10.0
LOWEST_RATE_HZ = 0.1
HIGHEST_RATE_HZ = 100.0


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What to record and how.

    Either `command` or `pid` is given. `duration_s` ends the recording, never the program. `budget_cores`
    None lets the recorder use what it needs.
    """

    output: Path
    command: tuple[str, ...] = ()
    pid: int | None = None
    rate_hz: float = DEFAULT_RATE_HZ
    duration_s: float | None = None
    force: bool = False
    agent: bool = False
    budget_cores: float | None = DEFAULT_BUDGET_CORES
    full_argv: bool = False
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] | None = None
    """Environment of the command; ours where None."""
    stacks: StacksOptions | None = field(default_factory=StacksOptions)
    """How Python stacks are taken; None: not at all."""
    perf: bool = False
    """Whether the kernel samples which code is on a core."""
    watch: Watch | None = None
    """How to watch for deadlocks; None: standstills are looked at, and nobody is told."""

    @property
    def period_ns(self) -> int:
        """Time between two rounds."""
        return round(1e9 / self.rate_hz)


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """How it went: `exit_code` is what `corelens record` exits with, the program's own where it is known."""

    exit_code: int
    path: Path
    reason: str
    target_pid: int


Say = Callable[[str], None]


def say_on_stderr(sentence: str) -> None:
    """Print one line for the user; a closed stderr is no reason to lose a recording."""
    with contextlib.suppress(OSError, ValueError):
        print(f"corelens: {sentence}", file=sys.stderr, flush=True)


def record(options: RecordOptions, say: Say = say_on_stderr) -> RecordOutcome:
    """Record a command, or a running process.

    Raises a CorelensError when nothing was recorded; trouble with the output while the program runs is told
    through `say`, and the program is looked after to its end.
    """
    if options.pid is not None:
        return record_process(options, options.pid, say)
    return record_command(options, say)


def record_command(options: RecordOptions, say: Say = say_on_stderr) -> RecordOutcome:
    """Start the command and record it until it ends, however long it is recorded.

    The program runs to its end even where the recording ended earlier (duration, disk full).
    """
    check_output(options.output, force=options.force)
    spool = Spool.create(options.agent)
    base = os.environ if options.environment is None else options.environment
    open_files = raise_limit()
    signals = SignalReader(ENDING | PASSED_ON)
    try:
        child = Child(
            options.command, spool.environment(base), open_files=open_files, restore=signals.restore
        )
        control = ChildControl(child.pid, signals, options.duration_s)
        return _record_child(options, child, control, spool, say)
    finally:
        signals.close()
        spool.close()


def _record_child(
    options: RecordOptions, child: Child, control: ChildControl, spool: Spool, say: Say
) -> RecordOutcome:
    with contextlib.ExitStack() as stack:
        stack.callback(child.abandon)
        header = _Header(options, child.pid, "started", list(options.command))
        clocks = _Clocks.now()
        session = _Session(
            options, child.pid, control, clocks, say, spool=spool, reaper=lambda: child.reap().status
        )
        stack.callback(session.close)
        child.release()
        reason = session.record(header, child, say)
    if reason != "target-ended" and not control.gave_up:
        control.supervise()
    if control.gave_up and not control.target_ended():
        say(f"the program (pid {child.pid}) is still running; the recording ends without it")
        return RecordOutcome(ExitCode.INTERRUPTED, options.output, reason, child.pid)
    code = ExitCode.DEADLOCKED if session.deadlocked else child.reap().shell_code
    return RecordOutcome(
        ExitCode.OUTPUT_FAILED if reason == "output-failed" else code, options.output, reason, child.pid
    )


def record_process(options: RecordOptions, pid: int, say: Say = say_on_stderr) -> RecordOutcome:
    """Attach to a running process and record it until it ends, the duration is over, or Ctrl-C.

    Raises NothingMeasured where there is no such process, NotPermitted where nothing of it can be read.
    """
    pid = target_of(pid, say)
    check_output(options.output, force=options.force)
    header = _Header(options, pid, "attached", _argv(pid))
    raise_limit()
    signals = SignalReader({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        control = AttachedControl(signals, options.duration_s)
        session = _Session(options, pid, control, _Clocks.now(), say)
        try:
            reason = session.record(header, None, say)
        finally:
            session.close()
    finally:
        signals.close()
    code = ExitCode.DEADLOCKED if session.deadlocked else ExitCode.OK
    failed = reason == "output-failed"
    return RecordOutcome(ExitCode.OUTPUT_FAILED if failed else code, options.output, reason, pid)


def check_output(path: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written before anything is started; touches nothing."""
    if path.is_dir():
        raise OutputFailed(f"{path} is a folder", "name a file with -o FILE")
    if path.exists():
        if not force:
            raise OutputExists(path)
        if not os.access(path, os.W_OK):
            raise OutputFailed(f"cannot write {path}: permission denied", "choose another place with -o FILE")
    elif not path.parent.is_dir():
        raise OutputFailed(f"cannot write {path}: {path.parent} is no folder", "create it, or choose another")
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputFailed(f"cannot write into {path.parent}", "choose another place with -o FILE")


def target_of(pid: int, say: Say = say_on_stderr) -> int:
    """The process to attach to; a thread id stands for its process.

    Raises UsageError, NothingMeasured or NotPermitted where it cannot be recorded.
    """
    if pid == os.getpid():
        raise UsageError(f"{pid} is the recorder itself", "name another process with -p PID")
    try:
        group = procfs.thread_group(procfs.PROC, pid) if pid > 0 else pid
        stat = procfs.read_stat(procfs.PROC, group)
    except procfs.Unreadable as error:
        raise _unseen(pid, error) from error
    if group != pid:
        say(f"{pid} is a thread of process {group}: recording the process")
    if stat.state in "ZX":
        raise NothingMeasured(f"process {group} has ended and waits for its parent", "name a running process")
    _refuse_the_unreadable(group)
    return group


def _unseen(pid: int, error: procfs.Unreadable) -> NothingMeasured | NotPermitted:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return NothingMeasured(f"there is no process {pid}", "look for it with: ps -e")
    except PermissionError:
        pass
    return NotPermitted(
        f"process {pid} cannot be seen ({error.detail})", "run corelens as its owner, or with: sudo"
    )


def _refuse_the_unreadable(pid: int) -> None:
    try:
        procfs.read_bytes(f"{procfs.PROC}/{pid}/schedstat")
        return
    except procfs.Unreadable as error:
        reason = error
    try:
        time.clock_gettime_ns(pidfd.cpu_clock(pid))
    except OSError:
        raise NotPermitted(
            f"nothing of process {pid} can be read ({reason.detail})",
            "run corelens as its owner, or with: sudo",
        ) from reason


def _argv(pid: int) -> list[str]:
    try:
        return procfs.split_command_line(procfs.read_command_line(procfs.PROC, pid))
    except procfs.Unreadable:
        return []


@dataclass(frozen=True, slots=True)
class _Clocks:
    """The same moment on three clocks."""

    monotonic_ns: int
    boottime_ns: int
    unix_ns: int

    @classmethod
    def now(cls) -> _Clocks:
        return cls(time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


class _Header:
    """The facts of the header that take time to find, found before the clock starts."""

    def __init__(self, options: RecordOptions, pid: int, how: str, argv: list[str]) -> None:
        masking = _masking(options)
        self._known: Line = {
            "kind": "header",
            "format": FORMAT_VERSION,
            "corelens": __version__,
            "host": describe_host(),
            "target": {"how": how, "pid": pid, "argv": masking(argv)},
            "budget_cores": options.budget_cores,
            "agent": options.agent,
            "labels": dict(options.labels),
            "sees": capabilities(pid),
        }

    def line(self, clocks: _Clocks, periods_ns: Mapping[str, int]) -> Line:
        """The header line."""
        return {
            **self._known,
            "started_unix_ns": clocks.unix_ns,
            "t0_monotonic_ns": clocks.monotonic_ns,
            "t0_boottime_ns": clocks.boottime_ns,
            "periods_ns": dict(periods_ns),
        }


class _Session:
    """The probes, the loop and the output of one recording."""

    def __init__(
        self,
        options: RecordOptions,
        pid: int,
        control: ChildControl | AttachedControl,
        clocks: _Clocks,
        say: Say,
        *,
        spool: Spool | None = None,
        reaper: Callable[[], int | None] | None = None,
    ) -> None:
        self._options = options
        self._control = control
        self._clocks = clocks
        self._poll = select.epoll()
        self._tree = TreeProbe(
            pid,
            period_ns=options.period_ns,
            mark=f"{SPOOL_VARIABLE}={spool.folder}" if spool else None,
            reaper=reaper,
            poll=self._poll,
            masking=_masking(options),
            exclude=frozenset({os.getpid()}),
        )
        self._threads = ThreadsProbe(period_ns=options.period_ns)
        self._own = OwnCpu()
        self._others = probes_for(pid, spool, clocks.monotonic_ns, options.period_ns, self._threads)
        self._others += (RayProbe(self._tree.raylets, period_ns=max(RAY_PERIOD_NS, options.period_ns)),)
        if options.perf:
            period_ns = max(PERF_PERIOD_NS, options.period_ns)
            self._others += (PerfProbe(pid, period_ns=period_ns, attached=options.pid is not None),)
        if options.stacks is not None:
            self._others += (stacks_probe(options.stacks, self._own, options.period_ns),)
        self._standstill = standstill_probe(
            self._own, options.watch, say, options.period_ns, stacks=options.stacks is not None
        )
        self._others += (self._standstill,)
        self._probes: list[Probe] = [self._tree, self._threads, *self._others]

    @property
    def deadlocked(self) -> bool:
        """Whether the program was ended for a deadlock."""
        return self._standstill.killed

    def record(self, header: _Header, child: Child | None, say: Say) -> str:
        """Write the whole file and return the reason of its end; never raises for trouble with the output."""
        periods_ns = {probe.name: probe.period_ns for probe in self._probes}
        try:
            writer = RecordingWriter(self._options.output, force=self._options.force)
        except (OutputFailed, OutputExists) as error:
            say(_lost(error, child))
            return "output-failed"
        writer.add(header.line(self._clocks, periods_ns))
        recorder = Recorder(
            tree=self._tree,
            threads=self._threads,
            others=self._others,
            sink=writer,
            governor=Governor(self._options.budget_cores, periods_ns),
            control=self._control,
            poll=self._poll,
            t0_ns=self._clocks.monotonic_ns,
            tick_ns=self._options.period_ns,
            own=self._own,
            glancer=next((probe for probe in self._others if isinstance(probe, GilProbe)), None),
            last_words=self._standstill,
        )
        try:
            reason = recorder.run()
            recorder.finish()
            self._end(writer, reason, recorder.tally, recorder.now_ns(), child)
        except OutputFailed as error:
            say(_lost(error, child))
            self._end_without_room(writer, recorder.tally, recorder.now_ns(), child)
            return "output-failed"
        return reason

    def close(self) -> None:
        """Give every descriptor back."""
        for probe in self._probes:
            probe.close()
        self._poll.close()

    def _end(
        self, writer: RecordingWriter, reason: str, tally: Tally, t_ns: int, child: Child | None
    ) -> None:
        ended: dict[str, Any] = {}
        if child is not None and child.ended is not None:
            ended = {
                "exit_code": child.ended.exit_code,
                "signal": child.ended.signal,
                "user_ns": child.ended.user_ns,
                "system_ns": child.ended.system_ns,
                "max_rss_bytes": child.ended.max_rss_bytes,
            }
        writer.add(footer(t_ns, reason, tally, self._own, **ended))
        writer.close(t_ns)

    def _end_without_room(
        self, writer: RecordingWriter, tally: Tally, t_ns: int, child: Child | None
    ) -> None:
        # The member that did not fit was taken back, so a footer alone may still find room.
        with contextlib.suppress(OutputFailed, OSError):
            self._end(writer, "output-failed", tally, t_ns, child)


def probes_for(
    pid: int, spool: Spool | None, t0_monotonic_ns: int, period_ns: int, threads: ThreadsProbe
) -> tuple[Probe, ...]:
    """The probes beside tree and threads, none of them looking more often than these."""
    probes: list[Probe] = [HostProbe(), LimitsProbe(pid), MemoryProbe(), PackagesProbe(), GilProbe()]
    probes += [OwnersProbe(threads.living), WaitsProbe(threads.follow_runs())]
    probes += [FileLocksProbe(), VariablesProbe()]
    if spool is not None:
        probes.append(MarksProbe(spool, t0_monotonic_ns))
        if spool.agent:
            probes.append(PoolsProbe(spool, t0_monotonic_ns))
    for probe in probes:
        probe.period_ns = max(probe.period_ns, period_ns)
    return tuple(probes)


def _masking(options: RecordOptions) -> Masking:
    return list if options.full_argv else masked


def _lost(error: OutputFailed | OutputExists, child: Child | None) -> str:
    rest = "; the program runs on unrecorded" if child is not None else ""
    return f"{error.seen}; recording stopped{rest}"
