"""Marks and the spool: from the program's call to the recording's line, with a hostile writer in between."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import pools
from corelens.probes.marks import MarksProbe
from corelens.probes.pools import PoolsProbe
from corelens.probes.probe import Moment
from corelens.probes.spool import AGENT_FOLDER, BrokenLine, Spool
from corelens.vocabulary import KINDS, Line

MARK: Line = {
    "monotonic_ns": 1500,
    "pid": 3,
    "tid": 4,
    "name": "trial",
    "phase": "begin",
    "span": "3.1",
    "attributes": {"number": 1},
}
REPORT: Line = {
    "monotonic_ns": 1500,
    "pid": 3,
    "moment": "start",
    "agent_tid": None,
    "libraries": None,
    "torch_threads": None,
    "torch_interop_threads": None,
    "cpu_count": 2,
    "variables": {},
    "loads": [],
    "module_threads": {},
    "versions": {},
    "python": "3.11.7",
    "python_threads": {},
}


@pytest.fixture
def spool() -> Generator[Spool]:
    made = Spool.create(agent=False)
    yield made
    made.close()


def write(spool: Spool, name: str, text: str | bytes) -> None:
    with (spool.folder / name).open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def look(probe: MarksProbe | PoolsProbe) -> list[Line]:
    return list(probe.look(Moment(99, {}, frozenset())))


def test_the_folder_is_ours_alone_and_goes_away() -> None:
    spool = Spool.create(agent=False)
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    write(spool, "marks-1.jsonl", "{}\n")
    spool.close()
    assert not spool.folder.exists()
    assert list(spool.lines("marks")) == []
    spool.close()


def test_without_the_agent_only_the_spool_is_named(spool: Spool) -> None:
    base = {"PYTHONPATH": "/mine", "HOME": "/"}
    assert spool.environment(base) == {**base, "CORELENS_SPOOL": str(spool.folder)}


@pytest.mark.parametrize(("former", "rest"), [(None, ""), ("", ""), ("/a:/b", ":/a:/b"), (":/b", "::/b")])
def test_the_agents_folder_comes_before_the_programs_path(former: str | None, rest: str) -> None:
    spool = Spool(Path("/nowhere"), agent=True)
    base = {} if former is None else {"PYTHONPATH": former}
    assert spool.environment(base)["PYTHONPATH"] == f"{AGENT_FOLDER}{rest}"
    assert Path(spool.environment(base)["CORELENS_THREADPOOLCTL"]).name == "threadpoolctl.py"


def test_lines_are_given_once_and_a_half_line_waits(spool: Spool) -> None:
    write(spool, "marks-1.jsonl", '{"a": 1}\n{"a"')
    assert list(spool.lines("marks")) == [{"a": 1}]
    assert list(spool.lines("marks")) == []
    write(spool, "marks-1.jsonl", ': 2}\n{"a": 3}\n')
    write(spool, "marks-2.jsonl", '{"b": 1}\n')
    write(spool, "agent-1-1.jsonl", '{"c": 1}\n')
    assert list(spool.lines("marks")) == [{"a": 2}, {"a": 3}, {"b": 1}]
    assert list(spool.lines("agent")) == [{"c": 1}]


def test_a_line_cut_inside_a_character_is_put_together(spool: Spool) -> None:
    text = json.dumps({"a": "größer"}, ensure_ascii=False).encode() + b"\n"
    found: list[Line | BrokenLine] = []
    for byte in text:
        write(spool, "marks-1.jsonl", bytes([byte]))
        found = list(spool.lines("marks"))
    assert found == [{"a": "größer"}]


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"[1]",
        b"3",
        b"null",
        b'{"a": NaN}',
        b'{"a": 1',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
)
def test_a_hostile_line_is_told_and_the_next_one_read(spool: Spool, text: bytes) -> None:
    write(spool, "marks-1.jsonl", text + b'\n{"a": 1}\n')
    broken, line = spool.lines("marks")
    assert isinstance(broken, BrokenLine)
    assert broken.file == "marks-1.jsonl"
    assert line == {"a": 1}


def test_an_endless_line_is_given_up(spool: Spool) -> None:
    write(spool, "marks-1.jsonl", b"x" * (3 << 20))
    assert [type(line) for line in spool.lines("marks")] == [BrokenLine]
    write(spool, "marks-1.jsonl", b'\n{"a": 1}\n')
    assert list(spool.lines("marks")) == []


def test_a_pipe_and_a_link_are_not_opened(spool: Spool, tmp_path: Path) -> None:
    os.mkfifo(spool.folder / "marks-1.jsonl")
    secret = tmp_path / "secret"
    secret.write_text('{"secret": 1}\n')
    (spool.folder / "marks-2.jsonl").symlink_to(secret)
    assert [type(line) for line in spool.lines("marks")] == [BrokenLine, BrokenLine]
    assert list(spool.lines("marks")) == []


def test_a_mark_moves_onto_the_clock_of_the_recording(spool: Spool) -> None:
    write(spool, "marks-3.jsonl", json.dumps(MARK) + "\n")
    lines = look(MarksProbe(spool, t0_monotonic_ns=1000))
    assert lines == [{"kind": "mark", "t_ns": 500, **{k: v for k, v in MARK.items() if k != "monotonic_ns"}}]
    assert {field.name for field in KINDS["mark"].fields} == set(lines[0]) - {"kind"}


@pytest.mark.parametrize(
    "change",
    [
        {"monotonic_ns": "soon"},
        {"monotonic_ns": True},
        {"pid": None},
        {"tid": 1.5},
        {"name": 3},
        {"phase": "middle"},
        {"span": 3},
        {"attributes": []},
    ],
)
def test_a_mark_of_another_shape_is_a_gap_said_once(spool: Spool, change: dict[str, Any]) -> None:
    write(spool, "marks-3.jsonl", (json.dumps({**MARK, **change}) + "\n") * 3 + json.dumps(MARK) + "\n")
    lines = look(MarksProbe(spool, 1000))
    assert [line["kind"] for line in lines] == ["gap", "mark"]
    assert {field.name for field in KINDS["gap"].fields} == set(lines[0]) - {"kind"}
    assert lines[0]["reason"] == "broken"


LOAD: Line = {
    "module": "numpy",
    "monotonic_ns": 1200,
    "inherited": False,
    "variables": {"OMP_NUM_THREADS": "1"},
}


def test_the_loads_of_a_report_move_onto_the_clock_of_the_recording() -> None:
    line = pools.converted({**REPORT, "loads": [{**LOAD, "extra": 1}]}, 1000)
    assert line is not None
    (load,) = line["loads"]
    assert load == {"module": "numpy", "t_ns": 200, "inherited": False, "variables": LOAD["variables"]}


def test_a_report_of_the_agent_has_the_documented_fields_and_no_other(spool: Spool) -> None:
    write(spool, "agent-3-1.jsonl", json.dumps({**REPORT, "extra": 1}) + "\n")
    (line,) = look(PoolsProbe(spool, 1000))
    assert {field.name for field in KINDS["pools"].fields} == set(line) - {"kind"}
    assert (line["kind"], line["t_ns"], line["cpu_count"]) == ("pools", 500, 2)


BROKEN: list[dict[str, Any]] = [
    {"pid": None},
    {"moment": 3},
    {"libraries": {}},
    {"variables": None},
    {"monotonic_ns": None},
    {"loads": None},
    {"loads": [3]},
    {"loads": [{**LOAD, "monotonic_ns": "soon"}]},
    {"loads": [{**LOAD, "variables": []}]},
]


@pytest.mark.parametrize("change", BROKEN)
def test_a_report_of_another_shape_is_a_gap(spool: Spool, change: dict[str, Any]) -> None:
    assert pools.converted({**REPORT, **change}, 0) is None
    write(spool, "agent-3-1.jsonl", json.dumps({**REPORT, **change}) + "\nnonsense\n")
    assert [line["kind"] for line in look(PoolsProbe(spool, 1000))] == ["gap", "gap"]


PROGRAM = """
import os, threading
from corelens import begin, end, mark, span
mark("checkpoint", step=40)
key = begin("trial", number=1)
worker = threading.Thread(target=lambda: end("trial", key, value=0.5))
worker.start()
worker.join()
try:
    with span("broken"):
        raise ValueError
except ValueError:
    pass
if os.fork() == 0:
    mark("child")
    os._exit(0)
os.wait()
"""


def test_marks_of_a_real_program_arrive_from_every_thread_and_process(spool: Spool) -> None:
    process = subprocess.run([sys.executable, "-c", PROGRAM], env=spool.environment(os.environ), check=True)
    assert process.returncode == 0
    marks = look(MarksProbe(spool, 0))
    assert [(mark["name"], mark["phase"]) for mark in marks if mark["name"] != "child"] == [
        ("checkpoint", "point"),
        ("trial", "begin"),
        ("trial", "end"),
        ("broken", "begin"),
        ("broken", "end"),
    ]
    begun, ended = (mark for mark in marks if mark["name"] == "trial")
    assert begun["span"] == ended["span"] is not None
    assert begun["tid"] == begun["pid"] == ended["pid"] != ended["tid"]
    assert begun["attributes"] == {"number": 1}
    assert ended["attributes"] == {"value": 0.5}
    assert len({mark["pid"] for mark in marks}) == 2


def test_without_a_recorder_nothing_is_written_and_no_key_given(tmp_path: Path) -> None:
    program = "from corelens import begin, end; key = begin('x'); end('x', key); print(key)"
    environment = {name: value for name, value in os.environ.items() if name != "CORELENS_SPOOL"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert result.stdout == "None\n"
    assert list(tmp_path.iterdir()) == []


def test_a_recorder_that_went_away_does_not_disturb_the_program() -> None:
    spool = Spool.create(agent=False)
    spool.close()
    program = "from corelens import mark; mark('late'); print('done')"
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command, env=spool.environment(os.environ), check=True, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("done\n", "")
