"""Takes out of a recording what tells where it was made: `python tests/rules/scrub.py IN OUT`.

Host name, addresses, cgroup names, and the folders of interpreters, programs and people become neutral ones;
counters, numbers, times and names of threads and functions stay as they were, bit for bit. OUT is one gzip
member at the highest level. A damaged recording is refused, because its damage would no longer show.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path
from typing import Any

from corelens.recording import Damage, read_lines
from corelens.vocabulary import Line

_GZIP = 16 + zlib.MAX_WBITS
_HOST = "lab"
_HOME = "/home/lab"
_PYTHON = "/opt/python"
# A path within a longer text, as in `--log_dir=/tmp/ray/x` or a sentence.
_PATH = re.compile(r"(?<![\w./-])/[\w.+@%~-]+(?:/[\w.+@%~-]+)*")
_BELOW_PYTHON = re.compile(
    r"^/.*?(?P<rest>/(?:lib/python\d[\d.t]*/.+|lib/libpython[^/]*|bin/python[\d.t]*))$"
)
_SYSTEM = re.compile(r"^/(?:proc|sys|dev|etc|usr|lib|lib64|bin|sbin|run|opt/python)(?:/|$)")
_TEMPORARY = re.compile(r"^(?:/var)?/tmp/(?P<rest>.+)$")
_ADDRESS = re.compile(r"(?<![\d.])(?!127\.|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
# Of RFC 5737: an address for documentation.
_NOWHERE = "192.0.2.1"
_UNTOUCHED = ("kind", "function", "rtti", "build_id", "versions", "corelens")


class Scrubber:
    """Replaces texts of one recording; what was equal stays equal."""

    def __init__(self) -> None:
        self._host = ""
        self._programs: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def line(self, line: Line) -> Line:
        """The same line with neutral texts."""
        if line["kind"] == "header":
            self._host = line["host"]["hostname"]
            self._learn(line["target"]["argv"])
        if line["kind"] == "cgroup":
            return {**line, "path": self._group(line["path"])}
        return {key: self._value(key, value) for key, value in line.items()}

    def _learn(self, argv: list[str]) -> None:
        """Number the scripts of the command first, so that the first of them is `program.py`."""
        for word in argv:
            if word.endswith(".py") and not _BELOW_PYTHON.match(word):
                self._program(word)

    def _value(self, key: str, value: Any) -> Any:
        if key in _UNTOUCHED:
            return value
        if isinstance(value, str):
            return self._text(key, value)
        if isinstance(value, list):
            return [self._value(key, one) for one in value]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, dict):
            return self._object(key, value)  # pyright: ignore[reportUnknownArgumentType]
        return value

    def _object(self, key: str, value: dict[str, Any]) -> dict[str, Any]:
        if key == "cgroups":
            return {**value, "path": self._group(value["path"])}
        return {name: self._value(name, one) for name, one in value.items()}

    def _text(self, key: str, text: str) -> str:
        if key == "hostname":
            return _HOST
        if key == "kernel":
            return text.partition("-")[0]
        if text.endswith(".py") and "/" not in text:
            return self._program(text)
        text = _ADDRESS.sub(_NOWHERE, _PATH.sub(lambda found: self._path(found.group()), text))
        # A short name would be found in words that do not mean the machine.
        return re.sub(rf"\b{re.escape(self._host)}\b", _HOST, text) if len(self._host) > 3 else text

    def _path(self, path: str) -> str:
        below = _BELOW_PYTHON.match(path)
        if below:
            return _PYTHON + below["rest"]
        if path.endswith(".py"):
            return f"{_HOME}/{self._program(path)}"
        if _SYSTEM.match(path):
            return path
        temporary = _TEMPORARY.match(path)
        return f"/tmp/{temporary['rest']}" if temporary else f"{_HOME}/{path.rpartition('/')[2]}"

    def _program(self, path: str) -> str:
        number = len(self._programs) + 1
        name = "program.py" if number == 1 else f"program_{number}.py"
        return self._programs.setdefault(path.rpartition("/")[2], name)

    def _group(self, path: str) -> str:
        """Name every level of a cgroup path by a number, so that nesting still shows."""
        levels = [
            self._groups.setdefault(level, f"g{len(self._groups)}") for level in path.split("/")[1:] if level
        ]
        return "/" + "/".join(levels)


def scrub(source: Path, target: Path) -> None:
    """Write the recording without what tells where it was made; raises SystemExit where it is damaged."""
    damage: list[Damage] = []
    scrubber = Scrubber()
    texts = [json.dumps(scrubber.line(line), separators=(",", ":")) for line in read_lines(source, damage)]
    if damage:
        raise SystemExit(f"{source} is damaged: {damage[0].reason}")
    codec = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    target.write_bytes(codec.compress(("\n".join(texts) + "\n").encode()) + codec.flush())


if __name__ == "__main__":
    scrub(Path(sys.argv[1]), Path(sys.argv[2]))
