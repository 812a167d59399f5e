"""Births: which ids are looked at, when the kernel gives them out and when it takes them back."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from corelens.probes import births, procfs
from corelens.probes.births import Births
from tests.fakeproc import FakeMachine, machine
from tests.programs import TALK, python, running


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    made = machine(tmp_path)
    there(made, 10, 20)
    gave_out(made, 20)
    return made


@pytest.fixture
def finder(fake: FakeMachine) -> Generator[Births]:
    """Births that have looked often enough to be at rest."""
    made = Births(fake.proc)
    for _ in range(3):
        made.look()
    yield made
    made.close()


def there(fake: FakeMachine, *pids: int) -> None:
    for pid in pids:
        (fake.proc / str(pid)).mkdir()


def gone(fake: FakeMachine, *pids: int) -> None:
    for pid in pids:
        (fake.proc / str(pid)).rmdir()


def gave_out(fake: FakeMachine, last: int) -> None:
    # In place, as a kept descriptor must read it.
    (fake.proc / "loadavg").write_text(f"0.50 0.40 0.30 3/456 {last}\n")


def test_the_first_look_shows_everyone(fake: FakeMachine) -> None:
    finder = Births(fake.proc)
    assert sorted(finder.look()) == [10, 20]
    finder.close()


def test_while_no_id_is_given_out_nothing_is_listed(
    finder: Births, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(fake, 15)
    monkeypatch.setattr(procfs, "process_ids", no_listing)
    assert finder.look() == []


def no_listing(_: Path) -> list[int]:
    raise AssertionError("the folder must not be listed")


def test_only_ids_in_between_are_new(finder: Births, fake: FakeMachine) -> None:
    there(fake, 15, 21, 25, 31)
    gave_out(fake, 30)
    assert sorted(finder.look()) == [21, 25]


def test_nobody_is_new_twice(finder: Births, fake: FakeMachine) -> None:
    there(fake, 21)
    gave_out(fake, 21)
    assert [finder.look() for _ in range(4)] == [[21], [], [], []]


def test_an_id_is_given_out_before_its_process_can_be_seen(finder: Births, fake: FakeMachine) -> None:
    gave_out(fake, 21)
    assert finder.look() == []
    there(fake, 21)
    assert finder.look() == [21]
    assert finder.look() == []


def test_one_that_is_not_yet_seen_while_others_are_born(finder: Births, fake: FakeMachine) -> None:
    there(fake, 22)
    gave_out(fake, 22)
    assert finder.look() == [22]
    there(fake, 21, 23)
    gave_out(fake, 23)
    assert sorted(finder.look()) == [21, 23]


def test_one_that_cannot_be_seen_at_the_first_look_yet(fake: FakeMachine) -> None:
    gave_out(fake, 21)
    finder = Births(fake.proc)
    assert sorted(finder.look()) == [10, 20]
    there(fake, 21)
    assert finder.look() == [21]
    assert finder.look() == []
    finder.close()


def test_ids_come_round(finder: Births, fake: FakeMachine) -> None:
    """From 20 to the highest and on from the lowest: 10 may be another process by now."""
    there(fake, 5, 15, 40)
    gave_out(fake, 12)
    assert sorted(finder.look()) == [5, 10, 40]


def test_an_id_that_came_round_to_another_process_is_new_again(finder: Births, fake: FakeMachine) -> None:
    gave_out(fake, 30)
    assert finder.look() == []
    gone(fake, 10)
    there(fake, 10)
    gave_out(fake, 15)
    assert finder.look() == [10]


def test_everyone_when_asked_for(finder: Births, fake: FakeMachine) -> None:
    there(fake, 15, 21)
    gave_out(fake, 21)
    assert sorted(finder.look(everyone=True)) == [10, 15, 20, 21]
    there(fake, 22)
    gave_out(fake, 22)
    assert finder.look() == [22]


def test_without_a_trustworthy_loadavg_everyone_is_looked_at(fake: FakeMachine) -> None:
    """As in a container whose loadavg is a stand-in: ids tell nothing there."""
    (fake.proc / "loadavg").unlink()
    finder = Births(fake.proc)
    assert sorted(finder.look()) == [10, 20]
    there(fake, 5)
    assert sorted(finder.look()) == [5, 10, 20]


@pytest.mark.parametrize("text", ["", "0.50 0.40 0.30 3/456 x\n"])
def test_a_loadavg_that_makes_no_sense(fake: FakeMachine, text: str) -> None:
    finder = Births(fake.proc)
    finder.look()
    (fake.proc / "loadavg").write_text(text)
    there(fake, 5)
    assert finder.look() == [5]
    assert sorted(finder.look()) == [5, 10, 20]
    gave_out(fake, 30)
    there(fake, 25)
    assert 25 in finder.look()
    finder.close()


def test_a_loadavg_that_vanishes(fake: FakeMachine) -> None:
    finder = Births(fake.proc)
    (fake.proc / "loadavg").unlink()
    finder.look()
    there(fake, 5)
    assert 5 in finder.look()


def test_a_loadavg_of_another_file_system_is_not_trusted(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def mounted(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:])) if path.name == "loadavg" else found

    monkeypatch.setattr(Path, "stat", mounted)
    finder = Births(fake.proc)
    finder.look()
    there(fake, 5)
    assert 5 in finder.look()


@pytest.mark.parametrize("few", [40, 0])
def test_a_real_child_is_found(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """By asking for single ids, and by listing the folder."""
    monkeypatch.setattr(births, "_FEW_IDS", few)
    finder = Births()
    finder.look()
    with running(python("import sys; sys.stdin.readline()")) as program:
        assert program.pid in finder.look() + finder.look()
    finder.close()


def test_a_real_thread_is_no_process() -> None:
    source = TALK + (
        "import threading\nsay('ready')\nhear()\nstop = threading.Event()\n"
        "thread = threading.Thread(target=stop.wait)\nthread.start()\nsay(thread.native_id)\nhear()\nstop.set()\n"
    )
    with running(python(source)) as program:
        assert program.hear() == "ready"
        finder = Births()
        finder.look()
        program.say("begin")
        tid = int(program.hear())
        assert tid not in finder.look() + finder.look()
        finder.close()
        assert program.end() == 0
