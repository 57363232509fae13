"""Every operation beside PyTorch's, forward and with its gradients, at 10, 10,000 and a million elements.

python benchmarks/operations.py [NAME ...] [--sizes 10 10000 1000000] [--turns 7] [--above 1.5] [--out FILE]

A process of each library stays alive, one thread each, and the two take turns of some 5 ms on the same core; a time is
the median of the turns, a ratio the median of those of neighbouring turns.  The calls are in ``operation_cases.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Any

from compare import one_thread
from machine import describe
from operation_cases import calls

HERE = Path(__file__).parent
TURN = 0.005  # seconds of one turn, about
LIBRARIES = ("distgrad", "torch")


class Library:
    """A process that times calls of one library."""

    def __init__(self, name: str, core: int) -> None:
        with tempfile.TemporaryDirectory() as folder, Listener(str(Path(folder) / "socket")) as listener:
            command = [sys.executable, str(HERE / "operations_worker.py"), name, str(listener.address)]
            self.process = subprocess.Popen(command, env=one_thread(), stdin=subprocess.DEVNULL)
            os.sched_setaffinity(self.process.pid, {core})
            self.socket = listener.accept()

    def ask(self, *question: Any) -> Any:
        self.socket.send(question)
        return self.socket.recv()

    def end(self) -> None:
        self.socket.send(())
        self.process.wait(timeout=60)


def compared(both: list[Library], name: str, n: int, backward: bool, turns: int) -> dict[str, Any] | None:
    """Microseconds of a call in each library, and the ratio; None where the operation has no gradient."""
    ready = [library.ask("prepare", name, n, backward) for library in both]  # of both, whatever the first says
    if not all(ready):
        return None
    first = [min(library.ask("time", 1) for _ in range(2)) for library in both]
    counts = [max(1, round(TURN / library.ask("time", max(1, round(0.001 / f))) * max(1, round(0.001 / f))))
              for library, f in zip(both, first, strict=True)]  # fmt: skip
    found: list[list[float]] = [[], []]
    for turn in range(turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            found[which].append(both[which].ask("time", counts[which]) / counts[which] * 1e6)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(*found, strict=True))
    ours, theirs = map(statistics.median, found)
    return {"name": name, "elements": n, "backward": backward, "us": ours, "torch_us": theirs, "ratio": ratio}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as exp, nn.functional.relu; by default all")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 10_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--above", type=float, default=1.5, help="print the ratios above this")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    both = [Library(name, args.core) for name in LIBRARIES]
    rows = []
    for n in args.sizes:
        for backward in (False, True):
            here = [compared(both, name, n, backward, args.turns) for name in args.names or calls()]
            found = [row for row in here if row is not None]
            rows += found
            ratios = [row["ratio"] for row in found] or [float("nan")]
            what = "forward and backward" if backward else "forward"
            print(f"{n} elements, {what}: median {statistics.median(ratios):.2f} of {len(ratios)} operations")
            for row in sorted(found, key=lambda row: -row["ratio"]):
                if row["ratio"] > args.above:
                    times = f"{row['us']:>12.1f}{row['torch_us']:>12.1f}{row['ratio']:>8.2f}"
                    print(f"  {row['name']:<45}{times}", flush=True)
    for library in both:
        library.end()
    if args.out:
        lines = ",\n".join(json.dumps(_rounded(row)) for row in rows)
        text = f'{{"machine": {json.dumps(describe())},\n"operations": [\n{lines}\n]}}\n'
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
