"""The process tree: births, deaths, roles, CPU clocks and slower counters of every followed process.

A process is adopted when its parent is in the tree, when it carries the mark that was handed to the target
(orphans whose parent was never seen), or when it works for a Ray session that the tree drives. Once adopted
it stays, whoever its parent is later.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from corelens.probes import pidfd, procfs, roles
from corelens.probes.births import Births
from corelens.probes.gaps import Gaps
from corelens.probes.masking import masked
from corelens.probes.members import (
    Masking,
    Member,
    born_line,
    changed_line,
    detail_row,
    died_line,
    follow,
    reread_identity,
)
from corelens.probes.probe import Moment, Process
from corelens.probes.ray_session import RaySessions
from corelens.vocabulary import Line, columnar_line

DETAIL_PERIOD_NS = 1_000_000_000
KEYFRAME_PERIOD_NS = 30_000_000_000
# A young process may have been seen between its fork and its exec, so its command line is read at each look.
_YOUNG_NS = 1_000_000_000

_MAY_DRIVE_RAY = frozenset(
    {
        roles.MAIN,
        roles.CHILD,
        roles.POOL_WORKER_FORK,
        roles.POOL_WORKER_SPAWN,
        roles.POOL_WORKER_FORKSERVER,
        roles.LOKY_WORKER,
    }
)

Reaper = Callable[[], int | None]


class TreeProbe:
    """Follows a process and its descendants. It looks first in every round: others see the tree it left.

    `mark` is an environment entry (`NAME=value`) that only descendants of the target carry. `reaper` waits
    for the root where it is a child of ours, and returns its wait status. Descriptors that tell of deaths are
    registered with `poll`.
    """

    name = "tree"

    def __init__(
        self,
        root_pid: int,
        *,
        proc: Path = procfs.PROC,
        period_ns: int = 100_000_000,
        mark: str | None = None,
        reaper: Reaper | None = None,
        poll: select.epoll | None = None,
        masking: Masking = masked,
        exclude: frozenset[int] = frozenset(),
    ) -> None:
        self.period_ns = period_ns
        self.root_pid = root_pid
        self.members: dict[int, Member] = {}
        self.moved: set[int] = set()
        self._proc = proc
        self._mark = mark.encode() if mark is not None else None
        self._reaper = reaper
        self._poll = poll
        self._masking = masking
        self._exclude = exclude
        self._births = Births(proc)
        self._ray = RaySessions(proc)
        self._gaps = Gaps(self.name)
        self._by_pidfd: dict[int, int] = {}
        self._detail_pending: set[int] = set()
        self._looked = False
        self._short = False
        self._next_detail_ns = 0
        self._next_keyframe_ns = KEYFRAME_PERIOD_NS

    @property
    def root_ended(self) -> bool:
        """Whether the root has ended; False before the first look."""
        return self._looked and self.root_pid not in self.members

    @property
    def processes(self) -> dict[int, Process]:
        """The living tree by pid."""
        return {pid: member.process for pid, member in self.members.items()}

    def pid_of(self, descriptor: int) -> int | None:
        """Process that a pidfd belongs to."""
        return self._by_pidfd.get(descriptor)

    def raylets(self) -> dict[int, str]:
        """Raylets of the Ray sessions that the tree drives, with the folder of their session."""
        return self._ray.raylets(self.members)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Find births and deaths, then read the clocks; each second also the slower counters."""
        t_ns = moment.t_ns
        self.moved = set()
        yield from self._look_for_births(t_ns)
        self._looked = True
        yield from self._read_clocks(t_ns)
        yield from self._look_at_the_young(t_ns)
        if t_ns >= self._next_detail_ns:
            self._next_detail_ns = t_ns + max(DETAIL_PERIOD_NS, 10 * self.period_ns)
            yield from self._look_closer(t_ns)
        if t_ns >= self._next_keyframe_ns:
            self._next_keyframe_ns = t_ns + KEYFRAME_PERIOD_NS
            yield from self._keyframe(t_ns)

    def bury(self, pid: int, t_ns: int, *, how: str = "pidfd") -> Iterator[Line]:
        """Write down what an ended process leaves, at best before its parent reaps it."""
        member = self.members.pop(pid, None)
        if member is None:
            return
        status: int | None = None
        stat = self._last_stat(member)
        # Without the process that number may by now stand for another's clock.
        member.cpu_ns = member.read_cpu_ns() if stat is not None else None
        if stat is not None:
            yield columnar_line("process.detail", t_ns, [detail_row(self._proc, stat)])
            status = stat.wait_status if _status_is_shown(member, stat) else None
        if pid == self.root_pid and self._reaper is not None:
            status, how = self._reaper(), "wait"
        if status is None and member.pidfd is not None:
            status = pidfd.wait_status(member.pidfd)
        yield died_line(member, t_ns, status, how)
        self._release(member)

    def close(self) -> None:
        """Give the descriptors back."""
        for member in self.members.values():
            member.close()
        self._births.close()

    # births

    def _look_for_births(self, t_ns: int, *, everyone: bool = False) -> Iterator[Line]:
        fresh = self._births.look(everyone=everyone)
        stats = {stat.pid: stat for pid in fresh if (stat := self._stat(pid)) is not None}
        ordered = _parents_first(stats.values())
        for stat in ordered:
            yield from self._bury_predecessor(stat, t_ns)
            self._ray.notice(stat)
        for stat in ordered:
            joined_by = self._joins(stat)
            if joined_by is not None:
                yield self._adopt(stat, joined_by, t_ns)
                yield from self._tell_hidden(stat.pid, t_ns)
        yield from self._tell_shortage(t_ns)

    def _tell_hidden(self, pid: int, t_ns: int) -> Iterator[Line]:
        """Say what the kernel hides of another user's process; a kernel thread has nothing to hide."""
        try:
            procfs.read_executable(self._proc, pid)
        except procfs.Unreadable as error:
            if error.reason == "forbidden":
                detail = "executable, environment and storage bytes are shown to its owner and to root only"
                yield from self._gaps.say(t_ns, pid, "exe, environ, io", error.reason, detail)

    def _tell_shortage(self, t_ns: int) -> Iterator[Line]:
        if self._short:
            detail = (
                "none was left for some processes, of which little or nothing could be read"
                " (raise the limit with: ulimit -n)"
            )
            yield from self._gaps.say(t_ns, None, "descriptors for every process", "descriptors", detail)

    def _stat(self, pid: int) -> procfs.Stat | None:
        try:
            return procfs.read_stat(self._proc, pid)
        except procfs.Unreadable as error:
            self._short = self._short or error.reason == "descriptors"
            return None

    def _bury_predecessor(self, stat: procfs.Stat, t_ns: int) -> Iterator[Line]:
        member = self.members.get(stat.pid)
        if member is not None and member.process.start_ticks != stat.start_ticks:
            yield from self.bury(stat.pid, t_ns, how="polling")

    def _joins(self, stat: procfs.Stat) -> str | None:
        if stat.pid in self.members or stat.pid in self._exclude:
            return None
        if stat.pid == self.root_pid:
            return "root"
        if stat.ppid in self.members or self._is_marked_orphan(stat):
            return "child"
        return None

    def _is_marked_orphan(self, stat: procfs.Stat) -> bool:
        """Whether a process whose parent is not in the tree descends from it all the same.

        Its parent ended before it was ever seen. Only processes that init took over, or of a job of ours, are
        asked: reading the environment of every new process on the machine would be dear.
        """
        if self._mark is None:
            return False
        if stat.ppid != 1 and all(stat.group != member.group for member in self.members.values()):
            return False
        try:
            environ = procfs.read_bytes(f"{self._proc}/{stat.pid}/environ")
        except procfs.Unreadable:
            return False
        return self._mark in environ.split(b"\0")

    def _adopt(self, stat: procfs.Stat, joined_by: str, t_ns: int) -> Line:
        member = follow(self._proc, stat, joined_by, t_ns)
        self.members[member.pid] = member
        self._short = self._short or (member.tasks is None and member.read_threads() is not None)
        self._ray.joined(member.pid)
        self._assign_role(member)
        if member.pidfd is not None and self._poll is not None:
            self._by_pidfd[member.pidfd] = member.pid
            self._poll.register(member.pidfd, select.EPOLLIN)
        self._detail_pending.add(member.pid)
        # A first reading counts as movement, whatever the clock says.
        member.cpu_ns = -1
        return born_line(member, t_ns, self._masking)

    def _assign_role(self, member: Member) -> bool:
        parent = self.members.get(member.process.ppid or 0)
        role = roles.role_of(
            roles.Traits(
                comm=member.identity.comm,
                argv=member.identity.argv,
                is_root=member.pid == self.root_pid,
                drives_ray=member.drives_ray,
                parent_role=parent.process.role if parent else None,
                parent_argv=parent.identity.argv if parent else None,
            )
        )
        changed = role != member.process.role
        member.process = replace(member.process, role=role)
        return changed

    # what moved

    def _read_clocks(self, t_ns: int) -> Iterator[Line]:
        rows: list[tuple[Any, ...]] = []
        ended: list[int] = []
        for pid, member in self.members.items():
            cpu_ns, threads = member.read_cpu_ns(), member.read_threads()
            if threads is None or threads < 1:
                ended.append(pid)
            elif cpu_ns != member.cpu_ns or threads != member.threads:
                member.cpu_ns, member.threads = cpu_ns, threads
                self.moved.add(pid)
                rows.append((pid, cpu_ns, threads))
        if rows:
            yield columnar_line("processes", t_ns, rows)
        for pid in ended:
            # With a pidfd the kernel tells, and the thread probe looks before the burial.
            if self.members[pid].pidfd is None:
                yield from self.bury(pid, t_ns, how="polling")
        self._detail_pending |= self.moved

    def _look_at_the_young(self, t_ns: int) -> Iterator[Line]:
        for pid in self.moved:
            member = self.members.get(pid)
            if member is not None and 0 < t_ns - member.born_ns < _YOUNG_NS:
                yield from self._notice_change(member, t_ns, member.identity.comm)

    def _look_closer(self, t_ns: int) -> Iterator[Line]:
        rows: list[tuple[Any, ...]] = []
        for pid in sorted(self._detail_pending & self.members.keys()):
            member, stat = self.members[pid], self._stat(pid)
            if stat is not None:
                rows.append(detail_row(self._proc, stat))
                yield from self._notice_change(member, t_ns, stat.comm)
        self._detail_pending.clear()
        if rows:
            yield columnar_line("process.detail", t_ns, rows)
        if self._ray.any_raylet:
            yield from self._join_ray_workers(t_ns)

    def _notice_change(self, member: Member, t_ns: int, comm: str) -> Iterator[Line]:
        """Write down another program, name, set of cores or role."""
        if self._ray.any_raylet and member.process.role in _MAY_DRIVE_RAY:
            member.drives_ray = self._ray.drives(member.pid)
        identity = reread_identity(self._proc, member.pid, comm, member.identity)
        changed = identity != member.identity
        member.identity = identity
        if self._assign_role(member) or changed:
            yield changed_line(member, t_ns, self._masking)

    def _join_ray_workers(self, t_ns: int) -> Iterator[Line]:
        for pid in self._ray.workers():
            stat = self._stat(pid)
            if stat is not None and pid not in self.members and pid not in self._exclude:
                yield self._adopt(stat, "ray-session", t_ns)

    def _keyframe(self, t_ns: int) -> Iterator[Line]:
        for member in self.members.values():
            yield born_line(member, t_ns, self._masking, again=True)
        yield from self._look_for_births(t_ns, everyone=True)

    # deaths

    def _last_stat(self, member: Member) -> procfs.Stat | None:
        stat = self._stat(member.pid)
        same = stat is not None and stat.start_ticks == member.process.start_ticks
        return stat if same else None

    def _release(self, member: Member) -> None:
        self._ray.forget(member.pid)
        self.moved.discard(member.pid)
        if member.pidfd is not None:
            self._by_pidfd.pop(member.pidfd, None)
            if self._poll is not None:
                self._poll.unregister(member.pidfd)
        member.close()


def _status_is_shown(member: Member, stat: procfs.Stat) -> bool:
    # The kernel shows 0 in place of the wait status to whom it would not show the executable either.
    return stat.state in "ZX" and (
        bool(stat.wait_status) or member.identity.exe is not None or member.uid == os.geteuid()
    )


def _parents_first(stats: Iterable[procfs.Stat]) -> list[procfs.Stat]:
    """Order so that a parent that was born in the same look is adopted before its children.

    Start times have too coarse a grain and ids come round, so the parent links decide.
    """
    waiting = {stat.pid: stat for stat in stats}
    ordered: list[procfs.Stat] = []
    while waiting:
        ready = [stat for stat in waiting.values() if stat.ppid not in waiting or stat.ppid == stat.pid]
        # Ids that came round within one reading can form a ring; any order will do then.
        for stat in ready or list(waiting.values()):
            ordered.append(waiting.pop(stat.pid))
    return ordered
