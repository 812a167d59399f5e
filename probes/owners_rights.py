"""Why the memory of a process may not be read, and what would open it."""

from __future__ import annotations

import os
from pathlib import Path

from corelens.probes import procfs

_CAP_SYS_PTRACE = 19


def refusal(proc: Path, pid: int) -> tuple[str, str]:
    """The reason and the remedy, judged by the rules of ptrace(2)."""
    uid, dumpable = _owner(proc, pid)
    own = os.geteuid()
    if uid is None:
        return "the process hides who owns it", "run as root, or remount /proc with hidepid=0"
    if _may_trace(proc):
        return (
            "it is kept closed by a security module or belongs to a user namespace above ours",
            "run corelens on the host and not in a container",
        )
    if uid != own:
        return f"it belongs to user {uid} and we are user {own}", "run as that user, or with CAP_SYS_PTRACE"
    scope = _yama_scope(proc)
    if scope == 1:
        return (
            "kernel.yama.ptrace_scope is 1",
            "start the program with: corelens record -- CMD; or sysctl kernel.yama.ptrace_scope=0",
        )
    if scope > 1:
        return f"kernel.yama.ptrace_scope is {scope}", "run with CAP_SYS_PTRACE"
    if not dumpable:
        return "it made itself unreadable (setuid, or prctl PR_SET_DUMPABLE)", "run with CAP_SYS_PTRACE"
    return (
        "it holds capabilities that we lack",
        "run with CAP_SYS_PTRACE; docker run --cap-add SYS_PTRACE where it is a container",
    )


def _owner(proc: Path, pid: int) -> tuple[int | None, bool]:
    """User of a process, and whether it is dumpable: the files of one that is not belong to root."""
    try:
        status = procfs.read_bytes(f"{proc}/{pid}/status")
        uid = int(_field(status, b"Uid:")[1])
        return uid, procfs.owner(proc, pid) == uid
    except (procfs.Unreadable, IndexError, ValueError):
        return None, False


def _may_trace(proc: Path) -> bool:
    try:
        status = procfs.read_bytes(f"{proc}/self/status")
        return bool(int(_field(status, b"CapEff:")[0], 16) >> _CAP_SYS_PTRACE & 1)
    except (procfs.Unreadable, IndexError, ValueError):
        return False


def _yama_scope(proc: Path) -> int:
    try:
        return int(procfs.read_bytes(f"{proc}/sys/kernel/yama/ptrace_scope"))
    except (procfs.Unreadable, ValueError):
        return 0


def _field(status: bytes, label: bytes) -> list[bytes]:
    for line in status.splitlines():
        if line.startswith(label):
            return line.split()[1:]
    return []
