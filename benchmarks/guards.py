"""What the guards against hangs cost of a training step on two ranks, and what DISTGRAD_DEBUG=detail costs.

python benchmarks/guards.py [--rounds 3] [--ranks 2] [--out benchmarks/results/NAME.json]

Within a job, blocks of steps with all guards take turns with blocks without the exception hooks and the watchdog's
thread, and with blocks without the check of gradients for NaN and infinities; what each costs is the median of the
ratios of neighbours.  Debug mode is on for the whole of a job, and jobs take turns.
"""

from __future__ import annotations

import argparse
import json
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


def run(model: str, debug: str, ranks: int) -> dict[str, list[float]]:
    """Microseconds of a step on the slowest rank of one job, block by block, with each guard and without."""
    env = one_thread() | mpi_environ(ranks) | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        env.pop(name, None)
    env["DISTGRAD_DEBUG"] = debug
    command = [*mpirun(sys.executable), "-n", str(ranks), sys.executable, str(HERE / "guards_worker.py"), model]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{model} failed:\n{done.stderr}")
    return dict(json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{"))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["linear", "mlp", "wide_mlp"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(f"{'model':<10}{'step, us':>10}{'hooks':>9}{'finite':>9}{'detail, us':>12}{'detail':>8}")
    for model in args.models:
        plain: dict[str, list[float]] = {}
        detail: list[float] = []
        for _ in range(args.rounds):
            for kind, found in run(model, "", args.ranks).items():
                plain.setdefault(kind, []).extend(found)
            detail += run(model, "detail", args.ranks)["with hooks"]
        us, debug = (statistics.median(found) for found in (plain["with hooks"], detail))
        cost = {
            kind: statistics.median(a / b for a, b in zip(plain[f"with {kind}"], plain[f"without {kind}"], strict=True))
            for kind in ("hooks", "finite")
        }
        rows.append(dict(model=model, us=us, **cost, detail_us=debug, detail=debug / us, all=plain))
        print(
            f"{model:<10}{us:>10.1f}{cost['hooks']:>9.3f}{cost['finite']:>9.3f}{debug:>12.1f}{debug / us:>8.2f}",
            flush=True,
        )
    if args.out:
        text = json.dumps({"machine": describe(), "ranks": args.ranks, "rounds": args.rounds, "rows": rows}, indent=1)
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
