"""How many threads libraries give themselves: from the cores they see and the variables at exec.

Variables that are set later do not count: each library reads them once, when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# torch is built with MKL there, which decides its threads; elsewhere it asks OpenMP.
_WITH_MKL = frozenset({"x86_64", "amd64"})
_OPENBLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
_MKL_VARIABLES = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")
_NO = frozenset({"FALSE", "F", "0", "NO", "N"})


@dataclass(frozen=True, slots=True)
class Machine:
    """What a process sees of its machine; None where that is not recorded."""

    logical: int | None
    physical: int | None
    affinity: int | None
    """Cores that its main thread may run on."""
    machine: str = "x86_64"

    @property
    def seen(self) -> int | None:
        """Cores that OpenBLAS and OpenMP count: those of the affinity."""
        return self.affinity or self.logical


@dataclass(frozen=True, slots=True)
class Size:
    """A number of threads with its source; None with the reason why it is unknown."""

    value: int | None
    source: str


def torch_threads(machine: Machine, variables: Mapping[str, str] | None) -> Size:
    """Threads that torch gives a parallel region: MKL's number, which is the physical cores unless told less."""
    if variables is None:
        return Size(None, "its variables could not be read")
    if machine.machine not in _WITH_MKL:
        return Size(None, f"torch has no MKL on {machine.machine}, and its default there is not modelled")
    told = first_number(variables, _MKL_VARIABLES)
    if told is not None and variables.get("MKL_DYNAMIC", "").upper() in _NO:
        return Size(told.value, f"{told.source}, with MKL_DYNAMIC=FALSE")
    most = _physical(machine)
    if most.value is None or told is None or told.value is None:
        return most
    clamped = min(told.value, most.value)
    return Size(
        clamped, told.source if clamped == told.value else f"{told.source}, which MKL cuts to {most.source}"
    )


def openblas_threads(machine: Machine, variables: Mapping[str, str] | None) -> Size:
    """Threads that a copy of OpenBLAS asks for, before its build caps them."""
    seen = machine.seen
    if seen is None:
        return Size(None, "the number of cores is not recorded")
    if variables is None:
        return Size(None, "its variables could not be read")
    told = first_number(variables, _OPENBLAS_VARIABLES)
    if told is None or told.value is None:
        return Size(seen, f"{seen} cores seen, and no variable")
    return Size(
        min(told.value, seen), told.source if told.value <= seen else f"{told.source}, cut to {seen} cores"
    )


def scikit_learn_threads(machine: Machine, variables: Mapping[str, str] | None) -> Size:
    """Threads that scikit-learn gives its own loops: OMP_NUM_THREADS, or the physical cores."""
    if variables is None:
        return Size(None, "its variables could not be read")
    return first_number(variables, ("OMP_NUM_THREADS",)) or _physical(machine)


def first_number(variables: Mapping[str, str], names: Iterable[str]) -> Size | None:
    """The first of some variables that holds a positive number, or the first of a list of them."""
    for name in names:
        text = variables.get(name, "").partition(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return Size(int(text), f"{name}={variables[name]} at exec")
    return None


def _physical(machine: Machine) -> Size:
    physical, logical, affinity = machine.physical, machine.logical, machine.affinity
    if physical is None:
        return Size(None, "the number of physical cores is not recorded")
    if affinity is not None and logical is not None and affinity < logical:
        if physical == logical:
            return Size(affinity, f"{affinity} cores in its affinity")
        return Size(None, "its affinity leaves out cores, and how many physical ones remain is not recorded")
    return Size(physical, f"{physical} physical cores")
