"""All rules, and which of their findings comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corelens.reports.facts.facts import Facts
from corelens.reports.findings import HEALTHY, Diagnosis, Finding
from corelens.reports.rules import (
    capped_native_threads,
    cpu_affinity,
    cpu_quota,
    data_transfer,
    deadlock,
    doubts,
    fine_grained_tasks,
    gil_contention,
    io_bound,
    late_thread_limit,
    load_imbalance,
    lock_contention,
    memory_pressure,
    nested_sequential,
    process_oversubscription,
    serial_dispatch,
    slot_starvation,
    slow_producer,
    synchronisation_overhead,
    thread_oversubscription,
    worker_churn,
)

Rule = Callable[[Facts], Iterable[Finding]]
RULES: tuple[Rule, ...] = (
    deadlock.check,
    memory_pressure.check,
    lock_contention.check,
    gil_contention.check,
    worker_churn.check,
    slot_starvation.check,
    io_bound.check,
    data_transfer.check,
    fine_grained_tasks.check,
    load_imbalance.check,
    serial_dispatch.check,
    slow_producer.check,
    process_oversubscription.check,
    thread_oversubscription.check,
    synchronisation_overhead.check,
    capped_native_threads.check,
    nested_sequential.check,
    cpu_affinity.check,
    cpu_quota.check,
    late_thread_limit.check,
)

# A finding below either is too small, or too badly proven, to be called the cause.
LEAST_SHARE = 0.10
LEAST_CONFIDENCE = 0.5
# A remedy that buys less is within what two runs of one program differ by on a quiet machine.
LEAST_GAIN = 1.15


def diagnose(facts: Facts) -> Diagnosis:
    """Run every rule and put the first cause first."""
    findings = ranked(finding for rule in RULES for finding in rule(facts))
    first = next((finding for finding in findings if is_cause(finding)), None)
    if first is None:
        doubt = doubts.doubt(facts, findings)
        if doubt is not None:
            return Diagnosis(doubt.slug, doubt.variant, doubt.cause, (doubt, *findings))
        return Diagnosis(HEALTHY, None, "Nothing was found that is worth changing.", findings)
    return Diagnosis(first.slug, first.variant, first.cause, findings)


def is_cause(finding: Finding) -> bool:
    """Whether a finding may be the verdict."""
    return (
        not finding.contributing
        and finding.lost_share >= LEAST_SHARE
        and finding.confidence >= LEAST_CONFIDENCE
        and (finding.gain.factor is None or finding.gain.factor >= LEAST_GAIN)
    )


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Causes before their symptoms, then by what is lost, as far as it is proven."""
    every = sorted(findings, key=lambda finding: -finding.lost_core_s * finding.confidence)
    symptoms = {slug for finding in every if is_cause(finding) for slug in finding.explains}
    return tuple(sorted(every, key=lambda finding: (finding.contributing, finding.slug in symptoms)))
