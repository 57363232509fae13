"""What a chain of elementwise operations holds of memory, forward and backward, beside PyTorch.

python benchmarks/chain_memory.py [--operations 100] [--elements 1000000] [--out benchmarks/results/NAME.json]

Linux only: the most that a process of its own ever held (VmHWM) above what it held before the chain, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHAINS = {
    "tanh": lambda x: x.tanh(),
    "sin": lambda x: x.sin(),
    "exp of a small part": lambda x: (x * 0.001).exp(),
    "multiply, add": lambda x: x * 0.99 + 0.01,
    "relu, tanh, multiply": lambda x: x.relu().tanh() * 1.01,
    "sigmoid, square, sqrt": lambda x: x.sigmoid().square().sqrt(),
}


def status(key: str) -> float:
    """MiB of a line in the process's status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def measure(library: str, chain: str, operations: int, elements: int) -> None:
    """In a process of its own: print the peak above the start, in MiB."""
    import importlib

    lib: Any = importlib.import_module(library)
    lib.set_num_threads(1)
    step = CHAINS[chain]
    one = lib.ones(8, requires_grad=True)
    step(one).sum().backward()  # what is imported late
    before = status("VmRSS")
    x = lib.full((elements,), 0.5, requires_grad=True)
    y = x
    for _ in range(operations // (chain.count(",") + 1)):
        y = step(y)
    y.sum().backward()
    assert x.grad is not None
    print(status("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=100)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(*args.measure, args.operations, args.elements)
        return
    rows = []
    print(f"{'chain':<24}{'distgrad':>10}{'PyTorch':>10}{'ratio':>8}   (MiB)")
    for chain in CHAINS:
        found = {}
        for library in ("distgrad", "torch"):
            command = [sys.executable, __file__, "--measure", library, chain]
            command += ["--operations", str(args.operations), "--elements", str(args.elements)]
            settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
            found[library] = float(done.stdout)
        ratio = found["distgrad"] / found["torch"]
        rows.append({"chain": chain, **found, "ratio": ratio})
        print(f"{chain:<24}{found['distgrad']:>10.0f}{found['torch']:>10.0f}{ratio:>8.2f}", flush=True)
    if args.out:
        from machine import describe

        told = {"operations": args.operations, "elements": args.elements, "rows": rows}
        args.out.write_text(json.dumps({"machine": describe(), **told}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
