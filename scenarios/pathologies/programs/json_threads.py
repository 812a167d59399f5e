"""Four threads parse log records with `json` and `re`, which hold the interpreter lock; `--fixed` uses processes."""

from __future__ import annotations

import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

FIXED = "--fixed" in sys.argv
BLOCKS = 700
WORDS = re.compile(r"(\w+)=(\d+)(?:\.(\d+))?")


def parse(block: int) -> int:
    """Read one block of records and count what matters in it."""
    found = 0
    for record in range(2500):
        text = json.dumps({"id": block * record, "note": "size=12.5 colour=7 age=33", "tags": ["a", "b"]})
        fields = json.loads(text)
        found += sum(int(match[2]) for match in WORDS.finditer(fields["note"]))
    return found


def main() -> None:
    """Parse every block."""
    begun = time.perf_counter()
    with ProcessPoolExecutor(2) if FIXED else ThreadPoolExecutor(4) as executor:
        done = len(list(executor.map(parse, range(BLOCKS))))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
