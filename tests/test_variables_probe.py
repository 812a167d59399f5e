"""Thread-limit variables read from the memory of a process, real and made up."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from corelens.probes import procfs
from corelens.probes.probe import Moment, Process
from corelens.probes.variables import VariablesProbe
from corelens.vocabulary import LIMIT_VARIABLES
from tests.fakepython import image
from tests.programs import TALK, python, running

S = 1_000_000_000
# Sets a variable at each word it hears, and says when it has.
SETS = (
    TALK
    + """
import os
for name, value in (("OMP_NUM_THREADS", "3"), ("SECRET_TOKEN", "hush"), ("OMP_NUM_THREADS", "")):
    say("set")
    hear()
    if value:
        os.environ[name] = value
    else:
        del os.environ[name]
say("set")
hear()
"""
)


def rounds(*pids: int, at_s: float, moved: bool = True) -> Moment:
    """A moment at which these processes live; they ran since the last one unless told otherwise."""
    there = {pid: Process(pid, None, procfs.read_stat(procfs.PROC, pid).start_ticks, "main") for pid in pids}
    return Moment(round(at_s * S), there, frozenset(pids if moved else ()))


def said(probe: VariablesProbe, moment: Moment) -> list[dict[str, str]]:
    """The variables that one look wrote down."""
    return [each for line in probe.look(moment) if line["kind"] == "variables" for each in line["variables"]]


def test_what_code_sets_is_seen_and_nothing_else() -> None:
    others = {name: value for name, value in os.environ.items() if name not in LIMIT_VARIABLES}
    environment = {**others, "OPENBLAS_NUM_THREADS": "2"}
    probe = VariablesProbe()
    with running(python(SETS), env=environment) as program:
        assert program.hear() == "set"
        at_exec = {"OPENBLAS_NUM_THREADS": "2"}
        assert said(probe, rounds(program.pid, at_s=0)) == []
        assert said(probe, rounds(program.pid, at_s=1)) == []
        found: list[list[dict[str, str]]] = []
        for second in (10, 30, 100):
            program.say("on")
            assert program.hear() == "set"
            found.append(said(probe, rounds(program.pid, at_s=second)))
        assert found == [[{**at_exec, "OMP_NUM_THREADS": "3"}], [], [at_exec]]
        program.end()
    probe.close()


def test_a_process_that_does_not_run_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = VariablesProbe()
    mine = os.getpid()
    said(probe, rounds(mine, at_s=0))
    said(probe, rounds(mine, at_s=1))
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    assert said(probe, rounds(mine, at_s=50, moved=False)) == []
    assert [each["GOMP_SPINCOUNT"] for each in said(probe, rounds(mine, at_s=50))] == ["77"]


NOTHING: dict[str, str] = {}
BASE, TABLE, BLOCK = 0x100000, 0x102000, 0x104000


def made_process(proc: Path, table: list[int], block: bytes) -> int:
    """A process whose C library keeps its environment pointer in the page behind its image."""
    folder = proc / "7"
    folder.mkdir(parents=True)
    (folder / "exe").symlink_to("/usr/bin/program")
    (folder / "environ").write_bytes(b"OMP_NUM_THREADS=8\0")
    maps = f"{BASE:x}-{BASE + 0x2000:x} r-xp 00000000 08:01 11 /usr/lib/libc.so.6\n"
    (folder / "maps").write_text(maps)
    with (folder / "mem").open("wb") as memory:
        for address, data in (
            (BASE, image({"environ": (0x1000, 8)})),
            (BASE + 0x1000, struct.pack("<Q", TABLE)),
            (TABLE, struct.pack(f"<{len(table)}Q", *table)),
            (BLOCK, block),
        ):
            memory.seek(address)
            memory.write(data)
    return 7


@pytest.mark.parametrize(
    ("table", "block", "seen"),
    [
        pytest.param([BLOCK, 0], b"OMP_NUM_THREADS=2\0", [{"OMP_NUM_THREADS": "2"}], id="changed"),
        pytest.param([BLOCK, 0], b"OMP_NUM_THREADS=8\0", [], id="as at exec"),
        pytest.param([0], b"", [NOTHING], id="cleared"),
        pytest.param(
            [BLOCK, 0x7F0000000000, 0], b"MKL_NUM_THREADS=1\0", [{"MKL_NUM_THREADS": "1"}], id="torn"
        ),
        pytest.param([BLOCK, 0], b"PASSWORD=x\0", [NOTHING], id="not allowed"),
    ],
)
def test_made_up_memory(tmp_path: Path, table: list[int], block: bytes, seen: list[dict[str, str]]) -> None:
    pid = made_process(tmp_path, table, block)
    probe = VariablesProbe(tmp_path)
    there = {pid: Process(pid, None, 1, "main")}
    looks = [said(probe, Moment(at * S, there, frozenset(there))) for at in (0, 1)]
    assert looks == [[], seen]
