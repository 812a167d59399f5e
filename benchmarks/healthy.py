"""Whether programs that are well stay undisturbed: records seven healthy real programs and prints their verdicts.

    python benchmarks/healthy.py [NAME ...] [--seconds 8] [--keep FOLDER] [--read FOLDER]

Each program uses two cores as its library means it to: a random forest, a grid search over loky, matrix
products, a torch training loop, a Ray map, hashing in threads, and a web server that mostly waits. Exits with 1
where one of them is called sick. `--keep` leaves the recordings in FOLDER, `--read` diagnoses those that lie
there instead of running anything. Run it on a quiet machine: what other programs take is part of a recording.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from corelens.recording import read
from corelens.reports.diagnosis import diagnosed
from corelens.reports.elf import SymbolsOnDisk
from corelens.reports.findings import HEALTHY
from corelens.reports.report import Report

FOREST = """
import sys, time
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
rows, labels = make_classification(6000, 24, n_informative=12, random_state=0)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    RandomForestClassifier(200, n_jobs=2, random_state=0).fit(rows, labels)
"""

GRID = """
import sys, time
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC
rows, labels = make_classification(2500, 20, n_informative=12, random_state=0)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    GridSearchCV(SVC(), {"C": [0.3, 1, 3, 10], "gamma": [0.01, 0.03, 0.1]}, cv=4, n_jobs=2).fit(rows, labels)
"""

MATRIX = """
import sys, time
import numpy as np
left, right = np.random.default_rng(0).standard_normal((2, 1600, 1600))
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    left @ right
"""

TRAINING = """
import sys, time
import torch
torch.manual_seed(0)
inputs, targets = torch.randn(4096, 512), torch.randint(0, 10, (4096,))
net = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 10))
optimiser, loss = torch.optim.SGD(net.parameters(), lr=0.01), torch.nn.CrossEntropyLoss()
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    for batch in torch.randperm(4096).split(512):
        optimiser.zero_grad()
        loss(net(inputs[batch]), targets[batch]).backward()
        optimiser.step()
"""

RAY = """
import sys, time
import ray
@ray.remote
def primes(below):
    return sum(all(number % other for other in range(2, int(number**0.5) + 1)) for number in range(2, below))
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
ray.get([primes.remote(100) for _ in range(2)])
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    ray.get([primes.remote(60_000) for _ in range(16)])
ray.shutdown()
"""

HASHING = """
import hashlib, os, sys, time
from concurrent.futures import ThreadPoolExecutor
blocks = [os.urandom(1 << 22) for _ in range(16)]
until = time.monotonic() + float(sys.argv[1])
with ThreadPoolExecutor(2) as pool:
    while time.monotonic() < until:
        list(pool.map(lambda block: hashlib.sha256(block).hexdigest(), blocks * 4))
"""

SERVER = """
import subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = ",".join(map(str, range(500))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
CLIENT = '''
import sys, time, urllib.request
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    urllib.request.urlopen(sys.argv[1]).read()
    time.sleep(0.05)
'''
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/"
subprocess.run([sys.executable, "-c", CLIENT, address, sys.argv[1]], check=True)
server.shutdown()
"""

PROGRAMS = {
    "random-forest": FOREST,
    "grid-search": GRID,
    "matrix-product": MATRIX,
    "torch-training": TRAINING,
    "ray-map": RAY,
    "futures-hashing": HASHING,
    "web-server": SERVER,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Record, diagnose, and print a line per program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each works (default 8)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the recordings here")
    parser.add_argument("--read", type=Path, metavar="FOLDER", help="diagnose the recordings that lie here")
    args = parser.parse_args(argv)
    names: list[str] = args.names or list(PROGRAMS)
    if args.read is not None:
        return judged(args.read, names)
    with tempfile.TemporaryDirectory() as folder:
        place: Path = args.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            recorded(place, name, args.seconds)
        return judged(place, names)


def recorded(folder: Path, name: str, seconds: float) -> None:
    """Run one program under the recorder; raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "program.py"
        program.write_text(PROGRAMS[name])
        record = [
            sys.executable,
            "-m",
            "corelens",
            "record",
            "-q",
            "--force",
            "-o",
            str(recording_of(folder, name)),
        ]
        subprocess.run([*record, "--", sys.executable, str(program), str(seconds)], check=True)


def recording_of(folder: Path, name: str) -> Path:
    """Where the recording of a program lies."""
    return folder / f"{name}.corelens"


def judged(folder: Path, names: Sequence[str]) -> int:
    """Print every verdict; 1 where one of them calls a program sick."""
    sick = [name for name in names if not told(folder, name)]
    return 1 if sick else 0


def told(folder: Path, name: str) -> bool:
    """Print what the diagnosis says of one program; whether it leaves it undisturbed."""
    report = diagnosed(read(recording_of(folder, name)), SymbolsOnDisk())
    assert report.diagnosis is not None
    print(line(name, report), flush=True)
    for finding in report.diagnosis.findings:
        print(
            f"    {finding.slug} ({finding.variant}): {finding.lost_share:.3f} of the capacity,"
            f" confidence {finding.confidence:.2f}: {finding.cause}"
        )
    return report.diagnosis.verdict == HEALTHY


def line(name: str, report: Report) -> str:
    """One line: the verdict beside the numbers that a reader judges it by."""
    assert report.diagnosis is not None
    return (
        f"{name:16} {report.diagnosis.verdict:24} {report.wall_s:6.1f} s,"
        f" {report.cpu.busy_cores_mean:.2f} of {report.capacity.cores:g} cores busy,"
        f" run-queue wait {report.cpu.run_queue_wait_s:.1f} thread-s"
    )


if __name__ == "__main__":
    sys.exit(main())
