"""What the guards against hangs cost of a training step on two ranks, and what DISTGRAD_DEBUG=detail costs.

python benchmarks/guards.py [--rounds 3] [--ranks 2] [--out benchmarks/results/NAME.json]

A job with everything on, as users have it, beside one without exception hooks, one without the watchdog's thread, one
without either, and one in debug mode; jobs in turn, medians.  The check for finite gradients is part of a step and is
measured by scaling.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from compare import one_thread
from machine import describe

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "launch"))

from environment import mpi_environ, mpirun  # noqa: E402 - found through the line above

WITHOUT = {"guards": "nothing", "no hooks": "hooks", "no watchdog": "watchdog", "no guards": "all", "detail": "nothing"}


def run(model: str, kind: str, ranks: int) -> float:
    """Microseconds of a step on the slowest rank of one job."""
    env = one_thread() | mpi_environ(ranks) | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "DISTGRAD_DEBUG"):
        env.pop(name, None)
    if kind == "detail":
        env["DISTGRAD_DEBUG"] = "detail"
    command = [*mpirun(sys.executable), "-n", str(ranks), sys.executable, str(HERE / "guards_worker.py"), model]
    done = subprocess.run(
        [*command, WITHOUT[kind]], env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(f"{model}, {kind}, failed:\n{done.stderr}")
    return float(json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))["us"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["linear", "mlp"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ.pop("DISTGRAD_DEBUG", None)
    rows: list[dict[str, Any]] = []
    print(f"{'model':<10}{'':<14}{'step, us':>10}{'of no guards':>14}")
    for model in args.models:
        times: dict[str, list[float]] = {kind: [] for kind in WITHOUT}
        for _ in range(args.rounds):
            for kind, found in times.items():
                found.append(run(model, kind, args.ranks))
        bare = statistics.median(times["no guards"])
        for kind, found in times.items():
            us = statistics.median(found)
            cost = statistics.median(a / b for a, b in zip(found, times["no guards"], strict=True))
            rows.append(dict(model=model, kind=kind, us=us, ratio=us / bare, ratio_of_pairs=cost, all=found))
            print(f"{model:<10}{kind:<14}{us:>10.1f}{us / bare:>14.3f}", flush=True)
    if args.out:
        text = json.dumps({"machine": describe(), "ranks": args.ranks, "rounds": args.rounds, "rows": rows}, indent=1)
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
