"""The output of py-spy as values: real output, hostile output, and stacks that were torn while they were read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corelens.probes.pthreads import joined
from corelens.probes.stacks_parser import Roots, Seen, parse_dump, parse_samples

# Printed by `py-spy dump --json --nonblocking` 0.4.3 for a program on Python 3.11, paths shortened.
DUMP = b"""[
  {"pid": 10445, "thread_id": 140678709741248, "thread_name": "named-3", "os_thread_id": 10448,
   "active": false, "owns_gil": false, "frames": [
    {"name": "Event.wait", "filename": "/lib/threading.py", "module": null, "short_filename": "threading.py",
     "line": 629, "locals": null, "is_entry": false, "is_shim_entry": false},
    {"name": "wait_for_word", "filename": "/tmp/target.py", "module": null, "short_filename": "target.py",
     "line": 6, "locals": null, "is_entry": true, "is_shim_entry": false},
    {"name": "Thread._bootstrap", "filename": "/lib/threading.py", "module": null,
     "short_filename": "threading.py", "line": 0, "locals": null, "is_entry": true, "is_shim_entry": true}],
   "process_info": null},
  {"pid": 10445, "thread_id": 140678756509568, "thread_name": "MainThread", "os_thread_id": 10445,
   "active": true, "owns_gil": true, "frames": [], "process_info": null}
]"""

# Printed by `py-spy record --format raw --threads --full-filenames` 0.4.3.
RAW = b"""\
thread (17548): tree;Thread._bootstrap (/lib/threading.py:1002);work2 (/tmp/torn.py:17) 12
thread (17549);<module> (<string>:1);f.<locals>.<lambda> (/a (b)/c.py:3) 1
"""

RAW_OF_310 = b"thread (0x7FD5F1A176C0): w1;_bootstrap (/lib/threading.py:973);rec (/tmp/torn.py) 3\n"


def test_a_dump_of_py_spy() -> None:
    parsed = parse_dump(DUMP)
    assert parsed.broken == 0
    assert parsed.seen == [
        Seen(
            10448,
            140678709741248,
            "named-3",
            (
                ("Thread._bootstrap", "/lib/threading.py", None),
                ("wait_for_word", "/tmp/target.py", 6),
                ("Event.wait", "/lib/threading.py", 629),
            ),
            1,
            active=False,
            gil=False,
        ),
        Seen(10445, 140678756509568, "MainThread", (), 1, active=True, gil=True),
    ]


def test_without_the_kernels_id_py_spy_cannot_tell_who_is_active() -> None:
    threads = json.loads(DUMP)
    threads[0]["os_thread_id"] = None
    threads[0]["active"] = True
    (first, _) = parse_dump(json.dumps(threads).encode()).seen
    assert (first.tid, first.active, first.gil) == (None, None, False)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", DUMP[:-40], b"[" * 20, b"\xff\xfe[]"])
def test_what_is_no_dump_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_dump(data)


@pytest.mark.parametrize(
    "thread",
    [
        7,
        None,
        {},
        {"os_thread_id": "x"},
        {"frames": 3},
        {"frames": [{"name": "f", "filename": None, "line": 1}]},
        {"frames": [{"name": "", "filename": "f", "line": 1}]},
        {"frames": [{"name": "f", "filename": "f", "line": "1"}]},
        {"thread_name": 5},
        {"active": None},
    ],
)
def test_a_thread_that_makes_no_sense_is_counted_and_left_out(thread: Any) -> None:
    first, second = json.loads(DUMP)
    broken = thread
    if thread and isinstance(thread, dict):
        broken = first | thread
    parsed = parse_dump(json.dumps([broken, second]).encode())
    assert (len(parsed.seen), parsed.broken) == (1, 1)


def test_samples_of_py_spy() -> None:
    parsed = parse_samples(RAW, gil=False)
    assert parsed.broken == 0
    assert parsed.seen == [
        Seen(
            17548,
            None,
            "tree",
            (("Thread._bootstrap", "/lib/threading.py", 1002), ("work2", "/tmp/torn.py", 17)),
            12,
            active=True,
            gil=None,
        ),
        Seen(
            17549,
            None,
            None,
            (("<module>", "<string>", 1), ("f.<locals>.<lambda>", "/a (b)/c.py", 3)),
            1,
            active=True,
            gil=None,
        ),
    ]


def test_samples_of_holders_of_the_gil() -> None:
    first, _ = parse_samples(RAW, gil=True).seen
    assert (first.active, first.gil) == (None, True)


def test_samples_of_an_old_python_carry_an_address_for_an_id() -> None:
    (one,) = parse_samples(RAW_OF_310, gil=False).seen
    assert (one.tid, one.pthread, one.active) == (None, 0x7FD5F1A176C0, None)
    assert one.frames[-1] == ("rec", "/tmp/torn.py", None)


def test_semicolons_in_the_name_of_a_thread_or_a_file() -> None:
    (one,) = parse_samples(b"thread (5): a;b c;f (/x;y/z.py:1);g (/x.py:2) 4\n", gil=False).seen
    assert one.name == "a;b c"
    assert one.frames == (("f", "/x;y/z.py", 1), ("g", "/x.py", 2))


@pytest.mark.parametrize(
    ("line", "lost"),
    [("nonsense", 1), ("thread (5): a;f (/x.py:1) many", 1), ("f (/x.py:1) 7", 7), ("thread (5): a;f 3", 0)],
)
def test_a_line_of_samples_that_makes_no_sense_is_counted(line: str, lost: int) -> None:
    parsed = parse_samples(f"{line}\nthread (6): b;g (/y.py:2) 1\n".encode(), gil=False)
    assert parsed.broken == lost
    assert parsed.seen[-1].tid == 6


ROOT = ("_bootstrap", "/lib/threading.py", 1)
WORK = ("work", "/w.py", 2)
LEAF = ("leaf", "/w.py", 3)
C_MADE = ("callback", "/w.py", 4)


def stack(*frames: tuple[str, str, int | None], samples: int = 1) -> Seen:
    return Seen(1, None, None, frames, samples, active=True, gil=None)


def test_a_stack_that_lost_its_outer_end_is_torn() -> None:
    roots = Roots()
    found = [(1, stack(ROOT, WORK, LEAF)), (1, stack(WORK, LEAF)), (1, stack()), (1, stack(LEAF, samples=9))]
    assert roots.whole(found) == {0}
    assert roots.whole([(1, stack(WORK, LEAF, samples=9)), (1, stack(ROOT, LEAF))]) == {1}


def test_a_line_of_the_outermost_frame_may_move() -> None:
    roots = Roots()
    assert roots.whole([(1, stack(ROOT))]) == {0}
    assert roots.whole([(1, stack((ROOT[0], ROOT[1], 77), WORK))]) == {0}


def test_a_thread_made_in_c_is_believed_after_three_samples() -> None:
    roots = Roots()
    assert roots.whole([(1, stack(C_MADE, LEAF))]) == set()
    assert roots.whole([(1, stack(C_MADE, LEAF))]) == set()
    assert roots.whole([(1, stack(C_MADE, LEAF))]) == {0}
    assert roots.whole([(1, stack(C_MADE))]) == {0}
    assert roots.whole([(1, stack(LEAF))]) == set()


def test_a_process_that_executes_another_program_begins_elsewhere() -> None:
    roots = Roots()
    old, new = ("<module>", "/old.py", 1), ("<module>", "/new.py", 1)
    assert roots.whole([(1, stack(old))]) == {0}
    assert [roots.whole([(1, stack(new))]) for _ in range(3)] == [set(), set(), {0}]


def test_a_thread_id_that_came_round_begins_anew() -> None:
    roots = Roots()
    roots.whole([(1, stack(ROOT))])
    roots.forget({2})
    assert roots.whole([(1, stack(("<module>", "/x.py", 1)))]) == {0}


def test_addresses_of_threads_are_joined_by_a_distance_that_fits_all() -> None:
    lists = {100: 0x7000_2E0, 101: 0x9000_2E0, 102: 0xB000_2E0}
    assert joined(lists, {0x7000_000, 0xB000_000}) == {0x7000_000: 100, 0xB000_000: 102}


def test_addresses_that_do_not_fit_are_not_joined() -> None:
    lists = {100: 0x7000_2E0, 101: 0x9000_2E0, 102: 0xB000_2E0}
    assert joined(lists, {0x7000_000, 0x9000_100, 0xB000_200}) == {}
    assert joined({}, {0x7000_000}) == {}
    assert joined(lists, set()) == {}
