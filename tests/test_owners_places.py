"""Threads of programs in awkward places: namespaces, deleted libraries, other C libraries, closed doors."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corelens.probes.owners import OwnersProbe
from corelens.probes.probe import Moment, Process
from corelens.probes.robust_list import Refused, RobustList
from corelens.recording import read
from corelens.vocabulary import Line
from tests.programs import PYTHON, WAITING_THREADS, Program, python, rows, running, state, wait_until
from tests.thread_truth import compiled, living_threads

NOBODY = 65534
LIBRARY = r"""
#include <unistd.h>
void *work(void *a) { __atomic_add_fetch((int *)a, 1, __ATOMIC_SEQ_CST); for (;;) pause(); return a; }
"""
PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef LOADED
#include <dlfcn.h>
#endif
static int begun;
static void begin(void) { __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST); }
static void *sleeping(void *a) { begin(); for (;;) pause(); return a; }
static void *spinning(void *a) { begin(); volatile int x = 0; for (;;) x++; return a; }
int main(int argc, char **argv) {
    void *(*routine)(void *) = argc > 1 && !strcmp(argv[1], "spin") ? spinning : sleeping;
    pthread_t thread;
#ifdef LOADED
    routine = (void *(*)(void *))dlsym(dlopen(argv[1], RTLD_NOW), "work");
#endif
    if (pthread_create(&thread, 0, sleeping, &begun)) return 1;
    if (pthread_create(&thread, 0, routine, &begun)) return 1;
    while (__atomic_load_n(&begun, __ATOMIC_SEQ_CST) < 2) usleep(100);
    puts("ready"); fflush(stdout);
    char c[2];
    if (read(0, c, 2) == 2) execl("/proc/self/exe", argv[0], argv[1], (char *)0);
    return 0;
}
"""
TEAMS = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static pthread_barrier_t there;
static void *master(void *a) {
    #pragma omp parallel num_threads(3)
    { usleep(1000); }
    pthread_barrier_wait(&there);
    for (;;) pause();
    return a;
}
int main(void) {
    pthread_t thread;
    pthread_barrier_init(&there, 0, 3);
    for (int i = 0; i < 2; i++) if (pthread_create(&thread, 0, master, 0)) return 1;
    #pragma omp parallel num_threads(3)
    { usleep(1000); }
    pthread_barrier_wait(&there);
    puts("ready"); fflush(stdout);
    char c;
    return (int)read(0, &c, 1);
}
"""
VFORKING = r"""
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int status;
    if (vfork() == 0) {
        char c;
        dprintf(1, "%d\n", (int)getpid());
        if (read(0, &c, 1) == 1) execv(argv[1], argv + 1);
        _exit(1);
    }
    return (int)wait(&status) < 0;
}
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces")


class Looking:
    """The probe on one process, by itself."""

    def __init__(self, pid: int, probe: OwnersProbe | None = None) -> None:
        self.pid = pid
        self.lines: list[Line] = []
        self.start_ticks = 7
        self._threads: dict[int, object] = {}
        self._changes = 0
        self.probe = probe or OwnersProbe(self.living)
        self._looks = 0

    def living(self, pid: int) -> tuple[int, Mapping[int, object]]:
        """Threads as the folder lists them."""
        there = living_threads({pid})
        if there != self._threads.keys():
            self._changes += 1
            self._threads = {tid: self._threads.get(tid, object()) for tid in there}
        return self._changes, self._threads

    def look(self, times: int = 1) -> dict[int, dict[str, Any]]:
        """Look so often; what is known of each thread so far."""
        processes = {self.pid: Process(self.pid, 1, self.start_ticks, "main")}
        for _ in range(times):
            moment = Moment(self._looks * 100_000_000, processes, frozenset(processes))
            self.lines += self.probe.look(moment)
            self._looks += 1
        return self.known()

    def known(self) -> dict[int, dict[str, Any]]:
        """The last row of each thread, with the path, build id and fate of its module."""
        modules = {row["module"]: row for row in self.rows("modules")}
        return {row["tid"]: {**modules.get(row["module"], {}), **row} for row in self.rows("threads.owned")}

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a columnar kind so far."""
        found: list[dict[str, Any]] = []
        for line in self.lines:
            if line["kind"] == kind:
                names = [name for name, value in line.items() if isinstance(value, list)]
                table = zip(*(line[name] for name in names), strict=True)
                found += [dict(zip(names, row, strict=True)) for row in table]
        return found

    def gaps(self) -> list[Line]:
        """The gap lines so far."""
        return [line for line in self.lines if line["kind"] == "gap"]


@contextmanager
def looking(pid: int, robust: RobustList | None = None) -> Generator[Looking]:
    """The probe on a process, closed at the end."""
    on = Looking(pid)
    if robust is not None:
        on.probe = OwnersProbe(on.living, robust=robust)
    try:
        yield on
    finally:
        on.probe.close()


@contextmanager
def ready(command: list[str], **options: Any) -> Generator[Program]:
    """A program that has said ready."""
    with running(command, **options) as program:
        assert program.hear() == "ready"
        yield program


def files(known: dict[int, dict[str, Any]], pid: int) -> list[str]:
    """Names of the files of all threads but the first."""
    return sorted(
        Path(row["path"]).name if row.get("path") else row["how"] for tid, row in known.items() if tid != pid
    )


def with_library(folder: Path) -> tuple[Path, Path]:
    """A program that starts one thread of its own and one of a library that it loads."""
    library = compiled(folder, LIBRARY, "-shared", "-fPIC", name="libwork.so")
    return compiled(folder, PROGRAM, "-DLOADED", "-pthread", "-ldl", name="loader"), library


def test_a_library_that_was_deleted_and_replaced(tmp_path: Path) -> None:
    program, library = with_library(tmp_path)
    with ready([str(program), str(library)]) as target, looking(target.pid) as before:
        first = before.look()
        library.unlink()
        shutil.copy("/bin/true", library)
        with looking(target.pid) as after:
            second = after.look()
    assert files(first, target.pid) == files(second, target.pid) == ["libwork.so", "loader"]
    (was,) = [row for row in first.values() if row["path"] == str(library)]
    (now,) = [row for row in second.values() if row["path"] == str(library)]
    assert (was["deleted"], now["deleted"]) == (False, True)
    assert was["build_id"] is not None
    assert {**was, "deleted": True, "module": 0} == {**now, "module": 0}


@as_root
def test_pid_and_mount_namespaces(tmp_path: Path) -> None:
    """Ids count from one in there, and the library lies in a file system that only the target sees."""
    program, library = with_library(tmp_path)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    script = f"mount -t tmpfs none {hidden} && cp {library} {hidden} && exec {program} {hidden}/libwork.so"
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", script]
    tried = subprocess.run([*command[:-3], "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"needs root that may make namespaces: {tried.stderr.strip()}")
    with ready(command) as outer:
        (pid,) = map(int, Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
        with looking(pid) as on:
            known = on.look()
    assert not (hidden / "libwork.so").exists()
    assert files(known, pid) == ["libwork.so", "loader"]
    assert {row["path"] for row in known.values()} == {str(program), f"{hidden}/libwork.so"}
    assert all(row["build_id"] for row in known.values())


@pytest.mark.parametrize("inside", [False, pytest.param(True, marks=as_root)], ids=["here", "namespace"])
def test_teams_of_a_c_program(tmp_path: Path, inside: bool) -> None:
    program = compiled(tmp_path, TEAMS, "-fopenmp")
    prefix = ["unshare", "--pid", "--fork", "--kill-child"] if inside else []
    with ready([*prefix, str(program)]) as target:
        pid = target.pid
        if inside:
            (pid,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        with looking(pid) as on:
            known = on.look(3)
    masters = [tid for tid, row in known.items() if row["how"] == "main" or row["path"] == str(program)]
    teams: dict[int, int] = {}
    for row in known.values():
        if "libgomp" in row["path"]:
            teams[row["master"]] = teams.get(row["master"], 0) + 1
    assert len(masters) == 3
    assert teams == dict.fromkeys(masters, 2)


@pytest.mark.parametrize("flags", [["-static"], ["-static-pie"]], ids=["static", "static-pie"])
def test_static_glibc(tmp_path: Path, flags: list[str]) -> None:
    program = compiled(tmp_path, PROGRAM, "-pthread", *flags)
    with ready([str(program)]) as target, looking(target.pid) as on:
        known = on.look()
    assert files(known, target.pid) == ["program", "program"]
    assert {row["how"] for row in known.values()} == {"main", "start-routine"}


@pytest.mark.parametrize("flags", [[], ["-static"]], ids=["dynamic", "static"])
def test_musl(tmp_path: Path, flags: list[str]) -> None:
    """No robust list leads to a thread there; a sleeping one is found by its stack, and leads to the others."""
    program = compiled(tmp_path, PROGRAM, *flags, with_="musl-gcc")
    with ready([str(program), "spin"]) as target, looking(target.pid) as on:
        known = on.look()
    assert files(known, target.pid) == ["program", "program"]
    assert {row["how"] for row in known.values()} == {"main", "stack"}


def test_a_recorder_that_may_not_ask_for_robust_lists(tmp_path: Path) -> None:
    """A filter on our own system calls: threads that sleep are told all the same, and the gap says the rest."""

    class Filtered(RobustList):
        def head(self, tid: int) -> int:
            raise Refused("get_robust_list: Operation not permitted")

    program, library = with_library(tmp_path)
    with ready([str(program), str(library)]) as target:
        for tid in living_threads({target.pid}):
            wait_until(lambda tid=tid: sleeps(target.pid, tid), "it sleeps")  # type: ignore[misc]
        with looking(target.pid, Filtered()) as on:
            known = on.look()
    assert files(known, target.pid) == ["libwork.so", "loader"]
    assert {row["how"] for row in known.values()} == {"main", "stack"}
    assert ["not permitted" in gap["detail"] for gap in on.gaps()] == [True]


def sleeps(pid: int, tid: int) -> bool:
    return Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[0].isdigit()


def test_a_running_thread_without_a_robust_list_stays_unknown_with_the_reason(tmp_path: Path) -> None:
    class Filtered(RobustList):
        def head(self, tid: int) -> int:
            raise Refused("get_robust_list: Operation not permitted")

    program = compiled(tmp_path, PROGRAM, "-pthread")
    with ready([str(program), "spin"]) as target, looking(target.pid, Filtered()) as on:
        known = on.look(5)
        unknown = [row for row in known.values() if row["how"] == "unknown"]
        asked = len(on.lines)
        on.look(3)
        assert len(on.lines) == asked, "what stays unknown is said once"
    assert ["running" in row["reason"] for row in unknown] == [True]


def test_another_program_by_exec(tmp_path: Path) -> None:
    """The number stays, everything else is another: nothing of before is believed."""
    program = compiled(tmp_path, PROGRAM, "-pthread")
    with ready([str(program)]) as target, looking(target.pid) as on:
        before = set(on.look()) - {target.pid}
        target.say("x")
        assert target.hear() == "ready"
        told = len(on.rows("threads.owned"))
        on.look()
        after = on.rows("threads.owned")[told:]
        assert {row["tid"] for row in after} == living_threads({target.pid})
    assert [row["how"] for row in after] == ["main", "start-routine", "start-routine"]
    assert before.isdisjoint(row["tid"] for row in after)


def test_a_child_of_vfork_has_the_memory_of_its_parent_until_its_exec(tmp_path: Path) -> None:
    program = compiled(tmp_path, PROGRAM, "-pthread")
    vforking = compiled(tmp_path, VFORKING, name="vforking")
    with running([str(vforking), str(program)]) as target:
        child = int(target.hear())
        with looking(child) as on:
            before = on.look()
            target.say("")
            assert target.hear() == "ready"
            after = on.look(2)
    assert [row["how"] for row in before.values()] == ["main"]
    assert files(after, child) == ["program", "program"]


def test_threads_that_outlive_the_first(tmp_path: Path) -> None:
    """A first thread that ended takes the memory out of the folder of the process, and not out of theirs."""
    program = compiled(tmp_path, PROGRAM.replace("return 0;\n}", "pthread_exit(0);\n}"), "-pthread")
    with ready([str(program)]) as target:
        target.say("")
        wait_until(lambda: state(target.pid, target.pid) == "Z", "the first thread has ended")
        with looking(target.pid) as on:
            known = on.look()
    assert files(known, target.pid) == ["program", "program"]


def test_another_process_with_the_same_number(tmp_path: Path) -> None:
    program = compiled(tmp_path, PROGRAM, "-pthread")
    with ready([str(program)]) as target, looking(target.pid) as on:
        on.look()
        told = len(on.rows("threads.owned"))
        on.start_ticks += 1
        on.look()
        assert len(on.rows("threads.owned")) == 2 * told == 6


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that everybody may write into; every pytest closes those above `tmp_path` when it starts."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


# The interpreter may live where the other user cannot read, so everything is loaded before the change.
AS_ANOTHER_USER = """
import contextlib, io, os, sys
import corelens.cli, corelens.probes.session
with contextlib.redirect_stderr(io.StringIO()):
    corelens.cli.main(["record", "-p", "0"])
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
sys.exit(corelens.cli.main(sys.argv[2:]))
"""


@as_root
@pytest.mark.parametrize("how", ["another-user", "no-capability"])
def test_without_the_right_to_look_the_reason_is_told_and_nothing_is_guessed(
    tmp_path: Path, how: str
) -> None:
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    output = tmp_path / "r.corelens"
    with ready(python(WAITING_THREADS, 2)) as target:
        command = ["record", "-q", "-o", str(output), "-d", "0.3", "-p", str(target.pid)]
        if how == "another-user":
            full, words = python(AS_ANOTHER_USER, NOBODY, *command), "belongs to user 0 and we are user 65534"
        else:
            full = ["setpriv", "--bounding-set=-sys_ptrace", PYTHON, "-m", "corelens", *command]
            words = "capabilities that we lack"
        with running(full) as recorder:
            assert recorder.end() == 0
        living = living_threads({target.pid})
    recording = read(output)
    known = {row["tid"]: row for row in rows(recording, "threads.owned")}
    assert known.keys() == living
    assert [row["how"] for _, row in sorted(known.items())] == ["main", "unknown", "unknown"]
    assert all(row["reason"] for tid, row in known.items() if tid != target.pid)
    (gap,) = [line for line in recording.lines("gap") if line["probe"] == "owners"]
    assert gap["reason"] == "forbidden"
    assert words in gap["detail"]
    assert "CAP_SYS_PTRACE" in gap["detail"]
