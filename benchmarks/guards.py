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
from pathlib import Path
from typing import Any

from machine import describe
from ranks import on_ranks


def run(model: str, debug: str, ranks: int) -> dict[str, list[float]]:
    """Microseconds of a step on the slowest rank of one job, block by block, with each guard and without."""
    return dict(on_ranks(ranks, "guards_worker.py", model, timeout=120, DISTGRAD_DEBUG=debug))


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
