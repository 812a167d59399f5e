"""What a scrubbed recording keeps, and what it no longer tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corelens.recording import read
from tests.made_recordings import HOST, born, cgroup, clocks, header, limits, written
from tests.rules.scrub import Scrubber, scrub

HERE = "/srv/people/ann/.venv"


def texts(value: object) -> str:
    return repr(value)


def scrubbed_argv(*words: str) -> list[str]:
    line: dict[str, Any] = Scrubber().line(born(0, argv=list(words)))
    return line["argv"]


def test_counters_stay_and_names_go(tmp_path: Path) -> None:
    path = written(
        tmp_path / "in.corelens",
        born(0, argv=[f"{HERE}/bin/python3.12", "/srv/ann/secret_search.py"], exe=f"{HERE}/bin/python3.12"),
        limits(0, 2.0, cgroups=[{"version": 2, "path": "/ann/job", "quota_cores": 2.0}]),
        cgroup(0, "/ann/job", 1.5),
        clocks(1.0, (100, 0.123456789, 7)),
        head=header(host=HOST | {"hostname": "anns-machine"}),
    )
    scrub(path, tmp_path / "out.corelens")
    before, after = read(path), read(tmp_path / "out.corelens")
    assert after.lines("processes") == before.lines("processes")
    assert (after.header["host"]["hostname"], after.damage, after.missing_chunks) == ("lab", (), 0)
    assert {kind: len(lines) for kind, lines in after.by_kind.items()} == {
        kind: len(lines) for kind, lines in before.by_kind.items()
    }
    assert "ann" not in texts(after.by_kind)
    # The quota's counters still belong to the level that sets it.
    assert after.lines("limits")[0]["cgroups"][0]["path"] == after.lines("cgroup")[0]["path"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{HERE}/lib/python3.12/site-packages/torch/x.so", "/opt/python/lib/python3.12/site-packages/torch/x.so"),
        ("/root/.pyenv/versions/3.11.7/lib/libpython3.11.so.1.0", "/opt/python/lib/libpython3.11.so.1.0"),
        ("/home/ann/.pyenv/versions/3.13t/bin/python3.13t", "/opt/python/bin/python3.13t"),
        (f"--log={HERE}/bin/python,/home/ann/data", "--log=/opt/python/bin/python,/home/lab/data"),
        ("/dev/shm/sem.loky-1-x", "/dev/shm/sem.loky-1-x"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("--gcs-address=10.1.2.3:6379", "--gcs-address=192.0.2.1:6379"),
        ("127.0.0.1:6379", "127.0.0.1:6379"),
        ("1.2.3", "1.2.3"),
        ("sum(range(3)) / 2", "sum(range(3)) / 2"),
    ],
)  # fmt: skip
def test_a_text_becomes_neutral(before: str, after: str) -> None:
    assert scrubbed_argv(before) == [after]


def test_the_same_program_keeps_one_name_wherever_it_stands() -> None:
    words = scrubbed_argv("/a/search.py", "search.py", "/b/other.py", "/x/lib/python3.11/json/tool.py")
    assert words == [
        "/home/lab/program.py", "program.py", "/home/lab/program_2.py", "/opt/python/lib/python3.11/json/tool.py",
    ]  # fmt: skip


def test_a_damaged_recording_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "in.corelens", born(0))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="damaged"):
        scrub(path, tmp_path / "out.corelens")
    assert not (tmp_path / "out.corelens").exists()
