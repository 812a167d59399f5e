"""Who has the other end of a pipe or of a pair of sockets open, asked of every process that may be read."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from corelens.probes import procfs

Wanted = tuple[str, str]
"""A direction (`in`, `out`) and a file, as a thread waits for it."""

# Looking at one takes 4 us. Of a machine that has more open, the rest is not looked at and counts as outside.
_MOST_DESCRIPTORS = 50_000
_PIPE, _SOCKET = "pipe:[", "socket:["
# <linux/sock_diag.h>, <linux/unix_diag.h>
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_SHOW_PEER, _PEER = 0x4, 2
_DONE, _ERROR = 3, 2
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBHIIIII")
_ANSWER = struct.Struct("=BBBBIII")
_ATTRIBUTE = struct.Struct("=HH")


def ends(proc: Path, tree: Iterable[int], wanted: Iterable[Wanted]) -> list[tuple[str, str, int | None]]:
    """Rows of `standstill.ends`: for each file those who could end the wait; None: outside, or not found."""
    members = set(tree)
    asked = [one for one in dict.fromkeys(wanted) if one[1].startswith((_PIPE, _SOCKET))]
    if not asked:
        return []
    holders, complete = _holders(proc, members, _others(asked))
    rows: list[tuple[str, str, int | None]] = []
    for (direction, file), others in _others(asked).items():
        found = {pid for other in others for pid in holders.get(other, ())}
        inside = sorted(found & members)
        outside = bool(found - members) or not complete or not found
        rows += [(direction, file, pid) for pid in inside] + ([(direction, file, None)] if outside else [])
    return rows


def _others(asked: Iterable[Wanted]) -> dict[Wanted, list[tuple[str, int]]]:
    """Per wait the ends that could end it: a file's name, with the permission that whoever has it needs."""
    peers = unix_peers() if any(file.startswith(_SOCKET) for _, file in asked) else {}
    found: dict[Wanted, list[tuple[str, int]]] = {}
    for direction, file in asked:
        if file.startswith(_PIPE):
            found[direction, file] = [(file, stat.S_IWUSR if direction == "in" else stat.S_IRUSR)]
        else:
            peer = peers.get(file)
            found[direction, file] = [] if peer is None else [(peer, 0)]
    return found


def _holders(
    proc: Path, members: set[int], others: dict[Wanted, list[tuple[str, int]]]
) -> tuple[dict[tuple[str, int], set[int]], bool]:
    """Processes by the ends they hold, and whether all could be looked at."""
    sought = {other for of in others.values() for other in of}
    names = {name for name, _ in sought}
    found: dict[tuple[str, int], set[int]] = {}
    everyone = [*members, *(pid for pid in procfs.process_ids(proc) if pid not in members)]
    looked = 0
    for pid in everyone:
        for path, name in _links(proc / str(pid) / "fd"):
            looked += 1
            if name in names:
                for end in _ends_of(path, name, sought):
                    found.setdefault(end, set()).add(pid)
        if looked > _MOST_DESCRIPTORS:
            return found, False
    return found, True


def _links(folder: Path) -> Iterator[tuple[str, str]]:
    """(path, name) of the files that a process has open; nothing where it may not be asked."""
    try:
        numbers = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return
    for number in numbers:
        path = f"{folder}/{number}"
        try:
            yield path, procfs.read_link(path)
        except procfs.Unreadable:
            continue


def _ends_of(path: str, name: str, sought: set[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    # The permissions of the link say whether the file was opened to be read or written.
    yield from (
        (name, need)
        for need in (0, stat.S_IRUSR, stat.S_IWUSR)
        if (name, need) in sought and mode & need == need
    )


def unix_peers() -> dict[str, str]:
    """The other end of each connected unix socket, both as `socket:[INODE]`; empty where the kernel does not say."""
    question = _QUESTION.pack(socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_PEER, 0, 0)
    length = _HEADER.size + len(question)
    request = _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + question
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            kernel.sendto(request, (0, 0))
            return dict(_pairs(kernel))
    except OSError:
        return {}


def _pairs(kernel: socket.socket) -> Iterator[tuple[str, str]]:
    while True:
        data = kernel.recv(1 << 18)
        if not data:
            return
        for kind, body in _messages(data):
            if kind in (_DONE, _ERROR):
                return
            number = _ANSWER.unpack_from(body)[4]
            peer = _peer(body[_ANSWER.size :])
            if peer:
                yield f"{_SOCKET}{number}]", f"{_SOCKET}{peer}]"


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _peer(attributes: bytes) -> int | None:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if length < _ATTRIBUTE.size:
            return None
        if kind == _PEER:
            return int.from_bytes(attributes[4:8], "little")
        attributes = attributes[(length + 3) & ~3 :]
    return None
