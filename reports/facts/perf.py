"""Which native code the cores ran, from samples that the kernel took, and how much of it was waiting in a loop.

Samples are of user code alone and of each second on a core alike, so shares are shares of the user time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import PurePosixPath

from corelens.recording import Recording
from corelens.reports.native_code import Perf, PerfPlace, PerfShare

NameOf = Callable[[str, str | None, int | None, int], str | None]
"""Name of the function around a place, by path, build id, size of the file and offset; None where unknown."""

# These hold nothing but starting, sharing out, joining and waiting: what a parallel region computes is compiled into
# the library that has the region.
_RUNTIMES = re.compile(r"^lib(?:gomp|iomp5|omp)\b")
# OpenBLAS waits in these for the next call or for the rest of its threads, yielding the core in between.
_WAITING = re.compile(
    r"^(?:blas_thread_server|exec_blas(?:_async)?(?:_wait)?|__?sched_yield|sched_yield)(?:\.|$)"
)


def no_places(path: str, build_id: str | None, size_bytes: int | None, offset: int) -> str | None:
    """Name nothing: for a reader that has none of the libraries."""
    del path, build_id, size_bytes, offset
    return None


def perf(recording: Recording, name_of: NameOf) -> Perf | None:
    """Sum the samples up; None where the recording has none."""
    modules: dict[int, tuple[str, str | None, int | None]] = {}
    for line in recording.lines("perf.modules"):
        rows = zip(line["module"], line["path"], line["build_id"], line["bytes"], strict=False)
        modules.update((number, (path, build_id, size)) for number, path, build_id, size in rows)
    counts: Counter[tuple[int, PerfPlace]] = Counter()
    threads: dict[tuple[int, PerfPlace], set[int]] = {}
    for line in recording.lines("perf.samples"):
        names = ("pid", "tid", "module", "offset", "samples")
        for pid, tid, module, offset, samples in zip(*(line[name] for name in names), strict=False):
            place = _place(modules.get(module), offset, name_of)
            counts[pid, place] += samples
            threads.setdefault((pid, place), set()).add(tid)
    return _summed(counts, threads) if counts else None


def _summed(counts: Counter[tuple[int, PerfPlace]], threads: dict[tuple[int, PerfPlace], set[int]]) -> Perf:
    by_process: Counter[int] = Counter()
    for (pid, _), samples in counts.items():
        by_process[pid] += samples
    whole = sum(by_process.values())
    return Perf(
        samples=whole,
        waiting_share=sum(samples for (_, place), samples in counts.items() if place.waiting) / whole,
        unknown_share=sum(samples for (_, place), samples in counts.items() if place.library is None) / whole,
        places=tuple(
            PerfShare(pid, place, samples, samples / by_process[pid], len(threads[pid, place]))
            for (pid, place), samples in counts.most_common()
        ),
    )


def _place(
    module: tuple[str, str | None, int | None] | None, offset: int | None, name_of: NameOf
) -> PerfPlace:
    if module is None or offset is None:
        return PerfPlace(None, None, waiting=False)
    library, function = PurePosixPath(module[0]).name, name_of(*module, offset)
    waits = bool(_RUNTIMES.match(library)) or (function is not None and bool(_WAITING.match(function)))
    return PerfPlace(library, function, waits)
