"""Memory of each process over time, of the workers, and of all together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

from corelens.recording import Recording
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.spread import spread
from corelens.reports.report import Memory

# An end sorts behind a reading of the same moment.
_READ, _ENDED = 0, 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """Largest sizes per process in bytes, and the resident sets of all together as a step function."""

    rss: dict[Life, int]
    pss: dict[Life, int]
    major_faults: dict[Life, int]
    tree: tuple[tuple[int, int], ...]


def sizes(recording: Recording, lives: Lives) -> Sizes:
    """Read the slow counters of every process."""
    now: dict[Life, list[tuple[int, int]]] = {}
    faults: dict[Life, tuple[int, int]] = {}
    for line in recording.lines("process.detail"):
        t_ns = line["t_ns"]
        for pid, rss, major in zip(line["pid"], line["rss_bytes"], line["major_faults"], strict=False):
            life = lives.at(pid, t_ns)
            if life is None:
                continue
            base, _ = faults.get(life, (major if life.began_before else 0, 0))
            faults[life] = (base, major)
            if rss is not None:
                now.setdefault(life, []).append((t_ns, rss))
    return Sizes(
        rss={life: max(size for _, size in read) for life, read in now.items()},
        pss=_pss(recording, lives),
        major_faults={life: max(0, last - base) for life, (base, last) in faults.items()},
        tree=tuple(_together(now)),
    )


def memory(workers: Iterable[Life], root: Life, sizes: Sizes) -> Memory:
    """Memory per worker, or of the main process where no process is a worker."""
    of = list(workers)
    chosen = of or [root]
    return Memory(
        workers=len(of),
        of="workers" if of else "main process",
        rss_bytes=spread(sizes.rss[life] for life in chosen if life in sizes.rss),
        pss_bytes=spread(sizes.pss[life] for life in chosen if life in sizes.pss),
        tree_peak_rss_bytes=max((size for _, size in sizes.tree), default=None),
    )


def _pss(recording: Recording, lives: Lives) -> dict[Life, int]:
    largest: dict[Life, int] = {}
    for line in recording.lines("memory"):
        for pid, pss in zip(line["pid"], line["pss_bytes"], strict=False):
            life = lives.at(pid, line["t_ns"])
            if life is not None and pss is not None:
                largest[life] = max(largest.get(life, 0), pss)
    return largest


def _together(read: dict[Life, list[tuple[int, int]]]) -> Iterable[tuple[int, int]]:
    """Sum over processes of the last size read, until each ends."""
    readings = [(t_ns, _READ, life, size) for life, sizes in read.items() for t_ns, size in sizes]
    ends = [(life.died_ns, _ENDED, life, 0) for life in read if life.died_ns is not None]
    current: dict[Life, int] = {}
    total = 0
    # What one look reads is of one moment: none of it is a total by itself.
    moment = itemgetter(0, 1)
    for (t_ns, _), together in itertools.groupby(sorted([*readings, *ends], key=moment), key=moment):
        for *_, life, size in together:
            total += size - current.get(life, 0)
            current[life] = size
        yield t_ns, total
