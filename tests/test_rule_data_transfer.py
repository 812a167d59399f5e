"""Data transfer: pickling and moving costs more than the work."""

from __future__ import annotations

from dataclasses import replace

from corelens.reports.facts import owned
from corelens.reports.facts.facts import Facts
from corelens.reports.rules.data_transfer import SLUG, check
from tests.made_crews import BOSS, PROGRAM, STANDARD, facts, process, sample, thread, worker
from tests.rule_recordings import fires, nearly

PIPE = ("read", "pipe")


def transfer(*, faults: int = 2_000_000, sending_s: float = 0.0) -> Facts:
    """A parent whose feeder is busy, and two workers that wait for what it sends."""
    feeder = thread(BOSS, 101, kind=owned.PYTHON_HELPER, busy=dict.fromkeys(range(20), 0.9))
    boss = replace(process(thread(), feeder), minor_faults=faults)
    calls: dict[tuple[str, str | None], float] = {PIPE: 7.0 - sending_s, ("write", "pipe"): sending_s}
    workers = [
        replace(
            worker(pid, dict.fromkeys(range(20), 0.3), calls=calls),
            minor_faults=faults,
            user_s=1.0,
            system_s=2.0,
        )
        for pid in (1, 2)
    ]
    return facts(boss, *workers)


def test_arrays_sent_with_every_task_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "large-arguments"
    assert finding.confidence >= 0.5
    assert finding.lost_share > 0.5
    assert finding.gain.factor is not None
    assert finding.gain.factor > 5
    assert any("initializer" in line for line in finding.remedy.paste)


def test_what_only_looks_like_it_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_workers_that_wait_for_room_send_large_results() -> None:
    (finding,) = check(transfer(sending_s=4.0))
    assert finding.variant == "large-results"


def test_stacks_in_pickling_add_confidence_and_work_takes_it() -> None:
    known = transfer()
    dumps = sample(known.root, ("dumps", f"{STANDARD}/multiprocessing/reduction.py"), count=5, tid=101)
    at_work = sample(known.root, ("main", PROGRAM), count=2)
    (plain,), (sure,) = check(known), check(replace(known, samples=(dumps,)))
    (doubtful,) = check(replace(known, samples=(at_work,)))
    assert doubtful.confidence < plain.confidence < sure.confidence
    assert doubtful.against


def test_a_parent_at_work_of_its_own_is_another_cause() -> None:
    known = transfer()
    at_work = sample(known.root, ("main", PROGRAM), count=9)
    assert not list(check(replace(known, samples=(at_work,))))


def test_little_fresh_memory_means_small_messages() -> None:
    assert not list(check(transfer(faults=12_000)))


def test_bytes_count_more_than_pages_where_they_were_recorded() -> None:
    known = transfer()
    told = tuple(
        replace(one, write_chars=3_000_000, write_calls=10_000, read_chars=0, read_calls=0)
        for one in known.processes
    )
    assert not list(check(replace(known, processes=told, root=told[0])))
