"""What a rank holds of memory, on 1 … N ranks of one node: parameters, gradients and Adam's state of a wide MLP.

python benchmarks/memory.py [--ranks 1 2] [--width 4096] [--out benchmarks/results/NAME.json]

Linux only: the proportional set size of the whole process after some steps, in which a page that several processes map
counts for each by its share.  So it holds what one process has of its own (interpreter, libraries, MPI, compiled loops)
beside what is trained.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

LAYERS, BATCH, STEPS = 5, 8, 3


def held() -> float:
    """MiB that this process holds."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure(width: int) -> None:
    """On one rank; rank 0 prints what each holds."""
    import distgrad as dg
    import distgrad.distributed as dist
    from distgrad import nn, optim
    from distgrad.nn.parallel import DistributedDataParallel

    dist.init_process_group()
    before = held()
    layers: list[Any] = [nn.Linear(width, width) for _ in range(LAYERS)]
    parameters = sum(p.numel() for layer in layers for p in layer.parameters())
    model = DistributedDataParallel(nn.Sequential(*layers))
    del layers
    optimizer: Any = optim.Adam(model.parameters())
    x = dg.randn(BATCH, width)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    dist.barrier()
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, [before, held()])
    if dist.get_rank() == 0:
        trained = 4 * parameters * 4 / 2**20
        ranks = [{"before": b, "mib": after} for b, after in everyone]
        sys.stdout.write(json.dumps({"parameters": parameters, "trained_mib": trained, "ranks": ranks}) + "\n")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=list(range(1, len(os.sched_getaffinity(0)) + 1)))
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from ranks import on_ranks

    rows, alone = [], 0.0
    print(f"{'ranks':>6}{'rank':>6}{'MiB':>10}{'over one':>10}")
    for n in sorted({1, *args.ranks}):
        row = on_ranks(n, "memory.py", DISTGRAD_MEMORY=str(args.width))
        alone = alone or row["ranks"][0]["mib"]
        rows.append({"size": n, **row})
        for rank, found in enumerate(row["ranks"]):
            found["ratio"] = found["mib"] / alone
            print(f"{n:>6}{rank:>6}{found['mib']:>10.0f}{found['ratio']:>10.3f}")
    if args.out:
        from machine import describe

        args.out.write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if "DISTGRAD_MEMORY" in os.environ:
        measure(int(os.environ["DISTGRAD_MEMORY"]))
    else:
        main()
