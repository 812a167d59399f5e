"""Every line of real recordings against the documented vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corelens.recording import Recording
from corelens.vocabulary import KINDS, Field, Kind, Line, columnar_line, columns
from tests.programs import (
    BURN,
    TALK,
    WAITING_THREADS,
    has_begun,
    python,
    record,
    recorder,
    running,
    wait_until,
)

TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "object": (dict,),
}


def complaints(line: Line) -> Iterator[str]:
    """What is wrong with one line: unknown kind, missing or unknown fields, wrong types, nulls without reason."""
    kind = KINDS.get(line["kind"])
    if kind is None:
        yield f"unknown kind {line['kind']}"
        return
    documented = {field.name for field in kind.fields}
    found = line.keys() - {"kind"}
    if found != documented:
        yield f"{kind.name}: fields differ: {sorted(found ^ documented)}"
    for field in kind.fields:
        if field.name in line:
            yield from _complaints_of_field(kind, field, line[field.name])
    if kind.columnar and len({len(line[name]) for name in columns(kind.name)}) != 1:
        yield f"{kind.name}: columns of unlike length"


def _complaints_of_field(kind: Kind, field: Field, value: Any) -> Iterator[str]:
    columnar = kind.columnar and field.name != "t_ns"
    for each in value if columnar else [value]:
        wrong_bool = isinstance(each, bool) and field.type != "bool"
        if each is None:
            if field.absent is None:
                yield f"{kind.name}.{field.name} is null, and no reason is documented"
        elif wrong_bool or not isinstance(each, TYPES[field.type]):
            yield f"{kind.name}.{field.name} is {each!r}, documented as {field.type}"


def all_complaints(recording: Recording) -> set[str]:
    """What is wrong with a recording, each thing once."""
    return {text for lines in recording.by_kind.values() for line in lines for text in complaints(line)}


PROGRAM = (
    BURN
    + TALK
    + """
import subprocess, threading
from corelens import marks
with marks.span("search", workers=2):
    marks.mark("checkpoint", step=1)
    threads = [threading.Thread(target=burn, args=[0.1], name="burner") for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    subprocess.run([sys.executable, "-c", "print()"], stdout=subprocess.DEVNULL)
    burn(1.2)
"""
)


def test_every_line_of_a_started_program(tmp_path: Path) -> None:
    done, recording = record(tmp_path / "r.corelens", python(PROGRAM), "--agent", "--label", "a=b")
    assert done.returncode == 0, done.stderr
    assert all_complaints(recording) == set()
    assert recording.footer is not None
    expected = {
        "header", "footer", "process.born", "process.died", "processes", "process.detail", "threads.born",
        "threads", "threads.detail", "threads.died", "cores", "host", "limits", "memory", "mark", "self",
        "packages", "pools", "chunk", "gil.found", "gil", "gil.held", "waits",
    }  # fmt: skip
    assert expected <= recording.by_kind.keys()


def test_every_line_of_an_attached_program(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running(python(WAITING_THREADS, 3)) as program:
        assert program.hear() == "ready"
        with running(recorder(path, "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path), "the first round")
            program.end()
            assert looking.end() == 0
    from corelens.recording import read

    recording = read(path)
    assert all_complaints(recording) == set()
    assert recording.footer is not None
    assert recording.footer["reason"] == "target-gone"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"kind": "nonsense"}, "unknown kind nonsense"),
        ({"kind": "chunk", "t_ns": 1}, "chunk: fields differ: ['number']"),
        ({"kind": "chunk", "t_ns": 1, "number": 1, "extra": 2}, "chunk: fields differ: ['extra']"),
        ({"kind": "chunk", "t_ns": None, "number": 1}, "chunk.t_ns is null, and no reason is documented"),
        ({"kind": "chunk", "t_ns": "1", "number": 1}, "chunk.t_ns is '1', documented as int"),
        ({"kind": "chunk", "t_ns": True, "number": 1}, "chunk.t_ns is True, documented as int"),
    ],
)
def test_the_checker_complains(line: Line, complaint: str) -> None:
    assert list(complaints(line)) == [complaint]


def test_the_checker_complains_about_unlike_columns() -> None:
    line = columnar_line("threads", 1, [(1, 2, 3, 4)])
    assert list(complaints(line)) == []
    line["wait_ns"].append(5)
    assert list(complaints(line)) == ["threads: columns of unlike length"]
