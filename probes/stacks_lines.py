"""The lines of the stacks probe: frames and stacks numbered once, samples that name them, names of threads.

What a line refers to is written before it, and again after each keyframe where it is still in use, with the
number it had: a recording that lost a member finds its names again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corelens.probes.pyspy import Job
from corelens.probes.stacks_parser import Frame, Seen
from corelens.vocabulary import Line, columnar_line

# Deeper stacks keep their innermost frames.
DEEPEST = 256
# Bounds the memory of the recorder, at about 40 MB with deep stacks. A program of a million lines showed
# some thousands of stacks an hour.
MOST_STACKS = 50_000
_LONGEST_NAME = 500

Sample = tuple[int, Seen]
"""Thread id and what it showed."""


@dataclass(slots=True)
class Look:
    """One run of py-spy, as its line tells it."""

    t_ns: int
    from_ns: int
    job: Job
    samples: int = 0
    dropped: int = 0
    cpu_ns: int = 0
    failed: str | None = None

    def line(self) -> Line:
        """The `stacks.looks` line."""
        return {
            "kind": "stacks.looks",
            "t_ns": self.t_ns,
            "from_ns": self.from_ns,
            "pid": self.job.pid,
            "how": self.job.how,
            "rate_hz": self.job.rate_hz,
            "blocking": self.job.blocking,
            "samples": self.samples,
            "dropped": self.dropped,
            "cpu_ns": self.cpu_ns,
            "failed": self.failed,
        }


class StackLines:
    """Numbers frames and stacks, and writes what readers do not know yet."""

    def __init__(self) -> None:
        self.full = False
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}
        self._frames_said: set[int] = set()
        self._stacks_said: set[int] = set()
        self._names: dict[int, dict[int, str]] = {}

    def samples(self, look: Look, found: list[Sample]) -> Iterator[Line]:
        """Lines for the samples of one look, those they refer to first."""
        rows: list[tuple[object, ...]] = []
        frames: dict[int, Frame] = {}
        stacks: dict[int, tuple[int, ...]] = {}
        for tid, seen in found:
            stack = self._stack(seen.frames[-DEEPEST:], frames, stacks)
            if stack is None:
                look.dropped += seen.samples
                continue
            look.samples += seen.samples
            rows.append((look.from_ns, look.job.pid, tid, stack, seen.samples, seen.active, seen.gil))
        if frames:
            new = [(number, *frame) for number, frame in frames.items()]
            yield columnar_line("stacks.frames", look.t_ns, new)
        if stacks:
            chains = [(number, list(chain)) for number, chain in stacks.items()]
            yield columnar_line("stacks.chains", look.t_ns, chains)
        if rows:
            yield columnar_line("stacks", look.t_ns, rows)

    def names(self, t_ns: int, pid: int, found: list[Sample]) -> Iterator[Line]:
        """Names of threads that are new or changed."""
        known = self._names.setdefault(pid, {})
        changed = {
            tid: seen.name[:_LONGEST_NAME]
            for tid, seen in found
            if seen.name and known.get(tid) != seen.name[:_LONGEST_NAME]
        }
        known.update(changed)
        if changed:
            rows = [(pid, tid, name) for tid, name in changed.items()]
            yield columnar_line("threads.python", t_ns, rows)

    def forget(self, pid: int, living: set[int] | None = None) -> None:
        """Forget the names of a process that ended, or of those of its threads that are not there any more."""
        known = self._names.pop(pid, {})
        kept = {tid: name for tid, name in known.items() if living is not None and tid in living}
        if kept:
            self._names[pid] = kept

    def keyframe(self, t_ns: int) -> Iterator[Line]:
        """Repeat the names, and from now on everything else that is used again."""
        self._frames_said.clear()
        self._stacks_said.clear()
        rows = [(pid, tid, name) for pid, known in self._names.items() for tid, name in known.items()]
        if rows:
            yield columnar_line("threads.python", t_ns, rows)

    def _stack(
        self, frames: tuple[Frame, ...], new_frames: dict[int, Frame], new_stacks: dict[int, tuple[int, ...]]
    ) -> int | None:
        """Number of a stack; None when there are too many already. Adds what has to be said."""
        chain = tuple(self._frames.setdefault(frame, len(self._frames)) for frame in frames)
        stack = self._stacks.get(chain)
        if stack is None:
            if len(self._stacks) >= MOST_STACKS:
                self.full = True
                return None
            stack = self._stacks[chain] = len(self._stacks)
        if stack not in self._stacks_said:
            self._stacks_said.add(stack)
            new_stacks[stack] = chain
            unsaid = [
                (n, frame) for n, frame in zip(chain, frames, strict=True) if n not in self._frames_said
            ]
            new_frames.update(unsaid)
            self._frames_said.update(n for n, _ in unsaid)
        return stack
