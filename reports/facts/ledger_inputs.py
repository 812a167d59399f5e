"""The inputs of the thread model for one process, each from what the recording shows, with its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from corelens.reports.facts import owned
from corelens.reports.facts.ledger_lines import Group, Workers
from corelens.reports.facts.ledger_program import Program
from corelens.reports.facts.pool_sizes import (
    Machine,
    Size,
    openblas_threads,
    scikit_learn_threads,
    torch_threads,
)
from corelens.reports.facts.processes import Life
from corelens.reports.facts.thread_model import (
    HEARTBEAT,
    HELPERS_BY_NAME,
    OPENBLAS_BUILD_MAXIMUM,
    RAY_DRIVER,
    WORKERS_ARE_PROCESSES,
    WORKERS_ARE_THREADS,
    Blas,
    Helper,
    Inputs,
    Teams,
    helpers_of,
    rdb_heartbeats,
)
from corelens.reports.report import LedgerInput
from corelens.vocabulary import Line


@dataclass(slots=True)
class Inference:
    """The inputs of one process as they are found; `unknown` names what keeps a term from being predicted."""

    known: Program
    life: Life
    t_ns: int
    groups: list[Group]
    workers: Workers
    listed: list[LedgerInput] = field(default_factory=list[LedgerInput])
    unknown: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """Kind of owner and copy to the reason why nothing is predicted for it."""

    def inputs(self) -> Inputs:
        """Find all inputs; terms that lack one are left out and named in `unknown`."""
        count = self._note("workers", self._worker_count())
        seen = self._note("cores seen", self._seen())
        told = self._set_num_threads()
        return Inputs(
            workers=count.value or 0,
            cores=seen.value or 1,
            teams=tuple(self._teams(count)),
            blas=tuple(self._blas()),
            set_num_threads=told,
            helpers=tuple(self._helpers(count.value or 0)),
            inter_op=self._inter_op(),
            forked=self._forked(),
        )

    # one input each

    def _worker_count(self) -> Size:
        told, backend = self.known.labels.get("workers", ""), self.known.labels.get("backend", "")
        if self.life is self.known.root and backend in WORKERS_ARE_PROCESSES:
            return Size(0, f"the label backend={backend}, whose workers are processes")
        if self._of_the_replay() and told.isdecimal():
            # With one worker, Optuna and joblib run the work in the main thread.
            return Size(int(told) if int(told) > 1 else 0, f"the label workers={told}")
        if self.workers.threads:
            return Size(len(self.workers.threads), "Python threads that ran trials, by marks or stacks")
        seen = sum(len(group.threads) for group in self._of(owned.PYTHON))
        return Size(seen, "Python threads seen")

    def _seen(self) -> Size:
        machine = self._machine()
        if self._emulated_cores() is not None:
            return Size(machine.logical, f"the label emulate_cores={machine.logical}")
        if machine.affinity is not None:
            return Size(machine.affinity, "its affinity")
        return Size(machine.logical, "logical cores of the machine")

    def _teams(self, count: Size) -> Iterator[Teams]:
        for group in self._of(owned.OPENMP_GNU):
            size = self._note(f"threads of a region ({group.copy})", self._team_size(group))
            opened = self._note(f"workers that opened a team ({group.copy})", self._opened(group, count))
            main = any(
                master is not None and master.life is not None and master.tid == master.life.pid
                for master in group.masters
            )
            self._note(f"main thread opened a team ({group.copy})", Size(int(main), "masters of the teams"))
            if size.value is None or opened.value is None:
                self.unknown[group.owner.kind, group.copy] = (
                    size.source if size.value is None else opened.source
                )
            else:
                yield Teams(group.copy, size.value, opened.value, main)

    def _opened(self, group: Group, count: Size) -> Size:
        masters = {master for master in group.masters if master is not None}
        seen = sum(master.life is None or master.tid != master.life.pid for master in masters)
        if None in group.masters:
            return Size(count.value, "all workers: masters were not found for every team")
        if seen and self._of_the_replay() and count.value:
            return Size(count.value, f"all workers do the same work, and {seen} threads opened a team")
        return Size(seen, "masters of the teams")

    def _team_size(self, group: Group) -> Size:
        variables = self.life.variables
        if "torch" in group.copy:
            told = self._agent("torch_threads")
            return told or self._pthreadpool() or torch_threads(self._machine(), variables)
        library = self._library(group)
        if library is not None:
            return library
        if "scikit-learn" in group.copy:
            return scikit_learn_threads(self._machine(), variables)
        return Size(None, f"how many threads {group.copy} gives a region is not modelled")

    def _blas(self) -> Iterator[Blas]:
        for group in self._of(owned.OPENBLAS):
            told = self._library(group)
            size = told or openblas_threads(self._machine(), self.life.variables)
            self._note(f"OpenBLAS threads ({group.copy})", size)
            if size.value is None:
                self.unknown[group.owner.kind, group.copy] = size.source
            else:
                most = max(OPENBLAS_BUILD_MAXIMUM, size.value if told else 0)
                yield Blas(group.copy, size.value, most)

    def _set_num_threads(self) -> int | None:
        seen = self._pthreadpool()
        if seen is None:
            return None
        return self._note("torch.set_num_threads", self._agent("torch_threads") or seen).value

    def _pthreadpool(self) -> Size | None:
        count = sum(len(group.threads) for group in self._of(owned.TORCH_PTHREADPOOL))
        return (
            Size(count + 1, f"a pthreadpool of {count} threads beside its caller was seen") if count else None
        )

    def _helpers(self, count: int) -> Iterator[Helper]:
        expected = [helper for helper in self._expected(count) if helper is not RAY_DRIVER]
        for helper in expected:
            self._note(helper.name, Size(helper.count, f"the label backend={self.known.labels['backend']}"))
            yield helper
        names = {helper.name for helper in expected}
        for label in (group.label for group in self._of(owned.PYTHON_HELPER) if group.label not in names):
            seen = rdb_heartbeats(count) if label == HEARTBEAT else HELPERS_BY_NAME.get(label)
            if seen is not None:
                self._note(seen.name, Size(seen.count, "its threads were seen"))
                yield seen

    def _expected(self, count: int) -> tuple[Helper, ...]:
        backend = self.known.labels.get("backend", "")
        if self.life is not self.known.root or (backend in WORKERS_ARE_THREADS and not count):
            return ()
        try:
            return helpers_of(backend, self.known.optuna)
        except KeyError:
            return ()

    def _inter_op(self) -> int:
        if not self._of(owned.TORCH_INTER_OP):
            return 0
        size = self._agent("torch_interop_threads")
        if size is None:
            reason = "the size of torch's inter-op pool is known to the agent alone"
            self.unknown[owned.TORCH_INTER_OP, ""] = self._note("inter-op threads", Size(None, reason)).source
            return 0
        return self._note("inter-op threads", size).value or 0

    def _forked(self) -> bool:
        since = self.known.forkers.get(self.life)
        forked = since is not None and since <= self.t_ns and not self._of(owned.OPENBLAS)
        if forked:
            self._note(
                "forked since its last BLAS call", Size(1, "it forked, and no OpenBLAS thread is there")
            )
        return forked

    # where they come from

    def _of(self, kind: str) -> list[Group]:
        return [group for group in self.groups if group.owner.kind == kind]

    def _of_the_replay(self) -> bool:
        backend = self.known.labels.get("backend")
        return self.life is self.known.root and backend in WORKERS_ARE_THREADS

    def _machine(self) -> Machine:
        emulated = self._emulated_cores()
        if emulated is not None:
            return Machine(emulated, emulated, emulated, self.known.machine)
        return Machine(self.known.logical, self.known.physical, self.life.affinity_cores, self.known.machine)

    def _emulated_cores(self) -> int | None:
        """Cores of the machine whose pools a replay of the search gave to all its processes."""
        told = self.known.labels.get("emulate_cores", "")
        return int(told) if told.isdecimal() else None

    def _agent(self, key: str) -> Size | None:
        """What the agent saw last until then, or first after."""
        lines = [line for line in self.known.pools.get(self.life, []) if line[key] is not None]
        before = [line for line in lines if line["t_ns"] <= self.t_ns]
        chosen = before[-1] if before else (lines[0] if lines else None)
        return None if chosen is None else Size(int(chosen[key]), "the agent, inside the process")

    def _library(self, group: Group) -> Size | None:
        """The largest size that the agent saw of a library: a pool that was lowered keeps its threads."""
        sizes: list[int] = []
        for line in self.known.pools.get(self.life, []):
            libraries: list[Line] = line["libraries"] or []
            for library in libraries:
                size = library.get("num_threads")
                if isinstance(size, int) and library.get("filepath") == group.owner.library:
                    sizes.append(size)
        return Size(max(sizes), "the agent, inside the process") if sizes else None

    def _note(self, name: str, size: Size) -> Size:
        self.listed.append(LedgerInput(name, size.value, size.source))
        return size
