"""The file format: whole lines in small members, whatever happens to the writer or to the bytes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.errors import OutputExists, OutputFailed, UnreadableRecording
from corelens.recording import Recording, RecordingWriter, read, read_lines
from corelens.vocabulary import FORMAT_VERSION, columnar_line

MEMBERS = 40
PER_MEMBER = 5


def header(**changed: Any) -> dict[str, Any]:
    return {"kind": "header", "format": FORMAT_VERSION, "corelens": "0"} | changed


def numbered(number: int) -> dict[str, Any]:
    return columnar_line("threads", number, [(tid, number * 7919 + tid, tid, 1) for tid in range(20)])


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "run.corelens"
    writer = RecordingWriter(path)
    writer.add(header())
    for member in range(MEMBERS):
        for line in range(PER_MEMBER):
            writer.add(numbered(member * PER_MEMBER + line))
        writer.flush(member * PER_MEMBER)
    writer.add({"kind": "footer", "t_ns": 999})
    writer.close(999)
    return path


def numbers(recording: Recording) -> list[int]:
    return [line["t_ns"] for line in recording.lines("threads")]


def test_what_was_written_is_read(written: Path) -> None:
    recording = read(written)
    assert numbers(recording) == list(range(MEMBERS * PER_MEMBER))
    assert recording.lines("threads")[3] == numbered(3)
    assert recording.footer == {"kind": "footer", "t_ns": 999}
    assert (recording.damage, recording.missing_chunks, recording.last_ns) == ((), 0, 999)


def test_zcat_reads_it(written: Path) -> None:
    text = subprocess.run(["zcat", str(written)], check=True, capture_output=True, text=True).stdout
    assert [json.loads(line)["kind"] for line in text.splitlines()].count("threads") == MEMBERS * PER_MEMBER


def test_only_the_owner_may_read_it(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600


@given(share=st.floats(0.02, 0.999))
def test_a_cut_file_keeps_every_whole_line(written_bytes: bytes, tmp_dir: Path, share: float) -> None:
    path = tmp_dir / "cut.corelens"
    kept = max(300, int(len(written_bytes) * share))
    path.write_bytes(written_bytes[:kept])
    recording = read(path)
    seen = numbers(recording)
    assert seen == list(range(len(seen)))
    assert len(seen) >= whole_members(written_bytes[:kept]) * PER_MEMBER
    assert recording.footer is None


@given(share=st.floats(0.05, 0.95), noise=st.binary(min_size=64, max_size=64))
def test_bad_bytes_cost_the_members_they_touch(
    written_bytes: bytes, tmp_dir: Path, share: float, noise: bytes
) -> None:
    path = tmp_dir / "bad.corelens"
    at = max(300, int(len(written_bytes) * share))
    damaged = written_bytes[:at] + noise + written_bytes[at + 64 :]
    path.write_bytes(damaged)
    recording = read(path)
    lost = set(range(MEMBERS * PER_MEMBER)) - set(numbers(recording))
    touched = touched_members(written_bytes, at, at + 64)
    assert {number // PER_MEMBER for number in lost} <= touched
    assert bool(lost) <= bool(recording.damage)


def boundaries(data: bytes) -> list[int]:
    """Offsets at which the members of a whole file begin, found by decompressing one after the other."""
    offsets, at = [0], 0
    while at < len(data):
        codec = zlib.decompressobj(16 + zlib.MAX_WBITS)
        codec.decompress(data[at:])
        if not codec.eof:
            break
        at = len(data) - len(codec.unused_data)
        offsets.append(at)
    return offsets


def whole_members(data: bytes) -> int:
    return len(boundaries(data)) - 1


def touched_members(data: bytes, start: int, end: int) -> set[int]:
    offsets = boundaries(data)
    return {n for n, (a, b) in enumerate(pairwise(offsets)) if a < end and start < b}


@pytest.fixture(scope="module")
def tmp_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def written_bytes(tmp_dir: Path) -> bytes:
    path = tmp_dir / "whole.corelens"
    writer = RecordingWriter(path)
    writer.add(header())
    for member in range(MEMBERS):
        for line in range(PER_MEMBER):
            writer.add(numbered(member * PER_MEMBER + line))
        writer.flush(member)
    writer.close(MEMBERS)
    return path.read_bytes()


def test_a_lost_member_is_counted(written: Path) -> None:
    data = written.read_bytes()
    offsets = boundaries(data)
    written.write_bytes(data[: offsets[3]] + data[offsets[4] :])
    assert read(written).missing_chunks == 1


def test_an_existing_file_is_left_alone(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(OutputExists, match="--force"):
        RecordingWriter(written)
    assert written.read_bytes() == before


def test_force_replaces_it(written: Path) -> None:
    writer = RecordingWriter(written, force=True)
    writer.add(header())
    writer.close(0)
    assert numbers(read(written)) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match="-o FILE"):
        RecordingWriter(tmp_path / "none" / "run.corelens")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a corelens recording"),
        (b"hello", "not a corelens recording"),
        (gzip.compress(b"hello\n"), "not a corelens recording"),
        (gzip.compress(b'[1]\n{"kind":3}\n'), "not a corelens recording"),
        (gzip.compress(json.dumps(header(format=99)).encode()), "format 99"),
    ],
)
def test_what_is_no_recording_is_said_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.corelens"
    path.write_bytes(content)
    with pytest.raises(UnreadableRecording, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRecording, match="No such file"):
        read(tmp_path / "none")
    with pytest.raises(UnreadableRecording, match="is a folder"):
        read(tmp_path)


def test_a_full_disk_leaves_what_was_written_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.corelens"
    writer = RecordingWriter(path)
    writer.add(header())
    writer.add(numbered(0))
    writer.flush(0)
    real_write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real_write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        writer.add(numbered(1))
        with pytest.raises(OutputFailed, match="No space left"):
            writer.flush(1)
    writer.add(numbered(2))
    writer.close(2)
    recording = read(path)
    assert numbers(recording) == [0, 2]
    assert recording.damage == ()


def test_lines_come_one_by_one(written: Path) -> None:
    lines = iter(read_lines(written))
    assert next(lines)["kind"] == "header"
    assert next(lines)["t_ns"] == 0
