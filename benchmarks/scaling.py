"""Weak and strong scaling on 1 … N ranks of one node, one thread each, beside PyTorch's DDP over gloo where installed.

python benchmarks/scaling.py [--ranks 1 2] [--models mlp wide_mlp] [--out benchmarks/results/NAME.json] [--plot
NAME.png]

Weak: every rank has the whole batch; efficiency is T(1) / T(N).  Strong: the ranks share it; efficiency T(1) / (N
    T(N)).  distgrad is the default communicator (shared, on one node), distgrad:mpi the one that sends messages,
    distgrad:apart as many processes that have nothing to do with each other: what cores at work together cost.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
from pathlib import Path
from typing import Any

from machine import describe
from ranks import on_ranks
from scaling_worker import MODELS


def run(library: str, model: str, mode: str, ranks: int) -> dict[str, Any]:
    """One mpirun; rank 0's line."""
    tries = 3 if library == "torch" else 1  # gloo's threads abort a process at its end now and then
    return dict(on_ranks(ranks, "scaling_worker.py", library, model, mode, tries=tries))


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Efficiency against ranks, a curve for each model, mode and library."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    modes = [mode for mode in ("weak", "strong") if any(r["mode"] == mode for r in rows)]
    figure, panels = pyplot.subplots(1, len(modes), figsize=(5 * len(modes), 4), sharey=True, squeeze=False)
    for panel, mode in zip(panels[0], modes, strict=True):
        for key in sorted({(r["model"], r["library"]) for r in rows if r["mode"] == mode}):
            chosen = [r for r in rows if (r["model"], r["library"]) == key and r["mode"] == mode]
            style = "x--" if key[1] == "torch" else "o-"
            panel.plot(
                [r["ranks"] for r in chosen], [100 * r["efficiency"] for r in chosen], style, label=" ".join(key)
            )
        panel.axhline(100, color="grey", linewidth=0.5)
        panel.set(title=f"{mode} scaling", xlabel="ranks", ylabel="efficiency, %")
        panel.set_xticks(sorted({r["ranks"] for r in rows}))
        panel.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=list(range(1, len(os.sched_getaffinity(0)) + 1)))
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(MODELS))
    parser.add_argument("--modes", nargs="+", choices=["weak", "strong"], default=["weak", "strong"])
    parser.add_argument("--libraries", nargs="+", default=["distgrad", "distgrad:mpi", "distgrad:apart", "torch"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    ranks = sorted({1, *args.ranks})
    libraries = [name for name in args.libraries if name != "torch" or importlib.util.find_spec("torch")]
    rows: list[dict[str, Any]] = []
    print(f"{'model':<10}{'mode':<8}{'library':<14}{'ranks':>6}{'step, us':>12}{'efficiency':>12}")
    for model in args.models:
        for mode in args.modes:
            times: dict[tuple[str, int], list[float]] = {}
            splits: dict[tuple[str, int], dict[str, float]] = {}
            trips: dict[tuple[str, int], list[float]] = {}
            for _ in range(args.rounds):  # in turn, so that a slow minute hits all alike
                for n in ranks:
                    for library in libraries:
                        found = run(library, model, mode, n)
                        times.setdefault((library, n), []).append(found["us"])
                        splits[library, n] = found.get("split", {})
                        if found.get("round_trip_ns"):
                            trips.setdefault((library, n), []).append(found["round_trip_ns"])
            for library in libraries:
                alone = statistics.median(times[library, 1])
                for n in ranks:
                    us = statistics.median(times[library, n])
                    efficiency = alone / us / (n if mode == "strong" else 1)
                    rows.append(
                        dict(
                            model=model,
                            mode=mode,
                            library=library,
                            ranks=n,
                            us=us,
                            efficiency=efficiency,
                            all=times[library, n],
                            split=splits[library, n],
                            round_trip_ns=trips.get((library, n)),
                        )
                    )
                    shares = ", ".join(f"{what} {share:.0%}" for what, share in splits[library, n].items())
                    print(f"{model:<10}{mode:<8}{library:<14}{n:>6}{us:>12.1f}{efficiency:>12.1%}  {shares}")
    if args.out:
        args.out.write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
