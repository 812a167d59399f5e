"""The way from a process's group to the root, for every arrangement of control groups met in the wild."""

from __future__ import annotations

from pathlib import Path

import pytest

from corelens.probes import cgroups, procfs
from corelens.probes.cgroups import Counters, CounterTexts, Level, LevelLimits
from tests.fakeproc import FakeMachine, machine, unified

PID = 42


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return machine(tmp_path)


def quotas(fake: FakeMachine) -> list[tuple[str, float | None]]:
    return [(level.path, cgroups.read_limits(level).quota_cores) for level in cgroups.levels(PID, fake.proc)]


def test_version_2_walks_from_the_deepest_group_to_the_root(fake: FakeMachine) -> None:
    fake.group("/")
    fake.group("/slice", cpu__max="150000 100000")
    fake.group("/slice/job", cpu__max="max 100000")
    unified(fake, PID, "/slice/job")
    assert quotas(fake) == [("/slice/job", None), ("/slice", 1.5), ("/", None)]


def test_a_quota_of_a_level_between_is_found(fake: FakeMachine) -> None:
    fake.group("/")
    fake.group("/a", cpu__max="400000 100000")
    fake.group("/a/b", cpu__max="50000 100000")
    fake.group("/a/b/c", cpu__max="300000 100000")
    unified(fake, PID, "/a/b/c")
    assert quotas(fake) == [("/a/b/c", 3.0), ("/a/b", 0.5), ("/a", 4.0), ("/", None)]


def test_limits_of_version_2(fake: FakeMachine) -> None:
    folder = fake.group("/g", cpu__max="250000", memory__max="1048576", cpuset__cpus__effective="0-1,4")
    level = Level(2, "/g", folder, folder, folder)
    assert cgroups.read_limits(level) == LevelLimits(2.5, 1048576, [0, 1, 4])
    fake.group("/g", memory__max="max", cpuset__cpus__effective="")
    assert cgroups.read_limits(level) == LevelLimits(2.5, None, None)


V1 = (
    "32 31 0:29 / {}/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct",
    "35 31 0:32 / {}/memory rw,relatime shared:2 - cgroup cgroup rw,memory",
    "34 31 0:31 / {}/cpuset rw,relatime shared:3 - cgroup cgroup rw,cpuset",
    "40 31 0:37 / {}/systemd rw,relatime - cgroup cgroup rw,name=systemd",
)


def one(fake: FakeMachine) -> None:
    fake.group("/cpu,cpuacct", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    fake.group("/cpu,cpuacct/job", cpu__cfs_quota_us="120000", cpu__cfs_period_us="40000")
    fake.group("/memory", memory__limit_in_bytes="9223372036854771712")
    fake.group("/memory/other", memory__limit_in_bytes="123456")
    fake.group("/cpuset", cpuset__cpus="0-1")


def test_version_1_has_a_tree_per_controller_joined_by_path(fake: FakeMachine) -> None:
    fake.mount(*V1)
    one(fake)
    fake.write(f"{PID}/cgroup", "5:cpu,cpuacct:/job\n4:memory:/other\n3:cpuset:/\n1:name=systemd:/\n")
    way = [(level.path, cgroups.read_limits(level)) for level in cgroups.levels(PID, fake.proc)]
    assert way == [
        ("/job", LevelLimits(3.0, None, None)),
        ("/other", LevelLimits(None, 123456, None)),
        ("/", LevelLimits(None, None, [0, 1])),
    ]
    assert cgroups.version(fake.proc) == "1"


def test_both_versions_side_by_side(fake: FakeMachine) -> None:
    fake.mount(*V1, "41 31 0:38 / {}/unified rw - cgroup2 cgroup2 rw")
    one(fake)
    fake.group("/unified")
    fake.write(f"{PID}/cgroup", "5:cpu,cpuacct:/job\n4:memory:/\n3:cpuset:/\n0::/\n")
    assert [(level.version, level.path) for level in cgroups.levels(PID, fake.proc)] == [
        (2, "/"),
        (1, "/job"),
        (1, "/"),
    ]
    assert cgroups.version(fake.proc) == "hybrid"


def test_a_container_that_sees_its_name_on_the_host(fake: FakeMachine) -> None:
    fake.group("/", cpu__max="200000 100000")
    fake.group("/inner", cpu__max="max")
    unified(fake, PID, "/docker/abc/inner", root="/docker/abc")
    assert quotas(fake) == [("/docker/abc/inner", None), ("/docker/abc", 2.0)]


def test_a_group_outside_our_namespace_is_found_where_a_mount_shows_it(fake: FakeMachine) -> None:
    fake.group("/sibling", cpu__max="100000 100000")
    unified(fake, PID, "/../sibling", root="/..")
    assert quotas(fake) == [("/../sibling", 1.0), ("/..", None)]


def test_a_group_that_no_mount_shows_gives_no_limit_of_somebody_else(fake: FakeMachine) -> None:
    fake.group("/", cpu__max="100000 100000")
    unified(fake, PID, "/../sibling")
    assert cgroups.levels(PID, fake.proc) == []
    unified(fake, PID, "/", root="/docker/abc")
    assert cgroups.levels(PID, fake.proc) == []


def test_a_name_that_merely_begins_like_the_mounts_root_is_not_below_it(fake: FakeMachine) -> None:
    fake.group("/", cpu__max="100000 100000")
    unified(fake, PID, "/docker/abcdef", root="/docker/abc")
    assert cgroups.levels(PID, fake.proc) == []


def test_a_removed_group_leaves_the_levels_above_it(fake: FakeMachine) -> None:
    fake.group("/a", cpu__max="70000 100000")
    unified(fake, PID, "/a/gone (deleted)")
    assert quotas(fake) == [("/a", 0.7), ("/", None)]


def test_colons_and_spaces_in_names(fake: FakeMachine) -> None:
    fake.group("/my job:1", cpu__max="100000 100000")
    fake.mount("30 23 0:26 / {} rw - cgroup2 cgroup2 rw")
    fake.write(f"{PID}/cgroup", "0::/my job:1\n")
    assert quotas(fake)[0] == ("/my job:1", 1.0)


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    fake = machine(tmp_path)
    fake.write("self/mountinfo", f"30 23 0:26 / {tmp_path}/c\\040g rw - cgroup2 cgroup2 rw\n")
    fake.write(f"{PID}/cgroup", "0::/\n")
    folder = tmp_path / "c g"
    folder.mkdir()
    assert [level.cpu for level in cgroups.levels(PID, fake.proc)] == [folder]


@pytest.mark.parametrize("text", ["", "max", "0 100000", "-1 100000", "nonsense", "100000 0", "100000 x"])
def test_a_quota_that_is_none_or_cannot_be_understood(fake: FakeMachine, text: str) -> None:
    fake.group("/", cpu__max=text)
    unified(fake, PID, "/")
    assert quotas(fake) == [("/", None)]


def test_broken_lines_are_passed_over(fake: FakeMachine) -> None:
    fake.group("/")
    fake.mount("nonsense", "1 2 3 - cgroup2 x rw", "30 23 0:26 / {} rw - cgroup2 cgroup2 rw")
    fake.write(f"{PID}/cgroup", "garbage\n::\n0::/\n")
    assert [level.path for level in cgroups.levels(PID, fake.proc)] == ["/"]


def test_a_process_that_is_gone_says_so(fake: FakeMachine) -> None:
    fake.mount("30 23 0:26 / {} rw - cgroup2 cgroup2 rw")
    with pytest.raises(procfs.Unreadable) as caught:
        cgroups.levels(PID, fake.proc)
    assert caught.value.reason == "gone"


def test_counters_of_both_versions() -> None:
    two = b"usage_usec 9\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2500\n"
    events = b"low 0\nhigh 5\nmax 7\noom 2\noom_kill 1\n"
    pages = b"anon 1\npgmajfault 3\nworkingset_refault_anon 8\nworkingset_refault_file 9\n"
    assert cgroups.parse_counters(CounterTexts(two, b"4096\n", events, pages)) == Counters(
        10, 4, 2_500_000, 4096, 1, 7, 3, 9, 8
    )
    one = b"nr_periods 10\nnr_throttled 4\nthrottled_time 2500\n"
    pages = b"pgmajfault 1\nworkingset_refault_file 0\ntotal_pgmajfault 3\ntotal_workingset_refault_file 9\n"
    texts = CounterTexts(one, b"4096\n", b"under_oom 0\noom_kill 0\n", pages, b"7\n")
    assert cgroups.parse_counters(texts) == Counters(10, 4, 2500, 4096, 0, 7, 3, 9, None)
    assert cgroups.parse_counters(CounterTexts(memory_stat=b"workingset_refault 4\n")).file_refaults == 4


def test_counters_that_are_not_there_are_null() -> None:
    assert cgroups.parse_counters(CounterTexts()) == Counters()
    nonsense = CounterTexts(b"usage_usec 9\n", b"nonsense", b"oom_kill x\n", b"\xff", b"")
    assert cgroups.parse_counters(nonsense) == Counters()
