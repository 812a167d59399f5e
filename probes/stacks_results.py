"""What a run of py-spy found, checked and written down: samples of threads that exist, of stacks that are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.namespaces import outer_tids
from corelens.probes.pthreads import tids_by_pthread
from corelens.probes.pyspy import Ended, Job
from corelens.probes.stacks_lines import Look, Sample, StackLines
from corelens.probes.stacks_parser import Parsed, Roots, parse_dump, parse_samples
from corelens.vocabulary import Line

_NO_IDS = "what py-spy says belongs to none of its threads"
_FULL = "the program shows more different stacks than are kept; new ones are counted as dropped"


class StackResults:
    """Turns the output of py-spy into lines, and remembers where each thread begins and what it is called."""

    def __init__(self, gaps: Gaps, proc: Path = procfs.PROC) -> None:
        self._gaps = gaps
        self._proc = proc
        self._lines = StackLines()
        self._roots: dict[int, Roots] = {}

    def write(self, look: Look, parsed: Parsed, tids: set[int]) -> Iterator[Line]:
        """Lines of one run; `tids` are the threads that were there when it began."""
        pid, t_ns = look.job.pid, look.t_ns
        living = self.tids(pid)
        inner = outer_tids(self._proc, pid, living | tids)
        found = _identified(parsed if inner is None else _moved_out(parsed, inner), living | tids)
        yield from self._lines.names(t_ns, pid, found)
        whole = found if look.job.blocking else self._whole(pid, found, living | tids)
        told = [sample for sample in whole if sample[1].frames]
        look.dropped = parsed.broken + sum(one.samples for one in parsed.seen) - _samples(told)
        yield from self._lines.samples(look, told)
        yield look.line()
        self._lines.forget(pid, living)
        if parsed.seen and not found:
            yield from self._gaps.say(t_ns, pid, "Python stacks", "unsupported", _NO_IDS)
        if self._lines.full:
            yield from self._gaps.say(t_ns, None, "more Python stacks", "unsupported", _FULL)

    def keyframe(self, t_ns: int) -> Iterator[Line]:
        """Say again what readers may have lost."""
        return self._lines.keyframe(t_ns)

    def forget(self, pid: int) -> None:
        """Drop a process that ended."""
        self._roots.pop(pid, None)
        self._lines.forget(pid)

    def tids(self, pid: int) -> set[int]:
        """Threads of a process; empty when it is gone."""
        try:
            return {int(name) for name in os.listdir(f"{self._proc}/{pid}/task")}  # noqa: PTH208
        except OSError:
            return set()

    def links(self, pid: int) -> int | None:
        """Links of the folder of its threads, which move with their number; None when it is gone."""
        try:
            return os.stat(f"{self._proc}/{pid}/task").st_nlink  # noqa: PTH116
        except OSError:
            return None

    def _whole(self, pid: int, found: list[Sample], there: set[int]) -> list[Sample]:
        roots = self._roots.setdefault(pid, Roots())
        roots.forget(there)
        whole = roots.whole(found)
        return [sample for place, sample in enumerate(found) if place in whole]


def parsed_output(job: Job, ended: Ended) -> Parsed:
    """What a run printed. Raises ValueError where it failed or printed something else."""
    if not ended.ok:
        raise ValueError("py-spy failed without a word")
    if job.how == "dump":
        return parse_dump(ended.output)
    return parse_samples(ended.output, gil=job.how == "gil")


def last_words(ended: Ended) -> str:
    """What py-spy said of its failure, without the stack that follows."""
    if ended.ok:
        return ""
    head = ended.words.partition("Stack backtrace")[0]
    return "; ".join(line.strip() for line in head.splitlines() if line.strip())


def _identified(parsed: Parsed, there: set[int]) -> list[Sample]:
    """Stacks with the kernel's id of their thread; one of an id that no thread of the process has is left out."""
    addresses = {one.pthread for one in parsed.seen if one.tid is None and one.pthread is not None}
    by_address = tids_by_pthread(there, addresses) if addresses else {}
    named = ((by_address.get(one.pthread or 0) if one.tid is None else one.tid, one) for one in parsed.seen)
    return [(tid, one) for tid, one in named if tid is not None and tid in there]


def _moved_out(parsed: Parsed, inner: dict[int, int]) -> Parsed:
    """The same with the ids that we see; py-spy looks for states under the wrong ones and calls all active."""
    seen = [
        replace(one, tid=inner.get(one.tid, -1), active=None) if one.tid is not None else one
        for one in parsed.seen
    ]
    return replace(parsed, seen=seen)


def _samples(found: list[Sample]) -> int:
    return sum(one.samples for _, one in found)
