"""The parts of the owners probe on made-up processes: folders of plain files, and memory with holes."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import owners_descriptor, owners_stack, procfs
from corelens.probes.mapped_elf import MappedElf, gnu_hash, notes
from corelens.probes.owners import OwnersProbe
from corelens.probes.owners_descriptor import Layout, at_head, layouts
from corelens.probes.owners_rights import refusal
from corelens.probes.owners_rtti import Bodies
from corelens.probes.owners_teams import Teams
from corelens.probes.probe import Moment, Process
from corelens.probes.process_maps import Maps, read_maps, stands
from corelens.probes.process_memory import Memory
from corelens.probes.robust_list import Refused, RobustList
from corelens.reports.elf import ElfFile, SymbolsOnDisk
from corelens.vocabulary import KINDS, Line
from tests.thread_truth import compiled

PID = 4711
HEAD = 0x500000
LAYOUT = Layout(0x2D0, 0x638, True)
MAPS = """\
100000-101000 r--p 00000000 08:01 11 /usr/bin/program
101000-102000 r-xp 00001000 08:01 11 /usr/bin/program
102000-103000 rw-p 00002000 08:01 11 /usr/bin/program
103000-104000 rw-p 00000000 00:00 0 [heap]
200000-201000 r--p 00000000 08:01 12 /lib/with space.so (deleted)
201000-202000 r-xp 00001000 08:01 12 /lib/with space.so (deleted)
300000-301000 r-xp 00000000 00:00 0
400000-401000 r-xp 00000000 08:01 13 /lib/twice.so
480000-481000 r-xp 00000000 08:01 13 /lib/twice.so
481000-482000 r-xp 00001000 08:01 13 /lib/twice.so
7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [vdso]
"""


class FakeProcess:
    """A process made of files; its memory is a file with holes."""

    def __init__(self, root: Path) -> None:
        self.proc = root
        self.folder = root / str(PID)
        self.folder.mkdir(parents=True)
        (self.folder / "mem").write_bytes(b"")
        (self.folder / "maps").write_text(MAPS)
        (self.folder / "exe").symlink_to("/usr/bin/program")
        (self.folder / "map_files").mkdir()
        for line in MAPS.splitlines():
            place, path = line.split()[0], line[line.find("/") :] if "/" in line else ""
            if path:
                (self.folder / "map_files" / place).symlink_to(path)
        self.put(0x100000, b"\x7fELF")

    def put(self, address: int, data: bytes) -> None:
        """Write into the memory."""
        with (self.folder / "mem").open("r+b") as file:
            file.seek(address)
            file.write(data)

    def words(self, address: int, *values: int) -> None:
        """Write pointers."""
        self.put(address, struct.pack(f"<{len(values)}Q", *values))

    def memory(self) -> Memory:
        """Open the memory as the probe does."""
        return Memory(str(self.folder))

    def thread(self, tid: int, head: int, start: int, argument: int = 0, inner: int | None = None) -> None:
        """Lay down a descriptor of glibc, and the thread's files."""
        self.put(head - 16, struct.pack("<i", tid if inner is None else inner))
        self.words(head - 16 + LAYOUT.start - LAYOUT.tid, start, argument)
        folder = self.folder / "task" / str(tid)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "status").write_text(f"Name:\tx\nNSpid:\t{tid}\t{inner or tid}\n")

    def stack_bounds(self, head: int) -> None:
        """What a glibc that does not describe its layout must show."""
        self.words(head - 16 - LAYOUT.tid + LAYOUT.stack, head - 0x8000, 0x10000)


@pytest.fixture
def fake(tmp_path: Path) -> FakeProcess:
    return FakeProcess(tmp_path / "proc")


# what is mapped


def test_addresses_are_found_in_their_files() -> None:
    maps = Maps(MAPS.encode())
    program, code = maps.at(0x100000), maps.code_at(0x101FFF)
    assert program is not None and code is not None
    assert program.image is code.image
    assert (code.image.path, code.image.header, code.image.deleted) == ("/usr/bin/program", 0x100000, False)
    deleted = maps.code_at(0x201000)
    assert deleted is not None
    assert (deleted.image.path, deleted.image.deleted) == ("/lib/with space.so", True)


@pytest.mark.parametrize("address", [0, 0xFFFFF, 0x103000, 0x104000, 0x300000, 0x7F0000000000, 1 << 63])
def test_what_is_no_file_is_none(address: int) -> None:
    assert Maps(MAPS.encode()).at(address) is None


def test_code_is_only_what_may_run() -> None:
    maps = Maps(MAPS.encode())
    assert maps.at(0x102000) is not None
    assert maps.code_at(0x102000) is None


def test_a_file_mapped_twice_has_two_places() -> None:
    maps = Maps(MAPS.encode())
    headers = [mapping.image.header for place in (0x400000, 0x481000) if (mapping := maps.at(place))]
    assert headers == [0x400000, 0x480000]


@pytest.mark.parametrize("text", ["", "nonsense\n", "100000-\n", "zz-yy r-xp 0 0 0 /x\n", MAPS[:70]])
def test_a_list_that_is_cut_or_none_at_all_maps_nothing_wrong(text: str) -> None:
    assert Maps(text.encode()).at(0x101000) is None


def test_a_mapping_stands_while_its_link_says_so(fake: FakeProcess) -> None:
    maps = read_maps(str(fake.folder))
    for place in (0x100000, 0x200000):
        mapping = maps.at(place)
        assert mapping is not None
        assert stands(str(fake.folder), mapping)
        link = fake.folder / "map_files" / mapping.link
        link.unlink()
        assert not stands(str(fake.folder), mapping)
        link.symlink_to("/lib/other.so")
        assert not stands(str(fake.folder), mapping)


# memory and ELF


def test_memory_that_is_not_there_reads_as_nothing(fake: FakeProcess) -> None:
    memory = fake.memory()
    assert memory.read(0x100000, 4) == b"\x7fELF"
    assert memory.read(1 << 40, 8) == b""
    assert memory.word(0) == memory.word(1 << 63) == 0
    assert memory.text(0x100000, 3) is None
    memory.close()
    with pytest.raises(procfs.Unreadable) as raised:
        Memory(f"{fake.proc}/1")
    assert raised.value.reason == "gone"


def test_exported_names_are_found_where_the_linker_put_them() -> None:
    libc = ctypes.CDLL(None)
    memory = Memory("/proc/self")
    images = read_maps("/proc/self").images()
    library = next(image for image in images if Path(image.path).name.startswith("libc.so"))
    symbols = MappedElf(memory.read, library.header).symbols(["getpid", "no_such_name_anywhere"])
    found = {name: symbol.address for name, symbol in symbols.items()}
    assert found == {"getpid": ctypes.cast(libc.getpid, ctypes.c_void_p).value}
    memory.close()


def test_what_is_no_elf_file_has_no_names_and_no_build_id(fake: FakeProcess) -> None:
    memory = fake.memory()
    fake.put(0x100000, b"\x7fELF\x02\x01" + b"\xff" * 200)
    for header in (0x100000, 0x200000, 0x900000):
        elf = MappedElf(memory.read, header)
        assert elf.build_id() is None
        assert elf.symbols(["getpid"]) == {}
    memory.close()


def test_hash_of_names() -> None:
    assert (gnu_hash(""), gnu_hash("printf"), gnu_hash("exit")) == (0x1505, 0x156B2BB8, 0x7C967E3F)


def test_notes_are_padded_and_a_cut_one_is_left_out() -> None:
    note = struct.pack("<III", 4, 3, 3) + b"GNU\0" + b"\1\2\3\0"
    assert list(notes(note * 2)) == [(b"GNU", 3, b"\1\2\3")] * 2
    assert list(notes(note + note[:-1])) == [(b"GNU", 3, b"\1\2\3")]
    assert list(notes(b"")) == []


def test_a_function_on_disk_is_named_only_in_the_same_build(tmp_path: Path) -> None:
    library = compiled(
        tmp_path,
        "int first(void) { return 1; } int second(void) { return 2; }",
        "-shared",
        "-fPIC",
        name="lib.so",
    )
    places = {
        name: int(value, 16)
        for value, kind, name in map(
            str.split, subprocess.run(["nm", "--defined-only", library], capture_output=True, text=True, check=True)
            .stdout.strip().splitlines()
        )
        if kind == "T"
    }  # fmt: skip
    build_id = ElfFile(library.read_bytes()).build_id()
    symbols = SymbolsOnDisk()
    for name in ("first", "second"):
        assert symbols(str(library), build_id, places[name]) == name
    assert symbols(str(library), build_id, places["first"] + 1) is None
    assert symbols(str(library), "00", places["first"]) is None
    assert symbols(str(library), None, places["first"]) is None
    assert symbols(str(tmp_path / "absent"), build_id, places["first"]) is None


def test_a_fixed_executable_counts_from_where_it_is_mapped(tmp_path: Path) -> None:
    program = compiled(tmp_path, "int main(void) { return 0; }", "-no-pie")
    listed = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    address = next(int(line.split()[0], 16) for line in listed.splitlines() if line.endswith(" T main"))
    assert ElfFile(program.read_bytes()).function_at(address - 0x400000) == "main"


def test_a_cut_file_is_refused_or_names_nothing(tmp_path: Path) -> None:
    library = compiled(
        tmp_path, "int first(void) { return 1; }", "-shared", "-fPIC", name="lib.so"
    ).read_bytes()
    for size in range(0, len(library), 97):
        try:
            assert ElfFile(library[:size]).function_at(0x10) is None
        except ValueError:
            continue


# descriptors


def is_code(address: int) -> bool:
    return Maps(MAPS.encode()).code_at(address) is not None


def test_a_descriptor_is_believed_when_it_holds_the_threads_number(fake: FakeProcess) -> None:
    fake.thread(12, HEAD, 0x101234, 0x99)
    memory = fake.memory()
    found = at_head(memory, (LAYOUT,), HEAD, lambda number: number == 12, is_code)
    assert found is not None
    assert (found.address, found.start, found.argument) == (HEAD - 16 - 0x2D0, 0x101234, 0x99)
    assert at_head(memory, (LAYOUT,), HEAD, lambda number: number == 13, is_code) is None
    assert at_head(memory, (LAYOUT,), 1 << 40, lambda number: number == 12, is_code) is None
    memory.close()


@pytest.mark.parametrize("start", [0, 5, 0x102000, 0x300000])
def test_a_routine_that_is_no_code_of_a_file_is_none(fake: FakeProcess, start: int) -> None:
    fake.thread(12, HEAD, start)
    memory = fake.memory()
    assert at_head(memory, (LAYOUT,), HEAD, lambda number: number == 12, is_code) is None
    memory.close()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs the kernel of an x86-64 machine")
def test_a_layout_known_by_heart_must_also_show_the_stack_that_it_lies_on(fake: FakeProcess) -> None:
    memory = fake.memory()
    by_heart = layouts(memory, [])
    assert [each.described for each in by_heart] == [False, False]
    fake.thread(12, HEAD, 0x101234)
    assert at_head(memory, by_heart, HEAD, lambda number: number == 12, is_code) is None
    fake.stack_bounds(HEAD)
    assert at_head(memory, by_heart, HEAD, lambda number: number == 12, is_code) is not None
    memory.close()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs the kernel of an x86-64 machine")
def test_the_older_layout_shows_the_scheduling_policy_where_the_newer_has_the_routine(
    fake: FakeProcess,
) -> None:
    memory = fake.memory()
    fake.thread(12, HEAD, 0, 0x101234)
    fake.stack_bounds(HEAD)
    found = at_head(memory, layouts(memory, []), HEAD, lambda number: number == 12, is_code)
    assert found is not None
    assert found.start == 0x101234
    memory.close()


def test_layouts_that_this_systems_c_library_describes_fit_its_own_threads() -> None:
    memory = Memory("/proc/self")
    (layout,) = layouts(memory, read_maps("/proc/self").images())
    assert layout.described
    head = RobustList().head(os.getpid())
    assert owners_descriptor.address_at(memory, (layout,), head, lambda number: number == os.getpid())
    memory.close()


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("202 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffd10 0x7f01\n", 0x7FFD10),
        ("-1 0x7ffd10 0x7f01\n", 0x7FFD10),
        ("running\n", None),
        ("", None),
        ("202 xx yy zz\n", None),
    ],
)
def test_the_stack_pointer_of_a_sleeping_thread(fake: FakeProcess, text: str, pointer: int | None) -> None:
    folder = fake.folder / "task" / "12"
    folder.mkdir(parents=True)
    (folder / "syscall").write_text(text)
    assert owners_stack.stack_pointer(fake.proc, PID, 12) == pointer
    assert owners_stack.stack_pointer(fake.proc, PID, 13) is None


# C++ bodies and teams


def put_body(fake: FakeProcess, name: bytes) -> None:
    """An object at 0x600000 with its virtual table in the program."""
    fake.words(0x600000, 0x102010)
    fake.words(0x102008, 0x102100)
    fake.words(0x102100, 0, 0x100800)
    fake.put(0x100800, name + b"\0")


def test_the_type_of_a_std_thread(fake: FakeProcess) -> None:
    put_body(fake, b"*NSt6thread11_State_implI3FooEE")
    memory = fake.memory()
    found = Bodies(memory, Maps(MAPS.encode())).of(0x600000)
    assert found is not None
    assert (found.name, found.image.path, found.offset) == (
        "NSt6thread11_State_implI3FooEE",
        "/usr/bin/program",
        0x2010,
    )
    memory.close()


@pytest.mark.parametrize("name", [b"N3FooE", b"", b"\xff" * 2000])
def test_an_object_of_another_type_is_no_body(fake: FakeProcess, name: bytes) -> None:
    put_body(fake, name)
    memory = fake.memory()
    bodies = Bodies(memory, Maps(MAPS.encode()))
    assert [bodies.of(place) for place in (0x600000, 0x600008, 0, 1 << 62)] == [None] * 4
    memory.close()


def put_team(fake: FakeProcess, pool: int, *descriptors: int, used: int | None = None) -> None:
    """A libgomp pool of these threads, whose records lie 0x100 below each descriptor."""
    listed = pool + 0x100
    fake.words(listed, *(descriptor - 0x100 for descriptor in descriptors))
    fake.put(pool, struct.pack("<QII", listed, 64, len(descriptors) if used is None else used))
    for descriptor in descriptors:
        fake.words(descriptor - 0x80, pool)


@pytest.mark.skipif(owners_descriptor.MACHINE != "x86_64", reason="needs the kernel of an x86-64 machine")
def test_workers_find_the_master_of_their_team(fake: FakeProcess) -> None:
    master, other, *workers = (0x700000 + 0x4000 * place for place in range(6))
    put_team(fake, 0x800000, master, *workers[:2])
    put_team(fake, 0x810000, other, *workers[2:])
    fake.words(0x900000, 0)
    memory = fake.memory()
    asked = {20 + place: worker for place, worker in enumerate(workers)}
    threads = {master: 10, other: 11, **{address: tid for tid, address in asked.items()}}
    teams = Teams(memory)
    assert teams.masters(asked, threads) == {20: 10, 21: 10, 22: 11, 23: 11}
    del threads[other]
    assert teams.masters(asked, threads) == {20: 10, 21: 10}
    memory.close()


@pytest.mark.parametrize("used", [0, 65, 1 << 31])
def test_a_pool_that_makes_no_sense_has_no_master(fake: FakeProcess, used: int) -> None:
    put_team(fake, 0x800000, 0x700000, 0x704000, used=used)
    memory = fake.memory()
    assert Teams(memory).masters({20: 0x704000}, {0x700000: 10, 0x704000: 20}) == {}
    memory.close()


# the probe


class Heads(RobustList):
    """Robust lists as the test wants them."""

    def __init__(self, heads: dict[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.asked: list[int] = []

    def head(self, tid: int) -> int:
        self.asked.append(tid)
        if tid not in self.heads:
            raise Refused("get_robust_list: not here")
        return self.heads[tid]


class Following:
    """The probe on the made-up process."""

    def __init__(self, fake: FakeProcess, heads: dict[int, int]) -> None:
        self.robust = Heads(heads)
        self.threads: dict[int, object] = {PID: object()}
        self.changes = 1
        self.probe = OwnersProbe(self.living, fake.proc, robust=self.robust)
        self.t_ns = 0

    def living(self, pid: int) -> tuple[int, Mapping[int, object]]:
        return self.changes, self.threads

    def bear(self, *tids: int) -> None:
        """These threads are new, also where the id was another's."""
        self.threads = {**self.threads, **{tid: object() for tid in tids}}
        self.changes += 1

    def look(self, after_ns: int = 100_000_000) -> list[Line]:
        self.t_ns += after_ns
        processes = {PID: Process(PID, 1, 1, "main")}
        return list(self.probe.look(Moment(self.t_ns, processes, frozenset(processes))))


def owned(lines: list[Line]) -> list[tuple[Any, ...]]:
    """tid, how, module and offset of every row."""
    names = ("tid", "how", "module", "offset")
    return [
        row
        for line in lines
        if line["kind"] == "threads.owned"
        for row in zip(*(line[n] for n in names), strict=True)
    ]


@pytest.fixture
def following(fake: FakeProcess) -> Following:
    if owners_descriptor.MACHINE != "x86_64":
        pytest.skip("needs the kernel of an x86-64 machine, whose layout this process has")
    fake.thread(12, HEAD, 0x101234)
    fake.stack_bounds(HEAD)
    return Following(fake, {12: HEAD, PID: 0})


def test_each_thread_is_asked_once_and_said_once(following: Following) -> None:
    following.bear(12)
    assert owned(following.look()) == [(12, "start-routine", 0, 0x1234), (PID, "main", 0, None)]
    asked = len(following.robust.asked)
    assert following.look() == following.look() == []
    assert len(following.robust.asked) == asked
    following.probe.close()


def test_every_line_is_as_documented(following: Following) -> None:
    following.bear(12)
    for line in following.look():
        assert line.keys() - {"kind"} == {field.name for field in KINDS[line["kind"]].fields}
    following.probe.close()


def test_a_thread_that_is_being_born_is_asked_again(fake: FakeProcess, following: Following) -> None:
    fake.thread(13, HEAD + 0x10000, 0)
    following.robust.heads[13] = HEAD + 0x10000
    following.bear(13)
    assert owned(following.look()) == [(PID, "main", 0, None)]
    fake.thread(13, HEAD + 0x10000, 0x101500)
    fake.stack_bounds(HEAD + 0x10000)
    assert owned(following.look()) == [(13, "start-routine", 0, 0x1500)]
    following.probe.close()


def test_what_stays_unknown_is_said_once_and_asked_again_with_the_keyframe(
    fake: FakeProcess, following: Following
) -> None:
    following.robust.heads[14] = 0x480000
    following.bear(14)
    said = [owned(following.look()) for _ in range(10)]
    assert [row for rows in said[1:] for row in rows] == [(14, "unknown", None, None)]
    fake.thread(14, HEAD + 0x20000, 0x101600)
    fake.stack_bounds(HEAD + 0x20000)
    following.robust.heads[14] = HEAD + 0x20000
    assert (14, "start-routine", 0, 0x1600) in owned(following.look(30_000_000_000))
    following.probe.close()


def test_a_number_that_another_thread_has_now_is_asked_again(fake: FakeProcess, following: Following) -> None:
    following.bear(12)
    following.look()
    fake.thread(12, HEAD, 0x101700)
    following.bear(12)
    assert owned(following.look()) == [(12, "start-routine", 0, 0x1700)]
    following.probe.close()


def test_a_keyframe_repeats_modules_and_living_threads(following: Following) -> None:
    following.bear(12, 12)
    first = following.look()
    again = following.look(30_000_000_000)
    assert sorted(owned(again)) == sorted(owned(first))
    assert [line["path"] for line in again if line["kind"] == "modules"] == [["/usr/bin/program"]]
    del following.threads[12]
    following.changes += 1
    assert owned(following.look(30_000_000_000)) == [(PID, "main", 0, None)]
    following.probe.close()


def test_ids_of_another_pid_namespace(fake: FakeProcess, following: Following) -> None:
    fake.thread(15, HEAD + 0x30000, 0x101800, inner=3)
    fake.stack_bounds(HEAD + 0x30000)
    following.robust.heads[15] = HEAD + 0x30000
    following.bear(15)
    assert (15, "start-routine", 0, 0x1800) in owned(following.look())
    following.probe.close()


def test_code_that_was_mapped_since_is_found_by_reading_the_list_again(
    fake: FakeProcess, following: Following
) -> None:
    following.look()
    new = "a00000-a01000 r-xp 00000000 08:01 14 /lib/late.so"
    (fake.folder / "maps").write_text(f"{MAPS}{new}\n")
    (fake.folder / "map_files" / "a00000-a01000").symlink_to("/lib/late.so")
    fake.thread(16, HEAD + 0x40000, 0xA00010)
    fake.stack_bounds(HEAD + 0x40000)
    following.robust.heads[16] = HEAD + 0x40000
    following.bear(16)
    lines = following.look()
    assert owned(lines) == [(16, "start-routine", 1, 0x10)]
    assert [line["path"] for line in lines if line["kind"] == "modules"] == [["/lib/late.so"]]
    following.probe.close()


def test_another_library_at_the_same_place_is_not_taken_for_the_first(
    fake: FakeProcess, following: Following
) -> None:
    fake.thread(17, HEAD + 0x50000, 0x400010)
    fake.stack_bounds(HEAD + 0x50000)
    following.robust.heads[17] = HEAD + 0x50000
    following.bear(17)
    following.look()
    (fake.folder / "maps").write_text(MAPS.replace("/lib/twice.so", "/lib/other.so"))
    link = fake.folder / "map_files" / "400000-401000"
    link.unlink()
    link.symlink_to("/lib/other.so")
    following.bear(17)
    (line,) = [line for line in following.look() if line["kind"] == "modules"]
    assert line["path"] == ["/lib/other.so"]
    following.probe.close()


def test_a_process_that_is_gone_is_no_trouble(fake: FakeProcess, following: Following) -> None:
    (fake.folder / "mem").unlink()
    assert following.look() == []
    following.probe.close()


# rights


def status(fake: FakeProcess, *, uid: int, capabilities: int = 0) -> None:
    (fake.folder / "status").write_text(f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    own = fake.proc / "self"
    own.mkdir(exist_ok=True)
    (own / "status").write_text(f"CapEff:\t{capabilities:016x}\n")


@pytest.mark.parametrize(
    ("uid", "capabilities", "scope", "reason", "remedy"),
    [
        (os.geteuid() + 1, 0, None, "we are user", "CAP_SYS_PTRACE"),
        (os.geteuid(), 0, 1, "ptrace_scope is 1", "corelens record -- CMD"),
        (os.geteuid(), 0, 2, "ptrace_scope is 2", "CAP_SYS_PTRACE"),
        (os.geteuid(), 0, 0, "capabilities that we lack", "SYS_PTRACE"),
        (os.geteuid(), 1 << 19, 0, "security module", "on the host"),
    ],
)
def test_the_reason_and_the_remedy(
    fake: FakeProcess, uid: int, capabilities: int, scope: int | None, reason: str, remedy: str
) -> None:
    status(fake, uid=uid, capabilities=capabilities)
    if scope is not None:
        yama = fake.proc / "sys" / "kernel" / "yama"
        yama.mkdir(parents=True)
        (yama / "ptrace_scope").write_text(f"{scope}\n")
    why, how = refusal(fake.proc, PID)
    assert reason in why
    assert remedy in how


def test_a_process_that_hides_who_owns_it(fake: FakeProcess) -> None:
    assert "hides" in refusal(fake.proc, PID)[0]
