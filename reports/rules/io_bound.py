"""Workers wait for a device or a remote side, and cores stay idle.

What it sees: workers that are blocked most of their time in fsync, in reading or writing files, on pages that come from
disk for the first time, or in reading replies over the network, with little CPU of their own and nobody else on the
idle cores. Waits of microseconds are seen too: the scheduler counts for how long a thread wanted no core, also where no
look met it in a call.

Why it costs: a sync waits until the device says that the data are safe, however few they are; a request waits for the
whole way to the other side and back. The core is free meanwhile and nobody uses it. More workers on one device share
what it can do.

What to do: fewer, larger operations. Sync once per batch in place of once per record; read ahead while the last block
is worked on; keep more requests in flight where the other side allows it.

When it is wrong: a pool with many requests in flight is how waiting is meant to be done, and is left alone. Sleeping
between attempts to get a lock, or waiting for pages because memory is short, have other causes. Whether the remote side
could answer faster cannot be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.blocking import alive_s
from corelens.reports.facts.device_waits import (
    SYNC_CALLS,
    DeviceWaits,
    device_waits,
    major_faults,
    read_bytes,
    write_bytes,
)
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.lock_waits import served
from corelens.reports.facts.places import samples_of, top_place
from corelens.reports.facts.stretches import busy_core_s, capacity_core_s, idle_core_s
from corelens.reports.facts.waits import CHILD, DISK, LOCK, PAGING, PIPE, SOCKET
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "io-bound"

# A worker that waits for less than this part of its life does more work than waiting.
LEAST_SHARE = 0.30
# Network waits only matter where there is hardly anything else.
LEAST_REMOTE_SHARE = 0.70
# With more requests in flight than this for each core, concurrency was thought of.
ENOUGH_IN_FLIGHT_PER_CORE = 4
# A program that leaves less than this of its cores idle has no use for more.
BUSY = 0.25
# Records to one sync: a sync then costs a hundredth for each.
BATCH = 100
BIG_GAIN = 5.0
_MIB = 1 << 20
_CALLER_WAITS = (LOCK, CHILD, PIPE)


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each of disk, pages and network."""
    disk = device_waits(facts, DISK, LEAST_SHARE)
    if disk is not None:
        yield _of_disk(facts, disk)
    pages = device_waits(facts, PAGING, LEAST_SHARE)
    if pages is not None and facts.strain.shortage(facts.report.host.memory_bytes) is None:
        yield _of_pages(facts, pages)
    remote = device_waits(facts, SOCKET, LEAST_REMOTE_SHARE)
    if remote is not None and _too_few(facts, remote):
        yield _of_remote(facts, remote)


def _of_disk(facts: Facts, waits: DeviceWaits) -> Finding:
    syncs = sum(spent for call, spent in waits.calls.items() if call in SYNC_CALLS)
    synced = syncs >= sum(waits.calls.values()) / 2
    place = top_place(samples_of(facts, [p for p in facts.processes if p.pid in waits.pids]), _tids(waits))
    where = f" in {place}" if place else ""
    what = "until the disk has synced what they wrote" if synced else "for reads and writes of files"
    return _finding(
        facts, waits, "fsync-disk" if synced else "file-io",
        f"{len(waits.threads)} workers wait {what}{where}.",
        _sync_remedy(waits) if synced else _READ_REMEDY,
        _sync_gain(waits) if synced else _overlap_gain(waits),
        0.85,
        avoidable_s=waits.system_s if synced else 0.0,
    )  # fmt: skip


def _of_pages(facts: Facts, waits: DeviceWaits) -> Finding:
    faults = major_faults(facts, waits) or 0
    per_worker = f"{faults:,} page faults with disk"
    return _finding(
        facts, waits, "page-in",
        f"{len(waits.threads)} workers wait for pages that are read from disk one at a time ({per_worker}).",
        Remedy(
            "Let the kernel read ahead: read the file in large blocks, or announce the range before it is touched.",
            (
                "mapping.madvise(mmap.MADV_WILLNEED)   # and not MADV_RANDOM",
                "array = np.fromfile(path, dtype)      # in place of np.memmap, where it fits memory",
            ),
            "Python, after the mapping is made",
        ),
        _overlap_gain(waits),
        0.7 if faults >= 100 else 0.4,
        avoidable_s=0.0,
    )  # fmt: skip


def _too_few(facts: Facts, waits: DeviceWaits) -> bool:
    """Whether the caller waits for a handful of requests while the cores are idle."""
    cores = capacity_core_s(facts, waits.stretch) / waits.stretch.length_s
    if len(waits.threads) >= ENOUGH_IN_FLIGHT_PER_CORE * cores or served(facts) is not None:
        return False
    busy = busy_core_s(facts, waits.stretch) / waits.stretch.length_s
    return busy <= BUSY * cores and _caller_waits(facts, waits)


def _caller_waits(facts: Facts, waits: DeviceWaits) -> bool:
    """A caller that waits for its workers wants them to be fast; one that listens for requests does not."""
    main = next((thread for thread in facts.root.threads if thread.tid == facts.root.pid), None)
    if main is None:
        return False
    if main in waits.threads:
        return len(waits.threads) == 1
    waited = sum(main.doing.get(what, 0.0) for what in _CALLER_WAITS)
    return waited >= 0.5 * alive_s(main, facts.wall_s)


def _of_remote(facts: Facts, waits: DeviceWaits) -> Finding:
    cores = capacity_core_s(facts, waits.stretch) / waits.stretch.length_s
    busy = max(busy_core_s(facts, waits.stretch) / waits.stretch.length_s, 0.01)
    count = len(waits.threads)
    factor = min(4.0, cores / busy)
    return _finding(
        facts, waits, "remote",
        f"Only {count} requests are in flight at a time; workers wait for the remote side and the cores are idle.",
        Remedy(
            f"Keep {4 * count} requests in flight in place of {count}; while one waits, another can be sent.",
            (f"ThreadPoolExecutor(max_workers={4 * count})",
             "# or one thread with asyncio: await asyncio.gather(*map(fetch, urls))"),
            "Python, where the workers are made",
        ),
        Gain(factor, f"four times as many in flight, while {busy:.2f} of {cores:.1f} cores are busy; if the remote side"
             " answers as fast then"),
        0.55 if count > 1 else 0.45,
        avoidable_s=0.0,
    )  # fmt: skip


def _tids(waits: DeviceWaits) -> set[int]:
    return {thread.tid for thread in waits.threads}


def _finding(
    facts: Facts,
    waits: DeviceWaits,
    variant: str,
    cause: str,
    remedy: Remedy,
    gain: Gain,
    confidence: float,
    avoidable_s: float,
) -> Finding:
    lost = min(idle_core_s(facts, waits.stretch), waits.waited_s) + avoidable_s
    against = tuple(_against(waits))
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=cause,
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=max(0.1, confidence - 0.3 * len(against)),
        evidence=tuple(_evidence(facts, waits)),
        remedy=remedy,
        gain=gain,
        against=against,
        excluded=(f"lack of cores: the workers waited {waits.queue_s:.1f} s for one",),
        explains=("load-imbalance", "serial-dispatch"),
    )


def _evidence(facts: Facts, waits: DeviceWaits) -> Iterator[Evidence]:
    span = waits.stretch
    when = span.when
    calls = " and ".join(sorted(waits.calls, key=lambda call: -waits.calls[call])[:2]) or waits.what
    yield Evidence(
        f"{len(waits.threads)} workers were blocked in {calls} for {waits.share:.0%} of their time",
        waits.share, "share", **when,
    )  # fmt: skip
    busy = busy_core_s(facts, span) / span.length_s
    cores = capacity_core_s(facts, span) / span.length_s
    yield Evidence(f"{busy:.2f} of {cores:.1f} cores were busy", busy, "cores", **when)
    if waits.blocks_per_s is not None:
        rate = waits.blocks_per_s
        yield Evidence(f"they blocked {rate:,.0f} times a second", rate, "1/s", **when)
    for verb, amount in (("wrote", write_bytes(facts, waits)), ("read", read_bytes(facts, waits))):
        if amount >= _MIB:
            yield Evidence(
                f"they {verb} {amount / _MIB:,.0f} MiB of storage: {amount / _MIB / span.length_s:,.0f} MiB/s",
                float(amount), "bytes", **when,
            )  # fmt: skip
    yield Evidence(
        f"they ran {waits.user_s:.1f} s in the program, {waits.system_s:.1f} s in the kernel",
        waits.user_s, "core-s", **when,
    )  # fmt: skip


def _against(waits: DeviceWaits) -> Iterator[Evidence]:
    if waits.queue_s > waits.waited_s:
        yield Evidence(
            f"they waited longer for a core ({waits.queue_s:.1f} s) than for I/O ({waits.waited_s:.1f} s)",
            waits.queue_s, "s",
        )  # fmt: skip


def _sync_remedy(waits: DeviceWaits) -> Remedy:
    rate = waits.blocks_per_s
    often = f" (now up to {rate:,.0f} a second)" if rate else ""
    return Remedy(
        f"Sync once for {BATCH} records in place of once for each{often}, and once at the end.",
        (
            "batch.append(record)",
            f"if len(batch) == {BATCH}:",
            "    os.write(fd, b''.join(batch)); os.fsync(fd); batch.clear()",
            "# SQLite: one transaction around many inserts, PRAGMA journal_mode=WAL",
        ),
        "Python, where records are written",
    )


_READ_REMEDY = Remedy(
    "Read in larger blocks and ahead of the work, in a thread beside it; move hot files to a local disk.",
    (
        "with ThreadPoolExecutor(1) as ahead:",
        "    later = ahead.submit(read, paths[0])",
        "    for following in [*paths[1:], None]:",
        "        block = later.result()",
        "        later = following and ahead.submit(read, following)",
        "        work(block)",
    ),
    "Python, in the worker",
)


def _sync_gain(waits: DeviceWaits) -> Gain:
    """Waiting, and the kernel's work for it, go with the number of syncs; user time stays."""
    with_syncs_s = waits.waited_s + waits.system_s + waits.queue_s
    then_s = max(0.0, waits.life_s - with_syncs_s) + with_syncs_s / BATCH
    factor = waits.life_s / max(then_s, 0.01)
    reasoning = (
        f"of {waits.life_s:.1f} s that the workers lived, {waits.waited_s:.1f} s were waits for syncs and"
        f" {waits.system_s:.1f} s the kernel's work for them; {BATCH} times fewer syncs leave {then_s:.1f} s"
    )
    if factor > BIG_GAIN:
        return Gain(BIG_GAIN, f"{reasoning}; more than {BIG_GAIN:.0f} times", at_least=True)
    return Gain(max(1.0, factor), reasoning)


def _overlap_gain(waits: DeviceWaits) -> Gain:
    work_s = max(0.0, waits.life_s - waits.waited_s)
    return Gain(
        waits.life_s / max(work_s, waits.waited_s, 0.01),
        f"{waits.waited_s:.1f} s of waiting beside {work_s:.1f} s of everything else, in place of after it; the device"
        " as fast as it was",
    )
