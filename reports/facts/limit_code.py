"""Limits that code sets while it runs: torch.set_num_threads, threadpoolctl and their like.

Nobody tells of these calls. They show where a library has another number of threads than its variables and
the machine give it, or another than it had before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corelens.reports.facts.limit_readers import LIBGOMP, OPENBLAS, TORCH, winner
from corelens.reports.facts.limit_verdicts import (
    NOT_INHERITED,
    OVERRIDDEN,
    SET_TOO_LATE,
    TOOK_EFFECT,
    UNKNOWN,
    Reading,
    Verdict,
    bounded,
    physical_sizes,
)


@dataclass(frozen=True, slots=True)
class Set:
    """A number of threads that code asked for."""

    threads: int
    lasting: bool
    """False where the library had its former number again at the end."""


def set_by_code(reading: Reading) -> Set | None:
    """What code asked of a library; None where its size can be explained without, or is not known.

    A call that asks for what the library had anyway leaves no trace.
    """
    sizes = reading.sizes
    if not sizes or reading.library.name == LIBGOMP:
        # The number that a new thread gets from libgomp is the one read from its variables, for good.
        return None
    changed = [size for size in sizes if size != sizes[0]]
    if changed:
        return Set(changed[-1], lasting=sizes[-1] != sizes[0])
    given = _given(reading)
    return None if not given or sizes[0] in given else Set(sizes[0], lasting=True)


def on_torch_call(asked: Set, larger_at_work: Sequence[int]) -> Verdict:
    """Judge torch.set_num_threads; `larger_at_work` are sizes of larger teams that worked after it."""
    if not asked.lasting:
        return Verdict(TOOK_EFFECT, "it held for a while and was taken back")
    if larger_at_work:
        teams = f"{len(larger_at_work)} thread{'s' if len(larger_at_work) > 1 else ''}"
        return Verdict(
            SET_TOO_LATE,
            f"{teams} had used torch before and kept teams of up to {max(larger_at_work)};"
            f" a thread that is new to torch gets {asked.threads}",
            "call it before any other thread uses torch",
        )
    return Verdict(TOOK_EFFECT, f"a thread that is new to torch gets {asked.threads}")


def on_call(reading: Reading, asked: Set) -> Verdict:
    """Judge a call that sets the size of a pool which the whole process shares."""
    if not asked.lasting:
        return Verdict(TOOK_EFFECT, "it held for a while and was taken back")
    if reading.library.name == OPENBLAS:
        return Verdict(TOOK_EFFECT, "OpenBLAS has one number for the whole process")
    return Verdict(TOOK_EFFECT, f"it has {asked.threads} now")


def on_threadpoolctl(
    reading: Reading, asked: int, torch_set: Set | None, larger_at_work: Sequence[int] | None
) -> Verdict | None:
    """Judge what threadpoolctl, seen at work on OpenBLAS, did to OpenMP teams.

    `larger_at_work` are sizes of larger teams that worked meanwhile, None where nobody looked for teams. The
    answer is None where a new thread would not get more anyway.

    Its OpenMP limit belongs to the thread that entered it. Where torch.set_num_threads was called, torch sets
    that number anew in every thread at its first use (init_num_threads in ParallelOpenMP.cpp).
    """
    size = reading.size or 0
    fix = f"call torch.set_num_threads({asked}) before other threads start"
    if larger_at_work is None:
        alone = (
            f"it limits OpenMP only in the thread that enters it, another gets {size}; no team was looked for"
        )
        return Verdict(UNKNOWN, alone, fix) if size > asked else None
    if not larger_at_work:
        return Verdict(TOOK_EFFECT, "no larger team worked while it held")
    largest = max(larger_at_work)
    if reading.library.name == TORCH and torch_set is not None and torch_set.threads > asked:
        return Verdict(
            OVERRIDDEN,
            f"torch.set_num_threads({torch_set.threads}) comes over it at each thread's first use of torch,"
            f" which then has a team of {largest}",
            fix,
        )
    return Verdict(
        NOT_INHERITED,
        f"it limits OpenMP only in the thread that enters it; another thread has a team of {largest}",
        fix,
    )


def on_seen_pool(reading: Reading, threads: int) -> Verdict | None:
    """Judge torch.set_num_threads where only the pool that it makes was seen, from outside.

    None where the size of that pool is what torch would choose by itself.
    """
    if threads in _given(reading):
        return None
    told = f"torch's pthreadpool has {threads} threads, as torch.set_num_threads({threads}) makes it"
    if reading.observed == threads:
        return Verdict(TOOK_EFFECT, f"{told}, and so has the largest team")
    if reading.observed is not None and reading.observed > threads:
        return Verdict(
            SET_TOO_LATE,
            f"{told}, but a team of {reading.observed} threads lives",
            "call it before any other thread uses torch",
        )
    return Verdict(UNKNOWN, f"{told}; no team of that size was seen")


def _given(reading: Reading) -> set[int]:
    """Sizes that variables and machine can give a library by themselves; empty where that is not known."""
    if reading.at_load is None:
        return set()
    first = winner(reading.library, reading.at_load)
    if first is not None:
        return {first[1], bounded(reading, first[1])[0]}
    cores = reading.cores
    if cores.allowed is None or cores.online is None:
        return set()
    given = {cores.allowed, cores.online, cores.physical or cores.online, *physical_sizes(reading)}
    most = [bound for bound in (reading.library.most, reading.library.most_unasked) if bound is not None]
    return given | {min(count, *most) for count in given if most}
