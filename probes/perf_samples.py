"""The optional perf probe: which code is on a core, by file and place in it, sampled by the kernel.

It tells a thread that spins at a barrier from one that computes, which no counter of the scheduler does. Names are
given on reading.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.limits import online_cores
from corelens.probes.mapped_elf import MappedElf
from corelens.probes.perf_ring import Ring
from corelens.probes.probe import Moment
from corelens.probes.process_maps import Image, Maps, read_maps
from corelens.probes.process_memory import Memory
from corelens.vocabulary import Line, columnar_line

DEFAULT_PERIOD_NS = 1_000_000_000
# No divisor of the ticks and periods that programs like, so that nothing stays in step with it.
RATE_HZ = 49
# Each thread of a process that runs already takes a descriptor for each core.
_MOST_EVENTS = 2048
# Functions begin at multiples of it, so samples of two are not put together.
_GRAIN_BYTES = 16

_Module = tuple[str, str | None, int | None]


class PerfProbe:
    """Samples the process `root_pid` and its children to come; `attached`: also those that it has."""

    name = "perf"

    def __init__(
        self,
        root_pid: int,
        proc: Path = procfs.PROC,
        period_ns: int = DEFAULT_PERIOD_NS,
        *,
        attached: bool = False,
        rate_hz: int = RATE_HZ,
    ) -> None:
        self.period_ns = period_ns
        self._proc = proc
        self._attached = attached
        self._rings = [Ring(core, rate_hz) for core in online_cores(proc)]
        self._maps: dict[int, Maps | None] = {}
        self._modules: dict[_Module, int] = {}
        self._by_image: dict[tuple[int, Image], int] = {}
        self._events = 0
        self._trouble: OSError | None = None
        self._root_pid = root_pid
        self._gaps = Gaps(self.name)
        self._open(root_pid)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Take what was sampled since the last look."""
        if self._attached:
            self._attached = False
            for pid in moment.processes.keys() - {self._root_pid}:
                self._open(pid)
        yield from self._tell_trouble(moment.t_ns)
        counts = Counter(sample for ring in self._rings for sample in ring.take())
        known = len(self._modules)
        rows = self._rows(counts)
        if fresh := list(self._modules.items())[known:]:
            named = [(number, *module) for module, number in fresh]
            yield columnar_line("perf.modules", moment.t_ns, named)
        if rows:
            yield columnar_line("perf.samples", moment.t_ns, rows)
        # Only now: the last samples of a process are taken after its end.
        for pid in self._maps.keys() - moment.processes.keys():
            del self._maps[pid]
            self._by_image = {key: number for key, number in self._by_image.items() if key[0] != pid}

    def close(self) -> None:
        """End the sampling."""
        for ring in self._rings:
            ring.close()

    def _open(self, pid: int) -> None:
        try:
            tids = [int(name) for name in os.listdir(f"{self._proc}/{pid}/task")]  # noqa: PTH208
            for tid in tids:
                if self._events + len(self._rings) > _MOST_EVENTS:
                    return
                for ring in self._rings:
                    ring.open(tid)
                self._events += len(self._rings)
        except OSError as error:
            self._trouble = error

    def _tell_trouble(self, t_ns: int) -> Iterator[Line]:
        if self._trouble is not None:
            error, self._trouble = self._trouble, None
            reason = procfs.reason_of(error)
            yield from self._gaps.say(t_ns, None, "code on the cores", reason, error.strerror or "")
        if self._events + len(self._rings) > _MOST_EVENTS:
            detail = (
                f"only the first threads of the running program are sampled ({_MOST_EVENTS} event counters)"
            )
            yield from self._gaps.say(t_ns, None, "code of every thread", "descriptors", detail)
        lost = sum(ring.lost for ring in self._rings)
        if lost:
            detail = "some samples came faster than they were taken"
            yield from self._gaps.say(t_ns, None, "all samples of code", "late", detail)

    def _rows(
        self, counts: Counter[tuple[int, int, int]]
    ) -> list[tuple[int, int, int | None, int | None, int]]:
        together: Counter[tuple[int, int, int | None, int | None]] = Counter()
        asked: set[int] = set()
        for (pid, tid, address), samples in counts.items():
            image = self._image(pid, address, asked)
            if image is None:
                together[pid, tid, None, None] += samples
            else:
                offset = (address - image.header) // _GRAIN_BYTES * _GRAIN_BYTES
                together[pid, tid, self._module(pid, image), offset] += samples
        return [(*key, samples) for key, samples in together.items()]

    def _image(self, pid: int, address: int, asked: set[int]) -> Image | None:
        """The file that an address lies in; mappings are read at most once a look for each process."""
        maps = self._maps.get(pid)
        found = maps.at(address) if maps is not None else None
        if found is None and pid not in asked:
            asked.add(pid)
            try:
                maps = self._maps[pid] = read_maps(f"{self._proc}/{pid}")
            except procfs.Unreadable:
                return None
            found = maps.at(address)
        return None if found is None else found.image

    def _module(self, pid: int, image: Image) -> int:
        number = self._by_image.get((pid, image))
        if number is None:
            size = _size(f"{self._proc}/{pid}/root{image.path}")
            module = (image.path, self._build_id(pid, image), size)
            number = self._by_image[pid, image] = self._modules.setdefault(module, len(self._modules))
        return number

    def _build_id(self, pid: int, image: Image) -> str | None:
        try:
            memory = Memory(f"{self._proc}/{pid}")
        except procfs.Unreadable:
            return None
        try:
            return MappedElf(memory.read, image.header).build_id()
        except (ValueError, procfs.Unreadable):
            return None
        finally:
            memory.close()


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None
