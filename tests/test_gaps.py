"""Gaps: each cause is said once."""

from __future__ import annotations

import pytest

from corelens.probes.gaps import Gaps
from corelens.probes.procfs import Reason, Unreadable
from corelens.vocabulary import KINDS

DENIED = Unreadable("/proc/42/io", "forbidden", "Permission denied")


def test_a_gap_says_who_what_and_why() -> None:
    (line,) = Gaps("tree").once(5, 42, DENIED)
    assert line == {
        "kind": "gap",
        "t_ns": 5,
        "probe": "tree",
        "pid": 42,
        "what": "/proc/42/io",
        "reason": "forbidden",
        "detail": "Permission denied",
    }
    assert {field.name for field in KINDS["gap"].fields} == set(line) - {"kind"}


def test_a_failure_without_words_says_its_reason() -> None:
    (line,) = Gaps("tree").once(5, None, Unreadable("/proc/stat", "gone"))
    assert line["detail"] == "gone"


def test_the_same_is_not_said_again() -> None:
    gaps = Gaps("tree")
    assert len(list(gaps.once(5, 42, DENIED))) == 1
    assert list(gaps.once(6, 42, DENIED)) == []
    # Whatever its words: an errno may be told in many.
    assert list(gaps.say(7, 42, "/proc/42/io", "forbidden", "no entry")) == []


@pytest.mark.parametrize(
    ("pid", "what", "reason"),
    [(43, "/proc/42/io", "forbidden"), (42, "/proc/42/maps", "forbidden"), (42, "/proc/42/io", "broken")],
    ids=["of another process", "something else", "for another reason"],
)
def test_what_differs_is_said(pid: int, what: str, reason: Reason) -> None:
    gaps = Gaps("tree")
    list(gaps.once(5, 42, DENIED))
    assert len(list(gaps.say(6, pid, what, reason, ""))) == 1


def test_each_probe_says_its_own() -> None:
    assert [len(list(Gaps(name).once(5, 42, DENIED))) for name in ("tree", "memory")] == [1, 1]
