"""The guard catches each kind of trace that a test may leave, and names a needless skip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent / "conftest.py"
GUILTY = """
import os, resource, signal, subprocess, threading
import pytest
ended = threading.Event()
def test_environment(): os.environ["LEFT"] = "1"
def test_folder(): os.chdir("/")
def test_umask(): os.umask(0o123)
def test_signal(): signal.signal(signal.SIGUSR1, signal.SIG_IGN)
def test_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
def test_thread(): threading.Thread(target=ended.wait, name="left", daemon=True).start()
def test_orphan(): subprocess.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! > pid"])
def test_clean(): subprocess.run(["true"])
"""
SKIPPED = """
import pytest
def test_allowed(): pytest.skip("needs root for this")
def test_needless(): pytest.skip("ray is not installed")
"""


def session(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a session of their own, under a guard that waits but shortly."""
    (folder / "conftest.py").write_text(CONFTEST.read_text().replace("_GRACE_S = 10.0", "_GRACE_S = 0.1"))
    (folder / "test_it.py").write_text(tests)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "--rootdir",
        str(folder),
        *options,
    ]
    return subprocess.run([*argv, "test_it.py"], cwd=folder, capture_output=True, text=True, check=False)


def test_every_kind_of_trace_is_caught(tmp_path: Path) -> None:
    tests = GUILTY.replace("> pid", f"> {tmp_path}/pid")
    done = session(tmp_path, tests)
    (orphan,) = (tmp_path / "pid").read_text().split()
    subprocess.run(["kill", orphan], check=True)
    for kind in ("environment", "folder", "umask", "signal_handlers", "limits", "threads", "processes"):
        assert f"  {kind}: " in done.stdout, done.stdout
    assert "8 passed, 7 errors" in done.stdout


def test_a_needless_skip_fails_when_asked(tmp_path: Path) -> None:
    lenient = session(tmp_path, SKIPPED)
    assert lenient.returncode == 0
    assert "1 x ray is not installed (not allowed here)" in lenient.stdout
    strict = session(tmp_path, SKIPPED, "--no-needless-skips")
    assert strict.returncode == 1
    assert "1 x needs root for this\n" in strict.stdout


def test_an_allowed_skip_does_not_fail(tmp_path: Path) -> None:
    tests = SKIPPED.replace("ray is not installed", "needs gcc")
    assert session(tmp_path, tests, "--no-needless-skips").returncode == 0
