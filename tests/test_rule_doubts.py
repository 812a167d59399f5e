"""When a recording without a cause is healthy, and when it cannot tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.owned import Owner
from corelens.reports.findings import HEALTHY, INSUFFICIENT_EVIDENCE
from corelens.reports.rules.doubts import doubt
from corelens.reports.rules.order import diagnose
from tests.made_crews import facts, process, thread, worker

SEEN = {"running": 10.0}
IDLE = {"running": 1.0, "lock": 9.0}


def known(wall_s: float = 10.0, busy: float = 1.0, doing: dict[str, float] | None = None) -> Facts:
    """Two workers that were busy for part of the time."""
    spent = dict.fromkeys(range(round(wall_s / 0.5)), busy)
    boss = process(thread(doing={"lock": 10.0} if doing is None else doing))
    return facts(
        boss, *(worker(pid, spent, doing=SEEN if doing is None else doing) for pid in (1, 2)), wall_s=wall_s
    )


def attached(wall_s: float) -> Facts:
    """The same, attached."""
    made = known(wall_s)
    return replace(made, report=replace(made.report, source=replace(made.report.source, how="attached")))


def test_busy_workers_are_healthy() -> None:
    assert diagnose(known()).verdict == HEALTHY


@pytest.mark.parametrize(
    ("made", "variant"),
    [
        (known(wall_s=0.5), "too-short"),
        (attached(2.0), "attached-briefly"),
        (known(busy=0.1, doing={}), "waits-unseen"),
        (known(busy=0.1, doing=IDLE), "unexplained"),
    ],
)
def test_a_recording_that_cannot_tell_says_what_to_record(made: Facts, variant: str) -> None:
    diagnosis = diagnose(made)
    assert (diagnosis.verdict, diagnosis.variant) == (INSUFFICIENT_EVIDENCE, variant)
    assert diagnosis.findings[0].remedy.paste
    assert diagnosis.findings[0].gain.factor is None


@pytest.mark.parametrize(
    ("kind", "wait_s", "variant"),
    [("unknown", 50.0, "owners-unseen"), ("python", 50.0, None), ("unknown", 1.0, None)],
    ids=["crowd of unknown threads", "crowd of known threads", "no crowd"],
)
def test_a_crowd_of_threads_that_nobody_could_name_is_doubted(
    kind: str, wait_s: float, variant: str | None
) -> None:
    made = known()
    cpu = replace(made.report.cpu, used_core_s=18.0, run_queue_wait_s=wait_s)
    processes = tuple(
        replace(
            one, threads=tuple(replace(each, owner=Owner(kind, kind, None, None)) for each in one.threads)
        )
        for one in made.processes
    )
    doubted = doubt(replace(made, report=replace(made.report, cpu=cpu), processes=processes))
    assert (doubted and doubted.variant) == variant


def test_longer_attached_recordings_are_enough() -> None:
    assert doubt(attached(8.0)) is None


def test_a_damaged_file_cannot_tell() -> None:
    made = known()
    source = replace(made.report.source, damage=("bytes 1 to 2 are damaged",) * 3)
    found = doubt(replace(made, report=replace(made.report, source=source)))
    assert found is not None
    assert found.variant == "damaged"


def test_workers_that_wait_for_the_world_do_their_work_so() -> None:
    assert doubt(known(busy=0.1, doing={"running": 1.0, "socket": 9.0})) is None


def test_a_service_that_nobody_asks_is_healthy() -> None:
    made = known(busy=0.1, doing=IDLE)
    main = replace(made.root.threads[0], doing={"poll": 9.5})
    root = replace(made.root, threads=(main,))
    assert diagnose(replace(made, root=root, processes=(root, *made.processes[1:]))).verdict == HEALTHY
