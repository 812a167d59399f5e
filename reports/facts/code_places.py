"""What a Python stack was doing: work of the program, machinery that hands work out, moving data, or start-up.

Told from the files of the standard library and of the libraries that share work out, never from the program's
own names. A program's own function is work where it stands inside of the last frame of the machinery.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corelens.reports.facts.stack_samples import Frame, StackSample

_MACHINERY = (
    "/multiprocessing/", "/concurrent/futures/", "/joblib/", "/loky/", "/cloudpickle/", "/ray/", "/dask/",
    "/distributed/", "/asyncio/", "/uvloop/", "/torch/utils/data/", "/threading.py", "/queue.py",
    "/selectors.py", "/socket.py", "/socketserver.py", "/pickle.py", "/copyreg.py",
)  # fmt: skip
_INSTALLED = ("/site-packages/", "/dist-packages/")
_MOVING = (
    "dumps", "dump", "loads", "load", "send", "recv", "send_bytes", "recv_bytes", "reducer_override",
)  # fmt: skip
"""Innermost functions of the machinery that turn objects into bytes and move them, without leading underscores."""
# uvloop shows no frames of its own between asyncio.Runner.run and what it runs.
_LOOP_FRAMES = ("run_once", "run_forever", "run_until_complete", "run")
_IN_SAMPLER = "/optuna/samplers/"
_NEXT_BATCH = "_BaseDataLoaderIter._next_index"
_FETCHING = "_SingleProcessDataLoaderIter._next_data"


def is_installed(frame: Frame) -> bool:
    """Whether it belongs to an installed package."""
    return any(part in frame.file for part in _INSTALLED)


def is_machinery(frame: Frame) -> bool:
    """Whether it belongs to what hands work out, waits for it, or moves it."""
    return (is_installed(frame) or is_standard(frame)) and any(part in frame.file for part in _MACHINERY)


def is_standard(frame: Frame) -> bool:
    """Whether it belongs to the standard library."""
    return frame.file.startswith("<") or ("/lib/python3" in frame.file and not is_installed(frame))


def is_program(frame: Frame) -> bool:
    """Whether it is the program's own code: neither of the standard library nor of a package."""
    return not is_standard(frame) and not is_installed(frame)


def is_startup(sample: StackSample) -> bool:
    """Whether it was importing, which tells nothing of what it does afterwards."""
    return any(frame.file.startswith("<frozen importlib") for frame in sample.frames)


def work(sample: StackSample) -> Frame | None:
    """Innermost frame of work that stands inside of the machinery; None where there is none.

    The program's own frame is preferred to that of a library which it calls.
    """
    inside = sample.frames[_last_machinery(sample) + 1 :]
    own = [frame for frame in inside if is_program(frame)]
    libraries = [frame for frame in inside if not is_standard(frame)]
    return own[-1] if own else libraries[-1] if libraries else None


def caller(sample: StackSample) -> Frame | None:
    """Innermost frame of the program outside of the machinery: who handed the work out, or waits for it."""
    outside = sample.frames[: _last_machinery(sample) + 1]
    return next((frame for frame in reversed(outside) if is_program(frame)), None)


def is_moving(sample: StackSample) -> bool:
    """Whether it was pickling, unpickling, or sending or receiving bytes."""
    inside = sample.frames[-3:] if work(sample) is None else ()
    return any(_is_mover(_bare(frame.function)) for frame in inside)


def loop_callback(sample: StackSample) -> Frame | None:
    """Frame that an event loop runs and that is no part of the loop; None where no loop runs one."""
    loop = [place for place, frame in enumerate(sample.frames) if _is_loop(frame)]
    # A notebook runs its cells on its loop on purpose, and nobody else waits for it.
    if not loop or any("/ipykernel/" in frame.file for frame in sample.frames):
        return None
    inside = sample.frames[loop[-1] + 1 :]
    return next((frame for frame in reversed(inside) if is_program(frame)), None)


def has_loop(sample: StackSample) -> bool:
    """Whether an event loop runs in it."""
    return any(map(_is_loop, sample.frames))


def _is_loop(frame: Frame) -> bool:
    return "/asyncio/" in frame.file and _bare(frame.function) in _LOOP_FRAMES


def in_sampler(sample: StackSample) -> bool:
    """Whether a sampler of Optuna chose parameters there, or one of torch the next batch."""
    return any(_IN_SAMPLER in frame.file or frame.function.endswith(_NEXT_BATCH) for frame in sample.frames)


def loads_here(sample: StackSample) -> bool:
    """Whether a DataLoader without workers fetched a batch there."""
    return any(frame.function.endswith(_FETCHING) for frame in sample.frames)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the code of some threads was seen at what; start-up left out."""

    work: int = 0
    moving: int = 0
    machinery: int = 0
    """Of it that is neither work nor moving."""

    @property
    def seen(self) -> int:
        """All of them."""
        return self.work + self.moving + self.machinery


def tally(samples: Iterable[StackSample]) -> Tally:
    """Count samples of threads that were active; idle ones tell where they wait, not what costs time."""
    counts = {"work": 0, "moving": 0, "machinery": 0}
    for sample in samples:
        if sample.active is not False and not is_startup(sample):
            counts[_kind(sample)] += sample.samples
    return Tally(**counts)


def place(frame: Frame) -> str:
    """Where it is, for people: function, file without its folders, and line."""
    line = "" if frame.line is None else f":{frame.line}"
    return f"{frame.function} ({frame.file.rpartition('/')[2]}{line})"


def _is_mover(function: str) -> bool:
    return function in _MOVING or function.startswith(("serialize", "deserialize"))


def _kind(sample: StackSample) -> str:
    if work(sample) is not None:
        return "work"
    return "moving" if is_moving(sample) else "machinery"


def _last_machinery(sample: StackSample) -> int:
    return max((place for place, frame in enumerate(sample.frames) if is_machinery(frame)), default=-1)


def _bare(function: str) -> str:
    return function.rpartition(".")[2].strip("_")
