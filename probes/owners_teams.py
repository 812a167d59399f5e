"""Which thread opened the OpenMP team that a libgomp worker belongs to.

libgomp keeps one pool of workers per thread that opens parallel regions. Each worker has, in its thread-local
memory, a pointer to its pool; the pool lists its threads, and the first is the one that opened it: its master.
Where that pointer lies is found once per process, by searching the thread-local memory of one worker for a
pointer to something that lists a place in this very memory; from then on every worker has it at the same distance
from its descriptor. A master is believed only when its descriptor is that of a living thread.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from corelens.probes.owners_descriptor import MACHINE
from corelens.probes.process_memory import HIGHEST_ADDRESS, LOWEST_ADDRESS, WORD_BYTES, Memory

# struct gomp_thread_pool: the list of threads, its size, and how many are in it; libgomp.h.
_POOL = struct.Struct("<QII")
_MOST_WORKERS = 8192
# Thread-local memory lies below the descriptor on x86-64 and above it on aarch64.
_SEARCHED_BYTES = 8192
_BELOW = MACHINE == "x86_64"
# A search reads a thousand words, 2 ms: workers that are in no team must not cost that much each, every time.
_SEARCHES_PER_ROUND = 4


@dataclass(frozen=True, slots=True)
class _Distance:
    """From a thread's descriptor to libgomp's record of it, and to the pointer to its pool."""

    record: int
    pool: int


class Teams:
    """The libgomp teams of one process; `masters` is asked in rounds, each of which reads every pool once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._distances: set[_Distance] = set()
        self._searches_left = 0

    def masters(self, workers: Mapping[int, int], threads: Mapping[int, int]) -> dict[int, int]:
        """Worker to master, both by thread id; those whose master is not found are left out.

        `workers` gives the descriptor of each worker, `threads` the living thread of each descriptor.
        """
        pools: dict[int, tuple[int, ...]] = {}
        found: dict[int, int] = {}
        self._searches_left = _SEARCHES_PER_ROUND
        for tid, descriptor in workers.items():
            master = self._master(descriptor, pools, threads)
            if master is not None and master != tid:
                found[tid] = master
        return found

    def _master(
        self, descriptor: int, pools: dict[int, tuple[int, ...]], threads: Mapping[int, int]
    ) -> int | None:
        # A process can hold two copies of libgomp, each with its own distances.
        for distance in self._distances:
            master = self._through(distance, descriptor, pools, threads)
            if master is not None:
                return master
        if not self._searches_left:
            return None
        self._searches_left -= 1
        for distance in self._search(descriptor):
            master = self._through(distance, descriptor, pools, threads)
            if master is not None:
                self._distances.add(distance)
                return master
        return None

    def _through(
        self,
        distance: _Distance,
        descriptor: int,
        pools: dict[int, tuple[int, ...]],
        threads: Mapping[int, int],
    ) -> int | None:
        pool = self._memory.word(descriptor + distance.pool)
        if pool not in pools:
            pools[pool] = self._records(pool)
        records = pools[pool]
        if descriptor + distance.record not in records:
            return None
        return threads.get(records[0] - distance.record)

    def _search(self, descriptor: int) -> list[_Distance]:
        lowest = descriptor - _SEARCHED_BYTES if _BELOW else descriptor
        data = self._read_local(lowest)
        first = lowest + _SEARCHED_BYTES - len(data) if _BELOW else lowest
        found: list[_Distance] = []
        for place in range(0, len(data) - WORD_BYTES + 1, WORD_BYTES):
            pool = int.from_bytes(data[place : place + WORD_BYTES], "little")
            if pool % WORD_BYTES or not LOWEST_ADDRESS <= pool < HIGHEST_ADDRESS:
                continue
            for record in self._records(pool):
                if first <= record < first + len(data):
                    found.append(_Distance(record - descriptor, first + place - descriptor))
        return found

    def _read_local(self, lowest: int) -> bytes:
        data = self._memory.read(lowest, _SEARCHED_BYTES)
        if data or not _BELOW:
            return data
        # A small stack may begin within; what is next to the descriptor is there.
        return self._memory.read(lowest + _SEARCHED_BYTES // 2, _SEARCHED_BYTES // 2)

    def _records(self, pool: int) -> tuple[int, ...]:
        """libgomp's records of the threads of a pool; empty where this is no pool."""
        head = self._memory.read(pool, _POOL.size)
        if len(head) < _POOL.size:
            return ()
        listed, size, used = _POOL.unpack(head)
        if not 0 < used <= size <= _MOST_WORKERS or listed % WORD_BYTES or listed < LOWEST_ADDRESS:
            return ()
        data = self._memory.read(listed, WORD_BYTES * used)
        return struct.unpack(f"<{used}Q", data) if len(data) == WORD_BYTES * used else ()
