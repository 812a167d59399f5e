"""Synchronisation overhead: threads of a pool that wait for each other, and spin meanwhile."""

from __future__ import annotations

from dataclasses import replace

from corelens.reports.facts.facts import Facts
from corelens.reports.rules import process_oversubscription
from corelens.reports.rules.synchronisation_overhead import SLUG, check
from tests.rule_recordings import fires, nearly


def with_openmp(known: Facts, variables: dict[str, str]) -> Facts:
    """The processes of a recording, with OpenMP teams instead of OpenBLAS pools."""
    processes = tuple(
        replace(
            process,
            variables=variables,
            threads=tuple(
                replace(thread, owner=replace(thread.owner, kind="openmp-gnu"), master_tid=process.pid)
                if thread.owner.kind == "openblas"
                else thread
                for thread in process.threads
            ),
        )
        for process in known.processes
    )
    return replace(known, processes=processes, root=processes[0])


def test_one_caller_with_a_pool_beyond_the_cores_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "regions-too-small"
    assert "split each call over 16 threads" in finding.cause
    assert finding.lost_share > 0.8
    assert (finding.gain.factor, finding.gain.at_least) == (5.0, True)


def test_a_pool_that_fits_the_cores_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_active_waiting_outranks_the_number_of_processes() -> None:
    known = with_openmp(fires(process_oversubscription.SLUG), {"OMP_WAIT_POLICY": "active"})
    (finding,) = check(known)
    assert finding.variant == "active-wait"
    assert finding.evidence[2].statement.startswith("OMP_WAIT_POLICY=active in process")
    assert "unset OMP_WAIT_POLICY" in finding.remedy.paste
    assert not list(process_oversubscription.check(known))


def test_without_the_variable_it_is_the_number_of_processes() -> None:
    known = with_openmp(fires(process_oversubscription.SLUG), {})
    assert not list(check(known))
    (finding,) = process_oversubscription.check(known)
    assert finding.variant == "procs-x-openmp-team"
