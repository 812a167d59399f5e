"""Reading /proc: each file parsed in one place, each failure given one of a few reasons.

The root of the file system is a parameter everywhere, so that a folder of plain files can stand in for it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROC = Path("/proc")
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NS_PER_TICK = 1_000_000_000 // CLOCK_TICKS_PER_S

Reason = Literal["gone", "forbidden", "zombie", "broken", "unsupported", "descriptors", "late"]

_REASONS: dict[int, Reason] = {
    errno.ENOENT: "gone",
    errno.ESRCH: "gone",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.ENOSYS: "unsupported",
    errno.EOPNOTSUPP: "unsupported",
}

_LARGEST_READ = 1 << 24
_READ_BYTES = 1 << 16


class Unreadable(Exception):
    """Something in /proc could not be read; `reason` is one of the words a `gap` line may carry."""

    def __init__(self, path: str, reason: Reason, detail: str = "") -> None:
        super().__init__(path, reason, detail)
        self.path = path
        self.reason: Reason = reason
        self.detail = detail or reason


def reason_of(error: OSError) -> Reason:
    """Translate an errno; what nobody expects is "broken"."""
    return _REASONS.get(error.errno or 0, "broken")


def read_bytes(path: str) -> bytes:
    """Return the whole file; raises Unreadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(path, reason_of(error), error.strerror or "") from error
    try:
        return _read_all(descriptor)
    except OSError as error:
        raise Unreadable(path, reason_of(error), error.strerror or "") from error
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    # A listing such as maps comes in pieces of whole lines: a short piece does not mean that it is the last.
    parts: list[bytes] = []
    size = 0
    while size < _LARGEST_READ and (data := os.read(descriptor, _READ_BYTES)):
        parts.append(data)
        size += len(data)
    return b"".join(parts)


def read_mappings(folder: str) -> bytes:
    """The text of maps in the folder of a process or thread, however long; raises Unreadable."""
    path = f"{folder}/maps"
    try:
        # read_bytes has a bound, which a program with very many mappings exceeds.
        with open(path, "rb", buffering=1 << 16) as file:  # noqa: PTH123
            return file.read()
    except OSError as error:
        raise Unreadable(path, reason_of(error), error.strerror or "") from error


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat (or of one thread) that are used; ticks are 1/CLOCK_TICKS_PER_S s."""

    pid: int
    comm: str
    state: str
    ppid: int
    group: int
    session: int
    minor_faults: int
    major_faults: int
    user_ticks: int
    system_ticks: int
    reaped_user_ticks: int
    reaped_system_ticks: int
    threads: int
    start_ticks: int
    rss_pages: int
    core: int
    wait_status: int | None
    """As `os.waitpid` would give it; meaningful for a zombie, None where the kernel hides it (reads 0)."""


def parse_stat(data: bytes, path: str = "stat") -> Stat:
    """Parse a stat line; the name in it may hold spaces and brackets. Raises Unreadable."""
    left, right = data.find(b"("), data.rfind(b")")
    fields = data[right + 2 :].split()
    try:
        numbers = [int(field) for field in fields[1:]]
        return Stat(
            pid=int(data[:left]),
            comm=data[left + 1 : right].decode(errors="replace"),
            state=fields[0].decode(),
            ppid=numbers[0],
            group=numbers[1],
            session=numbers[2],
            minor_faults=numbers[6],
            major_faults=numbers[8],
            user_ticks=numbers[10],
            system_ticks=numbers[11],
            reaped_user_ticks=numbers[12],
            reaped_system_ticks=numbers[13],
            threads=numbers[16],
            start_ticks=numbers[18],
            rss_pages=numbers[20],
            core=numbers[35],
            wait_status=numbers[48] if len(numbers) > 48 else None,
        )
    except (ValueError, IndexError) as error:
        raise Unreadable(path, "broken", f"not a stat line: {data[:60]!r}") from error


def read_stat(proc: Path, pid: int) -> Stat:
    """Read /proc/PID/stat, which also works for a zombie; raises Unreadable."""
    path = f"{proc}/{pid}/stat"
    return parse_stat(read_bytes(path), path)


def read_thread_stat(proc: Path, pid: int, tid: int) -> Stat:
    """Read the stat line of one thread; raises Unreadable."""
    path = f"{proc}/{pid}/task/{tid}/stat"
    return parse_stat(read_bytes(path), path)


def parse_schedstat(data: bytes) -> tuple[int, int, int]:
    """(run ns, run-queue wait ns, slices); raises Unreadable for anything else."""
    try:
        run_ns, wait_ns, slices = data.split()
        return int(run_ns), int(wait_ns), int(slices)
    except ValueError as error:
        raise Unreadable("schedstat", "broken", f"not a schedstat line: {data[:60]!r}") from error


_ALLOWED = b"\nCpus_allowed_list:"


@dataclass(frozen=True, slots=True)
class Switches:
    """Name, state, context switches and allowed cores of one thread, from its status file."""

    comm: str
    state: str
    voluntary: int
    involuntary: int
    allowed_cores: str | None = None
    """Cores it may run on as the kernel writes them (`0-3,8`); None where it does not say."""


def read_switches(proc: Path, pid: int, tid: int) -> Switches:
    """Read /proc/PID/task/TID/status; raises Unreadable."""
    path = f"{proc}/{pid}/task/{tid}/status"
    data = read_bytes(path)
    # Finding five lines costs a tenth of taking the whole table apart.
    try:
        return Switches(
            comm=_value_of(data, b"Name:").decode(errors="replace"),
            state=_value_of(data, b"\nState:")[:1].decode(),
            voluntary=int(_value_of(data, b"\nvoluntary_ctxt_switches:")),
            involuntary=int(_value_of(data, b"\nnonvoluntary_ctxt_switches:")),
            allowed_cores=_value_of(data, _ALLOWED).decode() if _ALLOWED in data else None,
        )
    except ValueError as error:
        raise Unreadable(path, "broken", "a field of the status file is missing") from error


def _value_of(data: bytes, label: bytes) -> bytes:
    start = data.index(label) + len(label) + 1
    return data[start : data.index(b"\n", start)]


def read_core(proc: Path, pid: int, tid: int) -> int:
    """Core that a thread ran on last; raises Unreadable."""
    path = f"{proc}/{pid}/task/{tid}/stat"
    data = read_bytes(path)
    try:
        return int(data[data.rfind(b")") + 2 :].split(maxsplit=37)[36])
    except (ValueError, IndexError) as error:
        raise Unreadable(path, "broken", f"not a stat line: {data[:60]!r}") from error


def thread_group(proc: Path, tid: int) -> int:
    """Process that a thread id belongs to (itself for a process); raises Unreadable."""
    path = f"{proc}/{tid}/status"
    try:
        return int(_colon_table(read_bytes(path))[b"Tgid"])
    except (KeyError, ValueError) as error:
        raise Unreadable(path, "broken", "no Tgid in the status file") from error


_IO_FIELDS = (b"read_bytes", b"write_bytes", b"rchar", b"wchar", b"syscr", b"syscw")


def read_io(proc: Path, pid: int) -> tuple[int, ...]:
    """What a process has read and written; raises Unreadable.

    Bytes from and to storage, then bytes and calls of read and write of any file, pipes and sockets among them.
    """
    path = f"{proc}/{pid}/io"
    table = _colon_table(read_bytes(path))
    try:
        return tuple(int(table[name]) for name in _IO_FIELDS)
    except (KeyError, ValueError) as error:
        raise Unreadable(path, "broken", "a field of the io file is missing") from error


def read_command_line(proc: Path, pid: int) -> bytes:
    """The raw command line, empty for a zombie or a kernel thread; raises Unreadable."""
    return read_bytes(f"{proc}/{pid}/cmdline")


def split_command_line(data: bytes) -> list[str]:
    """Arguments of a raw command line.

    A program that writes its title over its arguments leaves padding behind, which is dropped; an empty
    argument in the middle is kept.
    """
    return [part.decode(errors="replace") for part in data.rstrip(b"\0").split(b"\0")] if data else []


def read_link(path: str) -> str:
    """Target of a link such as exe or fd/3; raises Unreadable."""
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError as error:
        raise Unreadable(path, reason_of(error), error.strerror or "") from error


def read_executable(proc: Path, pid: int) -> str:
    """Path of the executable of a process; raises Unreadable."""
    return read_link(f"{proc}/{pid}/exe")


def owner(proc: Path, pid: int) -> int:
    """User id a process belongs to; raises Unreadable."""
    path = f"{proc}/{pid}"
    try:
        return Path(path).stat().st_uid
    except OSError as error:
        raise Unreadable(path, reason_of(error), error.strerror or "") from error


def process_ids(proc: Path) -> list[int]:
    """Ids of all processes that can be seen, in no order."""
    return [int(name) for name in os.listdir(proc) if name.isdecimal()]  # noqa: PTH208


def last_process_id(data: bytes) -> int | None:
    """Id that the kernel gave out last, from the text of /proc/loadavg; None when it is not there."""
    last = data.split()[-1:]
    return int(last[0]) if last and last[0].isdigit() else None


def _colon_table(data: bytes) -> dict[bytes, bytes]:
    rows = (line.partition(b":") for line in data.splitlines())
    return {name: value.strip() for name, _, value in rows}
