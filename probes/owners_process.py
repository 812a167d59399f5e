"""The threads of one process and what made them, asked once each and again only where the answer was unsure."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from corelens.probes import owners_stack, procfs
from corelens.probes.namespaces import inner_tid
from corelens.probes.owners_descriptor import Descriptor, address_at, at_head
from corelens.probes.owners_space import Answer, Space, Unsure
from corelens.probes.process_maps import Image
from corelens.probes.robust_list import Refused, RobustList

# A thread that is being born has its descriptor filled within microseconds; one that is still unknown after so
# many looks is written down as unknown, and asked again only with the keyframes.
MOST_TRIES = 5
# A worker knows its team once it has entered its first region.
MOST_TEAM_TRIES = 50
_LIBGOMP = ("libgomp.", "libgomp-")


class Asked:
    """One process. Raises procfs.Unreadable from `ask` when its memory may not be read."""

    def __init__(self, proc: Path, pid: int, robust: RobustList) -> None:
        self.pid = pid
        self.answers: dict[int, Answer] = {}
        self.unsure: dict[int, int] = {}
        """Threads to ask again, with the number of tries so far."""
        self.trouble: Refused | None = None
        """Why get_robust_list gave no answer, where it did not."""
        self._proc = proc
        self._robust = robust
        self._space: Space | None = None
        self._descriptors: dict[int, int] = {}
        self._teamless: dict[int, int] = {}

    @property
    def has_questions(self) -> bool:
        """Whether the next look shall ask again, even when no thread was born."""
        return bool(self.unsure or self._teamless)

    def ask(self, born: Collection[int]) -> set[int]:
        """Ask for new threads, and for those whose answer was unsure; returns those with a new answer."""
        space = self._open(born)
        told: set[int] = set()
        if space.is_empty():
            return told
        for tid in [*self.unsure, *born]:
            if self._ask(space, tid):
                told.add(tid)
        if self._teamless:
            told |= self._ask_for_masters(space)
        return told

    def give_up(self, born: Iterable[int], reason: str) -> set[int]:
        """Answer for new threads without asking: all but the first are unknown."""
        told = {*born, *self.unsure}
        for tid in told:
            first = tid == self.pid
            self.answers[tid] = Answer("main") if first else Answer("unknown", reason=reason)
        self.unsure.clear()
        self._teamless.clear()
        return told

    def ask_unknown_again(self) -> None:
        """Let the next look ask again for what stayed unknown."""
        for tid, answer in self.answers.items():
            if answer.how == "unknown":
                self.unsure[tid] = MOST_TRIES - 1
            elif answer.master is None and _is_worker(answer):
                self._teamless[tid] = MOST_TEAM_TRIES - 1

    def forget(self, tid: int) -> None:
        """Drop a thread that ended; its number may come to another."""
        self.answers.pop(tid, None)
        self.unsure.pop(tid, None)
        self._descriptors.pop(tid, None)
        self._teamless.pop(tid, None)

    def build_id(self, image: Image) -> str | None:
        """Build id of a mapped file; None where it carries none or is not mapped any more."""
        return self._space.build_id(image) if self._space is not None else None

    def close(self) -> None:
        """Give the descriptor back."""
        if self._space is not None:
            self._space.memory.close()
            self._space = None

    # one address space

    def _open(self, born: Collection[int]) -> Space:
        """The address space as it is now; after an exec nothing that was known holds."""
        if self._space is not None and not self._space.is_gone():
            self._space.begin()
            return self._space
        fresh = self._new_space(born)
        if self._space is not None and not fresh.is_empty():
            for tid in list(self.answers):
                self.forget(tid)
            self.unsure[self.pid] = 0
        self.close()
        self._space = fresh
        return fresh

    def _new_space(self, born: Collection[int]) -> Space:
        """The address space by the folder of the process, or by that of a thread where the first has ended."""
        folder = f"{self._proc}/{self.pid}"
        other = next((tid for tid in born if tid != self.pid), None)
        try:
            return Space(folder)
        except procfs.Unreadable as error:
            if error.reason != "gone" or other is None:
                raise
            return Space(f"{folder}/task/{other}")

    # one thread

    def _ask(self, space: Space, tid: int) -> bool:
        if tid == self.pid:
            self.unsure.pop(tid, None)
            self.answers[tid] = Answer("main", image=space.program())
            return True
        try:
            descriptor = self._descriptor(space, tid)
            answer = space.answer(descriptor)
        except Unsure as unsure:
            return self._stay_unsure(tid, str(unsure))
        self.unsure.pop(tid, None)
        self._descriptors[tid] = descriptor.address
        self.answers[tid] = answer
        if _is_worker(answer):
            self._teamless[tid] = 0
        return True

    def _stay_unsure(self, tid: int, reason: str) -> bool:
        tries = self.unsure.get(tid, 0) + 1
        if tries < MOST_TRIES:
            self.unsure[tid] = tries
            return False
        self.unsure.pop(tid, None)
        known = self.answers.get(tid)
        self.answers[tid] = Answer("unknown", reason=reason)
        return known is None or known.reason != reason

    def _descriptor(self, space: Space, tid: int) -> Descriptor:
        try:
            head = self._robust.head(tid)
        except Refused as refused:
            self.trouble = refused
            head = 0
        if not head:
            return self._on_stack(space, tid)
        found = at_head(space.memory, space.layouts, head, self._is(tid), space.is_code)
        if found is None:
            raise Unsure("its descriptor has no layout that is known, or its code lies in no file")
        return found

    def _on_stack(self, space: Space, tid: int) -> Descriptor:
        inner = inner_tid(self._proc, self.pid, tid)
        if inner is None:
            raise Unsure("it was gone when it was asked for")
        address = space.ring.get(inner)
        if address is None:
            pointer = owners_stack.stack_pointer(self._proc, self.pid, tid)
            if pointer is None:
                raise Unsure("no robust list leads to its descriptor, and it was running whenever looked at")
            address = owners_stack.above(space.memory, pointer, inner)
        found = None
        if address is not None:
            space.ring = owners_stack.neighbours(space.memory, address) or space.ring
            found = owners_stack.on_stack(space.memory, space.layouts, address, inner, space.is_code)
        if found is None:
            raise Unsure("neither a robust list nor its stack leads to a descriptor that is known")
        return found

    def _is(self, tid: int) -> Callable[[int], bool]:
        return lambda number: number == tid or (number > 0 and number == inner_tid(self._proc, self.pid, tid))

    # teams

    def _ask_for_masters(self, space: Space) -> set[int]:
        workers = {tid: self._descriptors[tid] for tid in self._teamless}
        threads = {address: tid for tid, address in self._descriptors.items()}
        first = self._first_descriptor(space)
        if first is not None:
            threads[first] = self.pid
        found = space.teams.masters(workers, threads)
        for tid, master in found.items():
            self.answers[tid].master = master
            del self._teamless[tid]
        for tid, tries in list(self._teamless.items()):
            self._teamless[tid] = tries + 1
            if tries + 1 >= MOST_TEAM_TRIES:
                del self._teamless[tid]
        return found.keys() & self.answers.keys()

    def _first_descriptor(self, space: Space) -> int | None:
        try:
            head = self._robust.head(self.pid)
        except Refused:
            head = 0
        if head:
            return address_at(space.memory, space.layouts, head, self._is(self.pid))
        inner = inner_tid(self._proc, self.pid, self.pid)
        return space.ring.get(inner) if inner is not None else None


def _is_worker(answer: Answer) -> bool:
    if answer.image is None or answer.how == "unknown":
        return False
    return os.path.basename(answer.image.path).startswith(_LIBGOMP)  # noqa: PTH119
