"""The standstill probe: notices that nothing moves, and then looks at everybody once.

While anything moves it costs a comparison a round. After a few seconds without movement it has py-spy dump the stacks
of some Python processes and reads what every thread is blocked in; again after twice as long, in case that changes.
With `--watch` somebody who knows how to read such a look says whether anything can still move, and the program may be
ended on that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corelens.probes import pidfd, procfs, pyspy
from corelens.probes.interpreters import Interpreters
from corelens.probes.own_cpu import OwnCpu
from corelens.probes.probe import Moment, Process
from corelens.probes.pyspy import Job, Run, Start
from corelens.probes.stacks_parser import Frame, parse_dump
from corelens.probes.standstill_look import look
from corelens.probes.syscalls import names_by_number
from corelens.vocabulary import Line

PERIOD_NS = 250_000_000
# Shorter pauses are ordinary: a slow import, a retry.
FIRST_LOOK_NS = 3_000_000_000
# A thread that polls ten times a second uses 0.001 of a core; a program that does something uses more.
POLLING_CORES = 0.005
POLLING_NS = 5_000_000
# A dump costs 15 ms. Of many workers of one kind a few tell what all do.
_MOST_DUMPS = 6
_MOST_DUMPS_WATCHED = 24
_LONGEST_DUMP_NS = 2_000_000_000
_LAST_WORDS_S = 1.0
_WORTH_LAST_WORDS_NS = 500_000_000
_GRACE_NS = 2_000_000_000

Judge = Callable[[list[Line], Mapping[int, int | None]], str | None]
"""From a look and the living processes with their parents: the chain of waits, None where something can move."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Watch:
    """How to watch for a deadlock: after how long without movement, by whom it is judged, and whether to end it."""

    after_ns: int
    judge: Judge
    kill: bool = False


@dataclass(slots=True)
class _Dumps:
    """Runs of py-spy under way, by process."""

    from_ns: int
    runs: dict[int, Run] = field(default_factory=dict[int, Run])
    stacks: dict[int, tuple[Frame, ...]] = field(default_factory=dict[int, tuple[Frame, ...]])


class StandstillProbe:
    """Follows whether anything moves. `killed` says that the program was ended for a deadlock."""

    name = "standstill"

    def __init__(
        self,
        own: OwnCpu,
        start: Start | None,
        watch: Watch | None = None,
        say: Say = lambda _: None,
        *,
        proc: Path = procfs.PROC,
        period_ns: int = PERIOD_NS,
        cpu_of: Callable[[int], int] = pidfd.cpu_ns,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self.period_ns = period_ns
        self.killed = False
        self._own = own
        self._start = start
        self._watch = watch
        self._say = say
        self._proc = proc
        self._cpu_of = cpu_of
        self._kill = kill
        self._names = names_by_number()
        self._interpreters = Interpreters(proc)
        self._processes: dict[int, Process] = {}
        self._cpu: dict[int, int] = {}
        self._since_ns = self._used_ns = 0
        self._next_ns = self._first_ns
        self._dumps: _Dumps | None = None
        self._told = False
        self._kill_again_ns: int | None = None

    @property
    def _first_ns(self) -> int:
        """How long after the last movement the first look is due."""
        return FIRST_LOOK_NS if self._watch is None else min(FIRST_LOOK_NS, self._watch.after_ns)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Follow movements; look at everybody when there have been none for a while."""
        t_ns = moment.t_ns
        self._follow(moment)
        if self._kill_again_ns is not None and t_ns >= self._kill_again_ns:
            self._signal_all(signal.SIGKILL)
        if self._dumps is not None:
            if self._gather(self._dumps, 0) or t_ns - self._dumps.from_ns >= _LONGEST_DUMP_NS:
                yield from self._looked(t_ns, "still")
        elif t_ns - self._since_ns >= self._next_ns and self._names and self._kill_again_ns is None:
            self._begin(t_ns)

    def interrupted(self, t_ns: int) -> Iterator[Line]:
        """Look at once: the recording is asked to end, and whoever hangs may be gone in a moment.

        Of a program that moves samples tell enough, and its end must not be held up.
        """
        self._processes = {pid: one for pid, one in self._processes.items() if self._is_there(one)}
        if not self._processes or not self._names or self._kill_again_ns is not None:
            return
        if t_ns - self._since_ns < _WORTH_LAST_WORDS_NS:
            return
        if self._dumps is None:
            self._begin(t_ns)
        assert self._dumps is not None
        self._gather(self._dumps, _LAST_WORDS_S)
        yield from self._looked(t_ns, "interrupted")

    def conclude(self, t_ns: int) -> Iterator[Line]:
        """Finish what is under way; of a program that was ended for a deadlock nobody is left."""
        if self._kill_again_ns is not None:
            self._signal_all(signal.SIGKILL)
        elif self._dumps is not None:
            yield from self.interrupted(t_ns)

    def close(self) -> None:
        """End what is under way."""
        if self._dumps is not None:
            for run in self._dumps.runs.values():
                self._own.bill(run.kill())
            self._dumps = None

    # movements

    def _follow(self, moment: Moment) -> None:
        """Begin a new stretch where somebody came, went, or used more CPU than polling takes."""
        changed = self._processes.keys() != moment.processes.keys()
        self._processes = dict(moment.processes)
        for pid in self._cpu.keys() - moment.processes.keys():
            del self._cpu[pid]
        for pid in moment.moved | (moment.processes.keys() - self._cpu.keys()):
            with contextlib.suppress(OSError):
                now_ns = self._cpu_of(pid)
                self._used_ns += now_ns - self._cpu.get(pid, 0)
                self._cpu[pid] = now_ns
        if changed or self._used_ns > POLLING_NS + POLLING_CORES * (moment.t_ns - self._since_ns):
            self._since_ns, self._used_ns, self._next_ns = moment.t_ns, 0, self._first_ns
            self._told = False
            self.close()

    # a look

    def _begin(self, t_ns: int) -> None:
        self._dumps = _Dumps(t_ns)
        for pid in self._worth_a_dump(t_ns) if self._start is not None else ():
            with contextlib.suppress(OSError):
                assert self._start is not None
                self._dumps.runs[pid] = self._start(Job(pid, "dump").arguments())

    def _worth_a_dump(self, t_ns: int) -> list[int]:
        """Python processes, one of each role before the second of any."""
        found: dict[str, list[int]] = {}
        for pid, process in sorted(self._processes.items()):
            if self._interpreters.is_python(pid, process.start_ticks, t_ns):
                found.setdefault(process.role, []).append(pid)
        turns = sorted((place, pid) for of in found.values() for place, pid in enumerate(of))
        most = _MOST_DUMPS if self._watch is None else _MOST_DUMPS_WATCHED
        return [pid for _, pid in turns[:most]]

    def _gather(self, dumps: _Dumps, timeout_s: float) -> bool:
        """Take the stacks of runs that ended; True when none is under way."""
        deadline = time.monotonic() + timeout_s
        for pid, run in list(dumps.runs.items()):
            ended = run.poll(max(0.0, deadline - time.monotonic()))
            if ended is None:
                continue
            del dumps.runs[pid]
            self._own.bill(ended.cpu_ns)
            with contextlib.suppress(ValueError, RecursionError):
                seen = parse_dump(ended.output).seen if ended.ok else ()
                dumps.stacks.update({one.tid: one.frames for one in seen if one.tid is not None})
        return not dumps.runs

    def _looked(self, t_ns: int, why: str) -> Iterator[Line]:
        """The lines of a look, and what follows from it."""
        assert self._dumps is not None
        stacks = self._dumps.stacks
        self.close()
        lasted_ns = t_ns - self._since_ns
        lines = list(look(self._proc, sorted(self._processes), self._names, stacks, t_ns))
        chain = self._judged(lines, lasted_ns, why)
        if chain is not None and not self._told:
            self._told = True
            self._say(f"nothing has moved for {lasted_ns / 1e9:.0f} s, and nothing ever will: {chain}")
        kills = chain is not None and self._watch is not None and self._watch.kill
        if kills:
            self._end(t_ns)
        self._next_ns = self._following(lasted_ns)
        yield {
            "kind": "standstill",
            "t_ns": t_ns,
            "since_ns": self._since_ns,
            "why": why,
            "deadlock": chain,
            "killed": kills,
        }
        yield from lines

    def _following(self, lasted_ns: int) -> int:
        """How long after the last movement the next look is due."""
        if self._watch is None:
            return 4 * max(lasted_ns, self._first_ns)
        return self._watch.after_ns if lasted_ns < self._watch.after_ns else 2 * lasted_ns

    def _judged(self, lines: list[Line], lasted_ns: int, why: str) -> str | None:
        if self._watch is None or why != "still" or lasted_ns < self._watch.after_ns:
            return None
        return self._watch.judge(lines, {pid: one.ppid for pid, one in self._processes.items()})

    # an end

    def _end(self, t_ns: int) -> None:
        self.killed = True
        self._kill_again_ns = t_ns + _GRACE_NS
        self._say("ending the program, as --kill-deadlocked asks")
        self._signal_all(signal.SIGTERM)
        # Whoever is stopped takes its signal only when it goes on.
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        for process in self._processes.values():
            if self._is_there(process):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    self._kill(process.pid, number)

    def _is_there(self, process: Process) -> bool:
        try:
            stat = procfs.read_stat(self._proc, process.pid)
        except procfs.Unreadable:
            return False
        return stat.start_ticks == process.start_ticks and stat.state not in "ZX"


def standstill_probe(
    own: OwnCpu, watch: Watch | None, say: Say, period_ns: int, *, stacks: bool
) -> StandstillProbe:
    """The probe with the py-spy that is installed here, where stacks are wanted."""
    executable = pyspy.find() if stacks else None
    start = None if executable is None else pyspy.starter(executable)
    return StandstillProbe(own, start, watch, say, period_ns=max(PERIOD_NS, period_ns))
