"""What made each thread, told by the program itself: a logger of pthread_create, loaded into it before anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from corelens.recording import Recording, read
from tests.programs import PYTHON, recorder, running, wait_until

_HERE = Path(__file__).parent
# What a std::thread is started by, and what starts it: neither says whose it is.
_GO_BETWEENS = ("libstdc++.", "libc.so", "libpthread", "thread_log.so")


def compiler(name: str = "gcc") -> str:
    """Path of a C compiler; skips the test without one."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs gcc: {name} is not installed")
    return found


def compiled(folder: Path, source: str, *flags: str, with_: str = "gcc", name: str = "program") -> Path:
    """Compile a C program; skips the test where there is no compiler."""
    path = folder / f"{name}.c"
    path.write_text(source)
    output = folder / name
    subprocess.run([compiler(with_), "-O1", "-o", str(output), str(path), *flags], check=True)
    return output


@dataclass(frozen=True, slots=True)
class Creation:
    """One successful pthread_create."""

    pid: int
    tid: int
    creator: int
    routine: str
    callers: tuple[str, ...]

    @property
    def owner(self) -> str:
        """File that the thread belongs to: that of its routine, or of the first caller that is no go-between."""
        chain = (self.routine, *self.callers)
        return next(file for file in chain if not Path(file).name.startswith(_GO_BETWEENS))


class Logger:
    """The compiled logger and what it wrote."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "thread_log.so"
        self._log = folder / "threads.tsv"
        source = _HERE / "thread_log.c"
        command = [compiler(), "-O1", "-shared", "-fPIC", "-o", str(self._library), str(source), "-ldl"]
        subprocess.run(command, check=True)

    def around(self, command: list[str], **variables: str) -> list[str]:
        """The command that runs another with the logger in it, and in all that it starts."""
        own = {"LD_PRELOAD": str(self._library), "THREAD_LOG": str(self._log), **variables}
        return ["env", *(f"{name}={value}" for name, value in own.items()), *command]

    def creations(self) -> dict[int, Creation]:
        """Every thread so far, by id; the last that had it."""
        found: dict[int, Creation] = {}
        for line in self._log.read_text().splitlines():
            pid, tid, creator, *files = line.split("\t")
            real = [os.path.realpath(file) for file in files]
            found[int(tid)] = Creation(int(pid), int(tid), int(creator), real[0], tuple(real[1:]))
        return found


@dataclass(frozen=True, slots=True)
class Truth:
    """A recording, all threads that were logged, and those of them that lived for more than a second."""

    recording: Recording
    creations: dict[int, Creation]
    living: frozenset[int]


def recorded(folder: Path, source: str, **variables: str) -> Truth:
    """Record a Python program that says ready, with the logger in it; it is looked at while it waits."""
    logger = Logger(folder)
    output = folder / "run.corelens"
    # TorchScript reads the source of what it compiles, so the program must be a file.
    (folder / "program.py").write_text(source)
    command = logger.around([PYTHON, str(folder / "program.py")], **variables)
    with running([*recorder(output), "--", *command]) as program:
        assert program.hear() == "ready"
        pids = {creation.pid for creation in logger.creations().values()}
        before = living_threads(pids)
        let_rounds_pass(output)
        after = living_threads(pids)
        assert program.end() == 0
    return Truth(read(output), logger.creations(), frozenset(before & after) - pids)


def let_rounds_pass(output: Path) -> None:
    """Wait until everything that is there now was looked at for a second: the recorder has written twice."""
    for _ in range(2):
        size = output.stat().st_size
        wait_until(lambda size=size: output.stat().st_size > size, "the recorder writes")  # type: ignore[misc]


def living_threads(pids: set[int]) -> set[int]:
    """Ids of the threads of some processes."""
    found: set[int] = set()
    for pid in pids:
        try:
            found |= {int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()}
        except OSError:
            continue
    return found
