"""Kernel ids of threads that are known by the address of their descriptor, as Python before 3.11 knows them.

glibc keeps the list of robust mutexes of each thread at a fixed place in its descriptor (struct pthread), and the
kernel tells where each thread's list is. The distance is not assumed: it is found, and believed only when it
leads from every address to a thread.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping

from corelens.probes.robust_list import Refused, RobustList

_LARGEST_DESCRIPTOR_BYTES = 4096


def tids_by_pthread(tids: Iterable[int], addresses: set[int]) -> dict[int, int]:
    """Thread id by address; empty where they cannot be joined without doubt."""
    return joined(robust_lists(tids), addresses)


def joined(lists: Mapping[int, int], addresses: set[int]) -> dict[int, int]:
    """Join thread id to robust list with addresses of descriptors.

    One thread that ended in between may be missing, more may not.
    """
    distances = Counter(
        place - address
        for address in addresses
        for place in lists.values()
        if 0 < place - address < _LARGEST_DESCRIPTOR_BYTES
    )
    if not distances:
        return {}
    distance, times = distances.most_common(1)[0]
    if times < max(1, len(addresses) - 1):
        return {}
    by_place = {place: tid for tid, place in lists.items()}
    return {address: tid for address in addresses if (tid := by_place.get(address + distance)) is not None}


def robust_lists(tids: Iterable[int]) -> dict[int, int]:
    """Where the robust list of each thread is, of those that the kernel tells about."""
    robust = RobustList()
    found: dict[int, int] = {}
    for tid in tids:
        with contextlib.suppress(Refused):
            if head := robust.head(tid):
                found[tid] = head
    return found
