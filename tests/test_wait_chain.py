"""Which waits nobody can end, from values."""

from __future__ import annotations

from dataclasses import replace

from corelens.reports.facts import waits
from corelens.reports.facts.stack_samples import Frame
from corelens.reports.facts.wait_chain import Place, Scene, endless, judged, may_await_signal, sentence, where
from corelens.vocabulary import columnar_line

PARENT, CHILD = 100, 200
JOIN = Place(PARENT, PARENT, "wait4", waits.CHILD, timed=False, waits_for=(("child", str(CHILD)),))
WRITE = Place(CHILD, CHILD, "write", waits.PIPE, timed=False, waits_for=(("out", "pipe:[7]"),))
LOCK = Place(CHILD, CHILD, "futex", waits.LOCK, timed=False, address=0x7000, shared=False)
FAMILY = {PARENT: None, CHILD: PARENT}
ENDS: dict[tuple[str, str], frozenset[int] | None] = {("out", "pipe:[7]"): frozenset({PARENT})}


def scene(*places: Place, ends: dict[tuple[str, str], frozenset[int] | None] | None = None) -> Scene:
    return Scene(places, FAMILY, ENDS if ends is None else ends)


def test_a_parent_that_joins_the_child_which_it_must_read_never_goes_on() -> None:
    assert endless(scene(JOIN, WRITE)) == (JOIN, WRITE)


def test_a_reader_outside_may_end_it() -> None:
    assert endless(scene(JOIN, WRITE, ends={("out", "pipe:[7]"): None})) == ()


def test_a_file_that_nobody_was_asked_about_may_lead_outside() -> None:
    assert endless(scene(JOIN, WRITE, ends={})) == ()


def test_a_thread_of_the_parent_that_can_move_may_move_everybody() -> None:
    sleeper = Place(PARENT, 101, "clock_nanosleep", waits.SLEEP, timed=True)
    assert endless(scene(JOIN, WRITE, sleeper)) == ()


def test_a_thread_that_can_move_does_not_reach_a_lock_of_another_process() -> None:
    sleeper = Place(PARENT, PARENT, "clock_nanosleep", waits.SLEEP, timed=True)
    assert endless(scene(sleeper, LOCK)) == (LOCK,)


def test_a_lock_with_a_timeout_ends_by_itself() -> None:
    assert endless(scene(JOIN, replace(LOCK, timed=True))) == ()


def test_a_wait_for_the_interpreter_lock_ends_when_its_holder_moves_however_often_it_looks() -> None:
    waiting = Place(CHILD, 201, "futex", waits.GIL, timed=True, address=0x8000, shared=False)
    assert endless(scene(JOIN, LOCK, waiting)) == (JOIN, LOCK, waiting)


def test_a_lock_in_shared_memory_can_be_opened_by_any_process() -> None:
    reader = Place(PARENT, PARENT, "read", waits.TERMINAL, timed=False)
    shared = replace(LOCK, shared=True, waits_for=(("memory", "0:1+0"),))
    assert endless(scene(reader, shared)) == ()
    assert endless(scene(JOIN, shared)) == (JOIN, shared)


def test_who_is_alone_with_a_pipe_that_was_not_looked_at_may_read_what_somebody_outside_writes() -> None:
    alone = Place(PARENT, PARENT, "read", waits.PIPE)
    assert endless(Scene((alone,), {PARENT: None}, {}, looked=False)) == ()


def test_a_lone_thread_in_a_librarys_wait_may_await_a_signal_but_not_one_that_takes_a_lock() -> None:
    own, library = Frame("main", "/app/run.py", 3), Frame("wait", "/usr/lib/python3.11/threading.py", 9)
    one = Place(PARENT, PARENT, "futex", waits.LOCK, timed=False, address=1, shared=False)
    assert may_await_signal(Scene((replace(one, stack=(own, library)),), {PARENT: None}, {}))
    assert not may_await_signal(Scene((replace(one, stack=(own,)),), {PARENT: None}, {}))


def test_a_place_is_named_by_the_programs_own_code_and_what_it_called() -> None:
    stack = (
        Frame("<module>", "/app/run.py", 20),
        Frame("Popen._launch", "/usr/lib/python3.11/multiprocessing/popen_fork.py", 71),
        Frame("BaseProcess._bootstrap", "/usr/lib/python3.11/multiprocessing/process.py", 314),
        Frame("work", "/app/jobs.py", 7),
        Frame("Queue.get", "/usr/lib/python3.11/multiprocessing/queues.py", 103),
    )
    assert where(replace(LOCK, stack=stack)) == "work (jobs.py:7) -> Queue.get"
    assert where(LOCK) is None


def test_the_chain_is_told_in_one_sentence_a_wait() -> None:
    family = scene(JOIN, WRITE)
    assert sentence(JOIN, family) == "main thread of process 100 waits for the end of process 200"
    assert sentence(WRITE, family) == (
        "main thread of process 200 waits for room in a full pipe, to be read by process 100"
    )


def test_a_look_is_judged_by_its_lines() -> None:
    rows = [
        (PARENT, PARENT, "wait4", False, None, [["child", str(CHILD)]], None, None),
        (CHILD, CHILD, "write", False, None, [["out", "pipe:[7]"]], None, None),
    ]
    looked = columnar_line("standstill.waits", 0, rows)
    inside = columnar_line("standstill.ends", 0, [("out", "pipe:[7]", PARENT)])
    outside = columnar_line("standstill.ends", 0, [("out", "pipe:[7]", PARENT), ("out", "pipe:[7]", None)])
    assert judged([looked, inside], FAMILY) is not None
    assert judged([looked, outside], FAMILY) is None
    assert judged([], FAMILY) is None
