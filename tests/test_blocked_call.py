"""Lines of /proc/PID/task/TID/syscall taken apart."""

from __future__ import annotations

import pytest

from corelens.probes.blocked_call import BlockedCall, parse, targets
from corelens.probes.syscalls import names_by_number

NAMES = names_by_number("x86_64")
STACK = "0x7ffc0000 0x7f0000001234"


@pytest.mark.parametrize(
    ("raw", "timed"),
    [
        (f"202 0x5000 0x189 0x0 0x0 0x0 0xffffffff {STACK}", False),
        (f"202 0x5000 0x189 0x0 0x7ffc1000 0x0 0xffffffff {STACK}", True),
        (f"7 0x5000 0x1 0xffffffff 0x0 0x0 0x0 {STACK}", False),
        (f"7 0x5000 0x1 0xffffffffffffffff 0x0 0x0 0x0 {STACK}", False),
        (f"7 0x5000 0x1 0x1388 0x0 0x0 0x0 {STACK}", True),
        (f"232 0x3 0x5000 0x20 0x0 0x0 0x0 {STACK}", True),
        (f"270 0x4 0x5000 0x0 0x0 0x0 0x0 {STACK}", False),
        (f"230 0x1 0x0 0x5000 0x0 0x0 0x0 {STACK}", True),
        (f"61 0xffffffff 0x0 0x0 0x0 0x0 0x0 {STACK}", False),
        (f"45 0x3 0x5000 0x10 0x0 0x0 0x0 {STACK}", None),
        ("running", None),
        ("-1 0x7ffc0000 0x7f0000001234", None),
    ],
)
def test_a_call_says_whether_it_returns_by_itself(raw: str, timed: bool | None) -> None:
    assert parse(raw.encode(), NAMES).timed is timed


def test_a_line_is_a_name_arguments_and_where_the_call_was_made() -> None:
    call = parse(f"0 0x3 0x5000 0x10 0x0 0x0 0x0 {STACK}".encode(), NAMES)
    assert call == BlockedCall("read", (3, 0x5000, 16, 0, 0, 0), 0x7F0000001234)
    assert parse(b"", NAMES).name == "running"


@pytest.mark.parametrize(("first", "child"), [(0xFFFFFFFF, "0"), (4711, "4711")])
def test_a_wait_for_children_names_the_child(first: int, child: str) -> None:
    assert targets("/nowhere", BlockedCall("wait4", (first, 0, 0, 0))) == (("child", child),)


def test_what_cannot_be_read_is_not_known() -> None:
    assert targets("/nowhere", BlockedCall("read", (3, 0, 0))) is None
    assert targets("/nowhere", BlockedCall("poll", (0x5000, 1, 0))) is None
