"""Memory is short: pages are evicted and read again all the time.

What it sees: workers that block on pages which are not in memory, a high rate of major page faults, and the reason:
the memory of their cgroup is at its limit, or the machine swaps, or it has hardly any memory left. Their user time is
small; the kernel's time for finding pages to evict is large.

Why it costs: a touch of memory that takes a tenth of a microsecond takes a hundred when the page comes from a fast
disk, and thousands from a slow one. Each worker evicts what another needs next, so that more workers make it worse.

What to do: give the group more memory than the working set of all workers together, or make that smaller: fewer
workers, blocks that are worked through one after the other, smaller types, one shared mapping in place of copies.

When it is wrong: a file that is read for the first time has major faults as well, without pressure; that is waiting
for the disk. A group at its limit that holds cached files only is healthy: the kernel drops them for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.device_waits import DeviceWaits, device_waits, major_faults, read_bytes
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.stretches import capacity_core_s
from corelens.reports.facts.waits import PAGING
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "memory-pressure"

# Blocked on pages for less than this part of their lives, workers lose less than that.
LEAST_SHARE = 0.15
# A program that starts reads its libraries with some hundred major faults in all, never so many each second.
LEAST_FAULTS_PER_S = 100.0
# A page that is in memory and only has to be mapped: about a microsecond of kernel time.
MINOR_FAULT_S = 1e-6
BIG_GAIN = 5.0
_MIB = 1 << 20


def check(facts: Facts) -> Iterator[Finding]:
    """One finding where workers wait for pages and memory is short."""
    waits = device_waits(facts, PAGING, LEAST_SHARE)
    if waits is None:
        return
    faults = major_faults(facts, waits)
    rate = (faults or 0) / waits.stretch.length_s
    variant = facts.strain.shortage(facts.report.host.memory_bytes)
    if faults is None or rate < LEAST_FAULTS_PER_S or variant is None:
        return
    yield _finding(facts, waits, variant, faults)


def _finding(facts: Facts, waits: DeviceWaits, variant: str, faults: int) -> Finding:
    lost = max(0.0, capacity_core_s(facts, waits.stretch) - waits.user_s)
    limit = facts.strain.limit_bytes
    of = f"the limit of {limit / _MIB:.0f} MiB" if limit else "the memory of the machine"
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=f"The working set of {len(waits.pids)} processes exceeds {of}: pages are evicted and read again.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.9 if facts.strain.near_limit_share or variant == "swap" else 0.7,
        evidence=tuple(_evidence(facts, waits, faults)),
        remedy=_remedy(facts, waits),
        gain=_gain(waits, faults),
        excluded=("a first reading of the file: memory was short while the faults went on",),
        explains=("io-bound", "load-imbalance", "lock-contention", "serial-dispatch"),
    )


def _evidence(facts: Facts, waits: DeviceWaits, faults: int) -> Iterator[Evidence]:
    span, strain = waits.stretch, facts.strain
    when = span.when
    rate = faults / span.length_s
    yield Evidence(f"{faults:,} page faults had to read from disk: {rate:,.0f} a second", rate, "1/s", **when)
    if strain.limit_bytes is not None and strain.used_peak_bytes is not None:
        yield Evidence(
            f"memory of the group was {strain.used_peak_bytes / _MIB:.0f} of {strain.limit_bytes / _MIB:.0f} MiB",
            float(strain.used_peak_bytes), "bytes", **when,
        )  # fmt: skip
    elif strain.swap_grown_bytes:
        yield Evidence(
            f"swap grew by {strain.swap_grown_bytes / _MIB:.0f} MiB", float(strain.swap_grown_bytes), "bytes"
        )
    yield Evidence(
        f"{len(waits.threads)} workers were blocked on pages for {waits.share:.0%} of their time",
        waits.share, "share", **when,
    )  # fmt: skip
    yield Evidence(
        f"they ran {waits.user_s:.1f} s in the program and {waits.system_s:.1f} s in the kernel",
        waits.system_s, "core-s", **when,
    )  # fmt: skip
    read = read_bytes(facts, waits)
    yield Evidence(f"they read {read / _MIB:,.0f} MiB from storage", float(read), "bytes", **when)
    if strain.limit_hits is not None:
        yield Evidence(f"the group ran into its limit {strain.limit_hits:,} times", float(strain.limit_hits))


def _remedy(facts: Facts, waits: DeviceWaits) -> Remedy:
    limit, workers = facts.strain.limit_bytes, len(waits.pids)
    fewer = f", or start fewer than the {workers} workers" if workers > 1 else ""
    if limit is None:
        return Remedy(
            f"Make the working set fit the memory of the machine: work through blocks of it{fewer}.",
            (
                "for block in np.array_split(rows, blocks): process(block)  # each block below the free memory",
            ),
            "Python, in the worker",
        )
    more = 2 * limit // _MIB
    return Remedy(
        f"Raise the memory limit from {limit / _MIB:.0f} MiB to what the workers touch together{fewer}, or let them"
        " work through smaller blocks.",
        (
            f"docker run --memory={more}m …           # container",
            f"systemd-run -p MemoryMax={more}M …      # service",
            f"#SBATCH --mem={more}M                   # batch job",
        ),
        "where the limit is set; double it, and look again",
    )


def _gain(waits: DeviceWaits, faults: int) -> Gain:
    """Without pressure the same pages are found in memory: user time stays, waits and reclaim go."""
    then_s = waits.user_s + faults * MINOR_FAULT_S
    others_s = max(0.0, waits.life_s - waits.waited_s - waits.queue_s - waits.user_s - waits.system_s)
    factor = waits.life_s / max(then_s + others_s, 0.01)
    reasoning = (
        f"of {waits.life_s:.1f} s that the workers lived, {waits.user_s:.1f} s were user time; with the pages in memory"
        f" a fault costs about {MINOR_FAULT_S * 1e6:.0f} us, and the waits and the time for reclaiming are gone"
    )
    if factor > BIG_GAIN:
        return Gain(BIG_GAIN, f"{reasoning}; more than {BIG_GAIN:.0f} times", at_least=True)
    return Gain(max(1.0, factor), reasoning)
