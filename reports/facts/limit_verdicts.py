"""The verdict on one thread limit and one library: values in, a word and a sentence out.

What counts is what the library found when it read its variables. The size it has now tells whether it obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corelens.reports.facts.limit_readers import LIBRARIES, TORCH, Library, number, winner

TOOK_EFFECT = "took-effect"
SET_TOO_LATE = "set-too-late"
OVERRIDDEN = "overridden"
NOT_INHERITED = "not-inherited"
IGNORED = "ignored"
UNKNOWN = "unknown"

VERDICTS = {
    TOOK_EFFECT: "the library found it and has that many threads",
    SET_TOO_LATE: "it appeared after the library had read its variables, or after a thread had used torch",
    OVERRIDDEN: "something else decides: another variable, code, or the cores that the library may use",
    NOT_INHERITED: "a parent or another thread has it, and it does not reach this process or these threads",
    IGNORED: "no library of the process reads it, or the library takes no such value",
    UNKNOWN: "what was seen does not decide; the sentence says what is missing",
}
"""What each word means."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a limit, why, and what to do instead; `fix` is None where nothing needs doing."""

    word: str
    why: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores as the libraries of one process count them; None where unknown."""

    allowed: int | None
    """By its affinity."""
    physical: int | None
    online: int | None = None

    @property
    def physical_allowed(self) -> int | None:
        """Fewest physical cores that its affinity can mean: every hardware thread of a core may be in it."""
        if self.allowed is None or not self.physical or not self.online:
            return self.physical
        return min(self.allowed, -(-self.allowed * self.physical // self.online))


@dataclass(frozen=True, slots=True)
class Reading:
    """One library in one process: what it read, and the threads it has.

    `at_load` is None where nobody saw it being loaded. `assumed` says that it is the environment at exec,
    which the program may have changed since.
    """

    library: Library
    at_load: Mapping[str, str] | None
    sizes: tuple[int, ...] = ()
    """Configured threads, as asked one time after another."""
    observed: int | None = None
    """Largest team or pool that existed, the thread that opened it included."""
    cores: Cores = field(default=Cores(None, None))
    assumed: bool = False
    inherited: bool = False
    """A fork took the library over as its parent had loaded it."""

    @property
    def size(self) -> int | None:
        """Threads now: configured ones where they could be asked for, else those seen."""
        return self.sizes[-1] if self.sizes else self.observed


def on_variable(reading: Reading, name: str, value: str, *, set_by_parent: bool = False) -> Verdict:
    """Judge `name=value`, which the process had at some time; `set_by_parent` matters after a fork."""
    if reading.at_load is None:
        return _loaded_unseen(reading, name, value)
    if reading.at_load.get(name) != value:
        return _after_reading(reading, name, value, set_by_parent)
    if name in reading.library.policies:
        return _on_policy(reading, name, value)
    asked = number(name, value)
    if asked is None:
        return Verdict(IGNORED, f"{reading.library.label} takes no {value!r}", shell_fix(name, "1"))
    return _when_read(reading, name, asked)


def on_set_by_program(reading: Reading, name: str, value: str) -> Verdict:
    """Judge a value that code put into the environment while no agent saw when the library read it.

    A library that had found it in time would have obeyed it, so a larger pool says that it came too late.
    """
    asked, seen = number(name, value), reading.observed
    if asked is None or seen is None or name not in reading.library.variables:
        return Verdict(UNKNOWN, f"the program set it, and nobody saw whether {reading.library.label} read it")
    if seen <= asked:
        return Verdict(TOOK_EFFECT, f"the program set it; {_has(reading)}")
    first = winner(reading.library, {**(reading.at_load or {}), name: value})
    if first is not None and first[0] != name and first[1] != asked:
        return _beaten(reading, name, asked, *first)
    why = f"the program set it after {reading.library.label} had read its variables, or code raised it since"
    return Verdict(SET_TOO_LATE, f"{why}: {_has(reading)}", shell_fix(name, value))


def on_replaced(reading: Reading, name: str, value: str) -> Verdict:
    """Judge a value of the environment at exec that the program replaced before the library read it."""
    found = (reading.at_load or {}).get(name)
    now = "removed it" if found is None else f"set it to {found}"
    return Verdict(OVERRIDDEN, f"the program {now} before {reading.library.label} read {name}={value}")


def on_missing(reading: Reading, name: str, value: str) -> Verdict:
    """Judge a variable that the parent has and this process, which was executed, was not handed."""
    why = "the parent has it, this process does not: it was started before it was set, or with another env"
    return Verdict(NOT_INHERITED, f"{why}; {_has(reading)}", shell_fix(name, value))


def on_unread(name: str, others: Sequence[str]) -> Verdict:
    """Judge a variable that no library of the process reads; `others` are the ones that have threads there."""
    readers = readers_of(name)
    by = ", ".join(readers) if readers else "no library known here"
    but = f", and does not limit {', '.join(others)}" if others else ""
    return Verdict(IGNORED, f"read by {by}, which this process did not load{but}")


def on_nothing(reading: Reading, set_elsewhere: Sequence[str] = ()) -> Verdict | None:
    """What to say of a pool that nothing limits; `set_elsewhere` are variables that it does not read.

    None for a pool that no variable can limit.
    """
    names = reading.library.variables
    if not names:
        return None
    fix = shell_fix(names[-1], "1") if (reading.size or 0) > 1 else None
    but = f" ({', '.join(set_elsewhere)} it does not read)" if set_elsewhere else ""
    return Verdict("", f"no limit: it reads {_either(names)}, and found none{but}; {_has(reading)}", fix)


def bounded(reading: Reading, asked: int) -> tuple[int, str | None]:
    """Threads that a library makes of a number, and what cut it down; unknown bounds cut nothing."""
    library, cores = reading.library, reading.cores
    bounds: list[tuple[int, str]] = []
    if library.most is not None:
        bounds.append((library.most, f"its build allows {library.most} threads"))
    if library.bound == "allowed" and cores.allowed is not None:
        bounds.append((cores.allowed, f"its affinity allows {_count(cores.allowed, 'core')}"))
    if library.bound == "physical" and cores.physical is not None and _dynamic(reading):
        bounds.append((cores.physical, f"MKL stops at {_count(cores.physical, 'physical core')}"))
    cuts = [(most, why) for most, why in bounds if most < asked]
    return min(cuts, default=(asked, None), key=lambda cut: cut[0])


def physical_sizes(reading: Reading) -> range:
    """Sizes that MKL may take for the physical cores of the affinity; which cores are siblings is unknown."""
    cores = reading.cores
    if reading.library.bound != "physical" or cores.allowed is None or cores.physical_allowed is None:
        return range(0)
    return range(cores.physical_allowed, min(cores.allowed, cores.physical or cores.allowed) + 1)


def shell_fix(name: str, value: str) -> str:
    """The sentence that always works."""
    return f"set it in the shell before Python starts: {name}={value} python ..."


def read_when(library: Library) -> str:
    """When a library read its variables, in words."""
    if library.name == TORCH:
        return "while torch was imported"
    return "when it was loaded" if library.reads == "load" else "at its first use"


def _after_reading(reading: Reading, name: str, value: str, set_by_parent: bool) -> Verdict:
    library, asked = reading.library, number(name, value)
    read = f"{library.label} read its variables {read_when(library)}"
    if library.reads == "first use" and asked is not None and reading.sizes and reading.sizes[-1] == asked:
        return Verdict(TOOK_EFFECT, f"set before the first use: {_has(reading)}")
    fix = shell_fix(name, value)
    if library.name == TORCH and asked is not None:
        fix += f"; or call torch.set_num_threads({asked}) before any other thread uses torch"
    if reading.inherited and set_by_parent:
        return Verdict(
            NOT_INHERITED,
            f"{read}: the parent had loaded it before it set this, and a fork takes over what was loaded",
            fix,
        )
    return Verdict(SET_TOO_LATE, f"{read}, and this came later: {_has(reading)}", fix)


def _loaded_unseen(reading: Reading, name: str, value: str) -> Verdict:
    asked = number(name, value)
    if asked is not None and name in reading.library.variables and reading.size == asked:
        return Verdict(TOOK_EFFECT, _has(reading))
    return Verdict(UNKNOWN, f"nobody saw what the variables were when {reading.library.label} was loaded")


def _on_policy(reading: Reading, name: str, value: str) -> Verdict:
    label, asked = reading.library.label, number(name, value)
    if name == "OMP_THREAD_LIMIT" and asked is not None and reading.observed is not None:
        if reading.observed <= asked:
            return Verdict(TOOK_EFFECT, f"no team was larger than {_count(reading.observed, 'thread')}")
        return Verdict(OVERRIDDEN, f"a team of {reading.observed} threads was seen", shell_fix(name, value))
    return Verdict(UNKNOWN, f"{label} found it {read_when(reading.library)}; it sets no size to compare with")


def _when_read(reading: Reading, name: str, asked: int) -> Verdict:
    """Judge a variable that was there in time and holds a number."""
    first = winner(reading.library, reading.at_load or {})
    assert first is not None
    if first[0] != name:
        return _beaten(reading, name, asked, *first)
    made, cut = bounded(reading, asked)
    size = reading.size
    if size is None:
        return Verdict(UNKNOWN, "it was there in time, but no size was asked for and no team was seen")
    if size == asked and reading.observed is not None and reading.observed > asked:
        return Verdict(
            OVERRIDDEN, f"{_has(reading)} for a new thread, but code raised one team to {reading.observed}"
        )
    if size == asked:
        return Verdict(TOOK_EFFECT, f"read {read_when(reading.library)}{_assumed(reading)}: {_has(reading)}")
    if size == made and cut is not None:
        fix = f"ask for at most {made}"
        return Verdict(OVERRIDDEN, f"{asked} was asked for and {cut}: {_has(reading)}", fix)
    if size < asked and size in physical_sizes(reading):
        return Verdict(OVERRIDDEN, f"MKL stops at the physical cores that it may use: {_has(reading)}")
    return _changed(reading, name, asked)


def _changed(reading: Reading, name: str, asked: int) -> Verdict:
    library, size = reading.library, reading.size
    if reading.sizes:
        return Verdict(
            OVERRIDDEN,
            f"read {read_when(library)}, and code changed it afterwards ({library.set_by}): {_has(reading)}",
            "change that call, it decides",
        )
    if size is not None and size < asked:
        return Verdict(
            UNKNOWN, f"{_has(reading)}, and a parallel region may ask for fewer than it could have"
        )
    return Verdict(
        OVERRIDDEN,
        f"{_has(reading)}: code ({library.set_by}), or another value in os.environ before the import",
        "record the program from its start with --agent to see which",
    )


def _beaten(reading: Reading, name: str, asked: int, first: str, wanted: int) -> Verdict:
    label = reading.library.label
    if wanted == asked:
        return Verdict(TOOK_EFFECT, f"{first} says the same and is what {label} obeys: {_has(reading)}")
    return Verdict(
        OVERRIDDEN,
        f"{label} obeys {first}={wanted} before {name}: {_has(reading)}",
        f"set {first}={asked} too",
    )


def _dynamic(reading: Reading) -> bool:
    # Measured: only the word switches it off, 0 does not.
    return (reading.at_load or {}).get("MKL_DYNAMIC", "").strip().lower() not in ("false", ".false.")


def _has(reading: Reading) -> str:
    size = reading.size
    if size is None:
        return "its size is not known"
    if reading.sizes:
        return f"it has {_count(size, 'thread')}"
    return f"the largest team or pool seen has {_count(size, 'thread')}"


def _assumed(reading: Reading) -> str:
    return " (as it stood at exec)" if reading.assumed else ""


def _either(names: Sequence[str]) -> str:
    return " or ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} or {names[-1]}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def readers_of(name: str) -> tuple[str, ...]:
    """Labels of the libraries that read a variable."""
    return tuple(
        library.label
        for library in LIBRARIES.values()
        if name in library.variables or name in library.policies
    )
