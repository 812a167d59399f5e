"""What each Python thread was started to run: the first function above the threading module in its stacks.

Many libraries give their threads no name, so that the function alone tells the progress bar's monitor from a
thread that works. Known only where stacks were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.recording import Recording

# Every thread of the threading module begins in three functions of it.
_BEGINNINGS = ("/threading.py",)
_DEEPEST_BEGINNING = 4


def bodies(recording: Recording) -> Iterator[tuple[int, int, str]]:
    """When a thread was seen, its id, and its body as `file:function`; once for each of its stacks."""
    frames = {
        number: (file, function)
        for line in recording.lines("stacks.frames")
        for number, file, function in zip(line["frame"], line["file"], line["function"], strict=False)
    }
    chains = {
        number: [frames[each] for each in chain[:_DEEPEST_BEGINNING] if each in frames]
        for line in recording.lines("stacks.chains")
        for number, chain in zip(line["stack"], line["frames"], strict=False)
    }
    told: set[tuple[int, int]] = set()
    for line in recording.lines("stacks"):
        for tid, stack in zip(line["tid"], line["stack"], strict=False):
            body = _body(chains.get(stack, []))
            if body is not None and (tid, stack) not in told:
                told.add((tid, stack))
                yield line["t_ns"], tid, body


def _body(chain: list[tuple[str, str]]) -> str | None:
    for file, function in chain:
        if not file.endswith(_BEGINNINGS):
            return f"{file}:{function}"
    return None
