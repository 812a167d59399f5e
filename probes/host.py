"""The machine as a whole: cores, load, memory, pressure; and what kind of machine it is.

Other people's CPU and steal are not counted here: they follow from the counters of the cores and those of the
recorded processes, on reading.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.keptfile import KeptFile
from corelens.probes.probe import Moment
from corelens.vocabulary import Line, columnar_line

SYS = Path("/sys")
_RESOURCES = ("cpu", "io", "memory")
# Reading /proc/stat makes the kernel add up every interrupt of every core: dear where there are many.
DEFAULT_PERIOD_NS = 500_000_000

CoreRow = tuple[int, int, int, int, int, int, int, int]
Pressure = dict[str, dict[str, int | None]]


class HostProbe:
    """Writes one `cores` and one `host` line per look."""

    name = "host"

    def __init__(self, proc: Path = procfs.PROC, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._stat = KeptFile(f"{proc}/stat")
        self._load = KeptFile(f"{proc}/loadavg")
        self._memory = KeptFile(f"{proc}/meminfo")
        self._pressure = {name: KeptFile(f"{proc}/pressure/{name}") for name in _RESOURCES}
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Read the counters; a file that cannot be understood costs its own line, not the other."""
        try:
            stat = self._stat.read()
            yield columnar_line("cores", moment.t_ns, [*parse_cores(stat)])
            yield {"kind": "host", "t_ns": moment.t_ns, **self._counters(stat)}
        except procfs.Unreadable as error:
            yield from self._gaps.once(moment.t_ns, None, error)

    def close(self) -> None:
        """Give descriptors back."""
        for file in (self._stat, self._load, self._memory, *self._pressure.values()):
            file.close()

    def _counters(self, stat: bytes) -> Line:
        return {
            **parse_load(self._load.read()),
            **parse_totals(stat),
            **parse_memory(self._memory.read()),
            "pressure_us": self._pressures(),
        }

    def _pressures(self) -> Pressure | None:
        pressures: Pressure = {}
        for name, file in self._pressure.items():
            try:
                pressures[name] = parse_pressure(file.read())
            except procfs.Unreadable:
                # No such file, or PSI compiled in and switched off: the kernel does not measure it.
                return None
        return pressures


def parse_cores(stat: bytes) -> Iterator[CoreRow]:
    """Yield (core, user, nice, system, idle, iowait, irq, steal) in ticks for each core of /proc/stat.

    Guest time is already part of user and nice time. Raises Unreadable.
    """
    for line in stat.splitlines():
        if not line.startswith(b"cpu"):
            return
        name, *texts = line.split()
        if name == b"cpu":
            continue
        try:
            user, nice, system, idle, iowait, hard, soft, steal = (int(text) for text in texts[:8])
            yield int(name[3:]), user, nice, system, idle, iowait, hard + soft, steal
        except ValueError as error:
            raise _broken("stat", line) from error


def parse_totals(stat: bytes) -> Line:
    """Counters since boot for the whole machine, from /proc/stat; raises Unreadable."""
    table = dict(line.split(maxsplit=1) for line in stat.splitlines() if line.count(b" "))
    try:
        return {"forks": int(table[b"processes"]), "switches": int(table[b"ctxt"])}
    except (KeyError, ValueError) as error:
        raise _broken("stat", stat) from error


def parse_load(loadavg: bytes) -> Line:
    """Load, runnable tasks and all tasks, from /proc/loadavg; raises Unreadable."""
    try:
        load1, _, _, tasks, *_ = loadavg.split()
        runnable, _, total = tasks.partition(b"/")
        return {"load1": float(load1), "runnable": int(runnable), "tasks": int(total)}
    except ValueError as error:
        raise _broken("loadavg", loadavg) from error


def parse_memory(meminfo: bytes) -> Line:
    """Memory that can be had and swap in use, in bytes, from /proc/meminfo; raises Unreadable."""
    sizes = memory_sizes(meminfo)
    try:
        return {
            "memory_available_bytes": sizes["MemAvailable"],
            "swap_used_bytes": sizes["SwapTotal"] - sizes["SwapFree"],
        }
    except KeyError as error:
        raise _broken("meminfo", meminfo) from error


def memory_sizes(text: bytes) -> dict[str, int]:
    """Bytes by name from lines such as `MemTotal:  16 kB`; lines of another shape are passed over."""
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        number, _, unit = rest.strip().partition(b" ")
        if number.isdigit() and unit == b"kB":
            sizes[name.decode(errors="replace")] = int(number) * 1024
    return sizes


def parse_pressure(text: bytes) -> dict[str, int | None]:
    """Microseconds of `some` and `full` stall since boot; a kernel without the second gives None."""
    totals: dict[str, int | None] = {"some": None, "full": None}
    for line in text.splitlines():
        share, _, rest = line.partition(b" ")
        total = rest.rpartition(b"total=")[2]
        if share in (b"some", b"full") and total.isdigit():
            totals[share.decode()] = int(total)
    return totals


def describe_host(proc: Path = procfs.PROC, sys: Path = SYS) -> Line:
    """What the header says of the machine; what cannot be found out is None."""
    machine = os.uname()
    return {
        "hostname": machine.nodename,
        "kernel": machine.release,
        "machine": machine.machine,
        "cpu_model": _cpu_model(proc),
        "logical_cores": os.cpu_count(),
        "physical_cores": physical_cores(sys),
        "numa_nodes": len([*sys.glob("devices/system/node/node[0-9]*")]) or None,
        "memory_bytes": _memory_bytes(proc),
        "clock_ticks_per_s": procfs.CLOCK_TICKS_PER_S,
        "page_bytes": procfs.PAGE_BYTES,
        "python": platform.python_version(),
    }


def physical_cores(sys: Path = SYS) -> int | None:
    """Cores without SMT siblings that are online; None where the kernel does not describe them."""
    pairs: set[tuple[str, str]] = set()
    for topology in sys.glob("devices/system/cpu/cpu[0-9]*/topology"):
        try:
            package = (topology / "physical_package_id").read_text()
            pairs.add((package, (topology / "core_id").read_text()))
        except OSError:
            continue
    return len(pairs) or None


def _cpu_model(proc: Path) -> str | None:
    try:
        text = procfs.read_bytes(f"{proc}/cpuinfo").decode(errors="replace")
    except procfs.Unreadable:
        return None
    table = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in table.items()}
    return next((named[name] for name in ("model name", "Model", "cpu", "Hardware") if name in named), None)


def _memory_bytes(proc: Path) -> int | None:
    try:
        return memory_sizes(procfs.read_bytes(f"{proc}/meminfo")).get("MemTotal")
    except procfs.Unreadable:
        return None


def _broken(path: str, data: bytes) -> procfs.Unreadable:
    return procfs.Unreadable(path, "broken", f"cannot be understood: {data[:60]!r}")
