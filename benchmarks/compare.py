"""Our time over PyTorch's for every step: processes of the two in turn, one thread each, medians.

python benchmarks/compare.py [--rounds 5] [--out benchmarks/results/NAME.json] [STEP ...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from machine import describe
from steps import STEPS

HERE = Path(__file__).parent


def one_thread() -> dict[str, str]:
    """The environment of a measured process: one thread; OpenBLAS chooses its kernels, as on users' machines."""
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    return env | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def sample(library: str, step: str) -> float:
    """Microseconds of one step, in a process of its own."""
    run = subprocess.run(
        [sys.executable, str(HERE / "steps.py"), library, step],
        env=one_thread(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if run.returncode:
        raise SystemExit(f"{library} {step} failed:\n{run.stderr}")
    return float(json.loads(run.stdout)["us"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if unknown := set(args.steps) - set(STEPS):
        parser.error(f"unknown steps {sorted(unknown)}; there are {', '.join(STEPS)}")
    os.environ.pop("OPENBLAS_CORETYPE", None)
    os.environ.pop("OPENBLAS_L2_SIZE", None)
    rows = []
    print(f"{'step':<20}{'ours, us':>12}{'PyTorch, us':>14}{'ratio':>8}{'aim':>7}")
    for step in args.steps or STEPS:
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(sample("distgrad", step))
            theirs.append(sample("torch", step))
        mine, other = statistics.median(ours), statistics.median(theirs)
        pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
        row = {
            "step": step, "ours_us": mine, "torch_us": other, "ratio": mine / other, "aim": STEPS[step][2],
            "ratio_of_pairs": statistics.median(pairs), "ours_all": ours, "torch_all": theirs,
        }  # fmt: skip
        rows.append(row)
        print(f"{step:<20}{mine:>12.1f}{other:>14.1f}{row['ratio']:>8.2f}{row['aim']:>7.2f}", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"machine": describe(), "rounds": args.rounds, "steps": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
