"""Build the wheel and the source archive, and use the wheel in an empty place without any extra.

Run by an interpreter that has `build`. Every step prints one line; the first that does not hold ends the
program with its reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Check everything; raises SystemExit with the reason of the first failure."""
    with tempfile.TemporaryDirectory(prefix="corelens-wheel-") as folder:
        place = Path(folder)
        direct = build(place / "direct", "--wheel")
        through = build(place / "through-sdist")
        same_files(direct, through)
        alone_at_the_top(place, direct)
        works_without_extras(place, through)
    print("the wheel is good")
    return 0


def build(place: Path, *options: str) -> Path:
    """Build a wheel; without options, from a source archive as a downloader of that archive would."""
    # What an earlier build left there would get into this wheel, deleted modules included.
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    run(sys.executable, "-m", "build", *options, "--outdir", str(place), str(ROOT))
    wheels = list(place.glob("*.whl"))
    require(len(wheels) == 1, f"one wheel in {place}, found {wheels}")
    return wheels[0]


def same_files(direct: Path, through: Path) -> None:
    """The source archive must lose nothing."""
    missing = names(direct) ^ names(through)
    require(
        not missing, f"the tree and the source archive give the same wheel; they differ in {sorted(missing)}"
    )
    in_tree = {f"corelens/{path}" for path in package_files()}
    require(in_tree <= names(direct), f"every module is in the wheel; not: {sorted(in_tree - names(direct))}")


def alone_at_the_top(place: Path, wheel: Path) -> None:
    """Generic names such as `probes` must never reach somebody's site-packages."""
    target = place / "target"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel))
    found = {path.name for path in target.iterdir() if path.suffix != ".dist-info"} - {"bin"}
    require(found == {"corelens"}, f"only corelens/ is installed, found {sorted(found)}")


def works_without_extras(place: Path, wheel: Path) -> None:
    """The core alone must help, look around, record and report."""
    run(sys.executable, "-m", "venv", str(place / "venv"))
    python, corelens = place / "venv/bin/python", place / "venv/bin/corelens"
    constraints = ROOT / "constraints.txt"
    run(str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints), str(wheel))
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    run(str(python), "-c", "import probes", cwd=elsewhere, expected=1)
    run(str(corelens), "--help", cwd=elsewhere)
    run(str(corelens), "doctor", cwd=elsewhere)
    run(
        str(corelens),
        "record",
        "-o",
        "a.corelens",
        "--",
        str(python),
        "-c",
        "sum(range(10**7))",
        cwd=elsewhere,
    )
    run(str(corelens), "report", "a.corelens", cwd=elsewhere)
    said = run(str(corelens), "report", "a.corelens", "-o", "a.md", cwd=elsewhere, expected=3)
    require("corelens[report]" in said, f"a missing extra is named, said: {said}")
    search = "corelens.scenarios.search"
    said = run(
        str(python), "-m", search, "--backend", "sequential", "--scale", "smoke", cwd=elsewhere, expected=3
    )
    require("corelens[lab]" in said, f"a missing extra is named, said: {said}")


def run(*argv: str, cwd: Path | None = None, expected: int = 0) -> str:
    """Run a command outside the influence of this checkout and return what it printed."""
    print("$", " ".join(argv), flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    require(done.returncode == expected, f"exit code {expected}, was {done.returncode}:\n{said}")
    return said


def names(wheel: Path) -> set[str]:
    """Files in a wheel but for the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def package_files() -> list[str]:
    """Files that the checkout has under the import name, the linked folders included."""
    listing = subprocess.run(
        ["git", "ls-files", "corelens", "probes", "scenarios", "reports"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path.removeprefix("corelens/") for path in listing.split() if not (ROOT / path).is_symlink()]


def require(holds: bool, what: str) -> None:
    """End with one clear line unless it holds."""
    if not holds:
        sys.exit(f"wheel check failed: {what}")


if __name__ == "__main__":
    sys.exit(main())
