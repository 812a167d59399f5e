"""What crowded native pools cost, and what limiting them would gain."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import Contention
from corelens.reports.findings import Evidence, Gain

# Below it, threads share the cores without standing in each other's way for long.
CROWDED = 1.3
# Pools with less of what is runnable are not what crowds the cores: their callers, or other threads, are.
_POOLS_SHARE = 0.2
# With so many runnable threads per core, a team's slowest thread nearly always waits for a core: measured gains
# of limiting spinning pools were 4.6 (large products, the least sensitive) to 255 from there on.
_HOPELESS = 3.0
# Kernel time of a program that computes; what goes beyond is waking, sleeping and switching.
_ORDINARY_SYSTEM_SHARE = 0.05
# A sleep and a wake-up cost about as much outside the kernel (spinning first, cold caches after) as in it:
# measured 0.9 to 1.3 times over teams of 2, 16 and 32 threads of libgomp.
_OUTSIDE_PER_KERNEL_S = 1.0
_MOST_WASTED = 0.8
SPIN_GAIN = 5.0
# Others taking more of the machine than this could be the reason why threads had to wait.
_OTHERS_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Cost:
    """Core-seconds that pools wasted, what they hide, and how sure that is."""

    lost_core_s: float
    gain: Gain
    confidence: float
    against: tuple[Evidence, ...]


def is_crowded(found: Contention) -> bool:
    """Whether the threads of its pools have to wait for each other's cores."""
    everything = found.runnable * found.window_s
    return found.crowding >= CROWDED and found.pool_wanted_s >= _POOLS_SHARE * everything


def cost(facts: Facts, found: Contention) -> Cost:
    """Judge pools that are crowded."""
    spun_s = found.pool_run_s * found.spin_share
    slept_s = _sleeping_waste(found) * (1 - found.spin_share)
    if found.spin_share < 0.5:
        return _but_others(facts, Cost(slept_s + spun_s, _sleeping_gain(found, slept_s), 0.85, ()))
    if found.crowding >= _HOPELESS or calls_lapack(facts, found):
        return _but_others(facts, Cost(slept_s + spun_s, _spinning_gain(found), 0.9, ()))
    unclear = Evidence(
        "no thread of the pools went to sleep, and calls that take much longer than a time slice would look the same:"
        " they lose little",
        found.crowding,
        "threads per core",
    )
    return _but_others(facts, Cost(slept_s + spun_s, _UNKNOWN, 0.6, (unclear,)))


_UNKNOWN = Gain(
    None,
    "it cannot be told from the recording: calls shorter than a time slice gain more than 5 times, calls of seconds"
    " next to nothing; compare one run with the limit",
)


def calls_lapack(facts: Facts, found: Contention) -> bool:
    """Whether callers were mostly met in linear algebra that is made of many short parallel pieces."""
    lives = [process.life for process in found.processes]
    leaves = [
        (sample.frames[-1].file, sample.samples)
        for sample in facts.samples
        if sample.life in lives and sample.frames and sample.active
    ]
    inside = sum(samples for file, samples in leaves if "/linalg/" in file)
    return bool(leaves) and inside >= sum(samples for _, samples in leaves) / 2


def _sleeping_waste(found: Contention) -> float:
    beyond_s = max(0.0, found.system_s - _ORDINARY_SYSTEM_SHARE * found.used_s)
    return min(beyond_s * (1 + _OUTSIDE_PER_KERNEL_S), _MOST_WASTED * found.used_s)


def _sleeping_gain(found: Contention, wasted_s: float) -> Gain:
    left_s = max(found.used_s - wasted_s, 1e-9)
    return Gain(
        found.used_s / left_s,
        f"of {found.used_s:.1f} core-s, {found.system_s:.1f} went into the kernel, nearly all of it for putting"
        f" threads to sleep and waking them ({found.sleeps_per_s:,.0f} times per second), and about as much into what"
        f" that costs outside the kernel; {left_s:.1f} core-s of work stay",
    )


def _spinning_gain(found: Contention) -> Gain:
    return Gain(
        SPIN_GAIN,
        f"every parallel piece ends when its slowest thread has had a core, and {found.runnable:.1f} runnable threads"
        f" take turns on {found.cores:.3g} cores in slices of {slice_ms(found):.1f} ms, while pieces of work take"
        " microseconds; the others spin meanwhile",
        at_least=True,
    )


def slice_ms(found: Contention) -> float:
    """Mean time for which a thread of the pools kept its core."""
    threads = [thread for team in found.teams for thread in team.threads]
    switches = sum((thread.voluntary or 0) + (thread.involuntary or 0) for thread in threads)
    return 1000 * sum(thread.run_s for thread in threads) / max(switches, 1)


def _but_others(facts: Facts, judged: Cost) -> Cost:
    others = facts.report.cpu.others_cores_mean
    if others is None or others < _OTHERS_SHARE * facts.report.capacity.cores:
        return judged
    said = Evidence(f"programs of others used {others:.1f} cores at the same time", others, "cores")
    return Cost(judged.lost_core_s, judged.gain, judged.confidence - 0.2, (*judged.against, said))
