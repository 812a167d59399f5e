"""A cgroup's CPU quota is smaller than what the program's workers use, so the kernel stops them in every period.

What it sees: a quota in force (of the program's own group or of one above it), enforcement periods that mostly ended
with the group being stopped, and more threads that compute than the quota pays for. Core counts and affinity look
normal meanwhile, which is why pools that are sized by os.cpu_count() come out too large.

Why it costs: every period (100 ms by default) the group's threads run until the quota is used up and are then stopped
together until the next one. Additional workers use the quota up sooner; they add no throughput.

What to do: raise the quota to the number of workers, or size the pool by the quota. The second saves memory and
switching; only the first makes the program faster.

When it is wrong: a few stopped periods at start-up, when everything is imported at once, are no problem; a budget that
is meant to be that small is no fault of the program.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.at_work import AtWork, at_work
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.quotas import Quota
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "cpu-quota"
# Fewer stopped periods than half are bursts, not a quota that is too small all along.
_STOPPED = 0.5
# Less demand than this beyond the quota is within what a period rounds away.
_BEYOND = 1.2
_MOST_GAIN = 5.0


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding, of the quota that stopped the program most."""
    work = at_work(facts)
    found = max(facts.quotas, key=lambda one: one.throttled_share, default=None)
    if work is None or found is None or found.throttled_share < _STOPPED:
        return
    online = float(facts.report.capacity.online_cores)
    could_s = min(work.wanted_s, online * work.length_s)
    if could_s < _BEYOND * work.run_s:
        return
    lost_core_s = min(could_s - work.run_s, online * facts.wall_s)
    wanted = work.wanted_s / work.length_s
    yield Finding(
        slug=SLUG,
        variant="nested-quota" if found.nested else "pool-exceeds-quota",
        cause=_cause(found, work, wanted),
        lost_core_s=lost_core_s,
        lost_share=min(1.0, lost_core_s / facts.capacity_core_s),
        confidence=0.95 if found.throttled_share > 0.8 else 0.8,
        evidence=_evidence(found, work, wanted, online),
        remedy=_remedy(found, work, online),
        gain=_gain(work, could_s, online),
        excluded=(f"affinity: {facts.report.capacity.affinity_cores} cores are allowed",),
        explains=(
            "process-oversubscription",
            "thread-oversubscription",
            "synchronisation-overhead",
            "cpu-affinity",
        ),
    )


def _cause(found: Quota, work: AtWork, wanted: float) -> str:
    where = "a group above its own" if found.nested else "its group"
    return (
        f"The quota of {where} ({found.path}) pays for {found.quota_cores:.3g} cores, while"
        f" {len(work.processes)} process(es) keep {wanted:.1f} threads runnable"
    )


def _evidence(found: Quota, work: AtWork, wanted: float, online: float) -> tuple[Evidence, ...]:
    return (
        Evidence(
            f"{found.throttled_periods} of {found.periods} enforcement periods ended with the group being stopped",
            found.throttled_share, "share", from_s=found.from_s,
        ),
        Evidence(
            f"the program used {work.run_s / work.length_s:.2f} cores while {wanted:.1f} of its threads were runnable",
            wanted, "threads", from_s=work.from_s, until_s=work.until_s,
        ),
        Evidence(f"the machine has {online:.0f} cores online", online, "cores"),
    )  # fmt: skip


def _remedy(found: Quota, work: AtWork, online: float) -> Remedy:
    workers = max(1, len(work.threads))
    enough, fit = min(float(workers), online), max(1, int(found.quota_cores))
    return Remedy(
        f"Raise the quota to {enough:.0f} cores, or start {fit} worker(s) instead of {workers}: more than"
        f" {found.quota_cores:.3g} cores are not paid for.",
        (
            f"docker update --cpus={enough:.0f} CONTAINER",
            f"systemctl set-property UNIT CPUQuota={100 * enough:.0f}%",
            f"max_workers = {fit}  # instead of os.cpu_count()",
        ),
        "the setting of the container, unit or batch job; or Python, where the pool is made",
    )


def _gain(work: AtWork, could_s: float, online: float) -> Gain:
    factor = could_s / max(work.run_s, 1e-9)
    return Gain(
        min(factor, _MOST_GAIN),
        f"without the quota the runnable threads could use {could_s / work.length_s:.2f} of {online:.0f} cores instead"
        f" of {work.run_s / work.length_s:.2f}; fewer workers alone gain nothing",
        at_least=factor > _MOST_GAIN,
    )
