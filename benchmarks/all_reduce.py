"""Time and bandwidth of summing an array over the ranks of this node, against its size, for each communicator.

python benchmarks/all_reduce.py [--ranks 2] [--sizes 8 65536 …] [--out benchmarks/results/NAME.json]

Beside ours: ``MPI_Allreduce`` through mpi4py, and the limit that memory sets, one copy of the array by each rank at
once.  ``shared`` is what a step does instead of an all-reduce: ranks meet, each adds up its part of all ranks' arrays
where they lie, block by block, and they meet again.  (A compiled update makes no sum at all: it adds as it reads.)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("mpi", "shared", "shared, kept", "MPI_Allreduce", "copy")


def ways(size: int) -> dict[str, Callable[[], Any]]:
    """For ``size`` bytes of float32, what each way does once."""
    import numpy as np
    from mpi4py import MPI

    import distgrad as dg
    from distgrad import registry
    from distgrad.distributed.node_update.single_node import SharedUpdate
    from distgrad.optim.update.pieces import SUM_BYTES

    n = max(size // 4, 1)
    array, other = np.ones(n, np.float32), np.empty(n, np.float32)
    messages = registry.get("communicator", "mpi")()
    update = SharedUpdate(registry.get("communicator", "shared")(), [dg.zeros(n, requires_grad=True)])
    update._rows[update.rank][:] = 1
    lo, hi = update.storage.owned
    block = SUM_BYTES // 4

    def shared(keep: bool) -> None:
        update._pass += 1
        update._pending, update._weights = True, None
        update.meeting.mine[0] = update._pass  # complete
        update._wait_gradients()
        for a in range(lo, hi, block):
            b = min(a + block, hi)
            total = update.gradient(a, b)
            if keep:
                other[a:b] = total
        update.meeting.mine[1] = update._pass  # released
        update.meeting.wait(1, update._pass, "for the others")

    def copy() -> None:
        other[...] = array

    return {
        "mpi": lambda: messages.Allreduce(array),
        "shared": lambda: shared(False),
        "shared, kept": lambda: shared(True),
        "MPI_Allreduce": lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, array),
        "copy": copy,
    }


def measure(sizes: list[int]) -> list[dict[str, Any]]:
    """On each rank: the median seconds of every way and size, on the slowest rank."""
    from mpi4py import MPI

    world, rows = MPI.COMM_WORLD, []
    for size in sizes:
        what = ways(size)
        times: dict[str, list[float]] = {name: [] for name in what}
        for turn in range(12):
            for name, once in what.items():
                repeat = max(1, min(200, (1 << 22) // max(size, 1)))
                world.Barrier()
                start = time.perf_counter()
                for _ in range(repeat):
                    once()
                seconds = world.allreduce((time.perf_counter() - start) / repeat, MPI.MAX)
                if turn > 1:
                    times[name].append(seconds)
        rows.append({"bytes": size, "us": {name: statistics.median(found) * 1e6 for name, found in times.items()}})
    return rows


def main() -> None:
    from ranks import on_ranks

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 512, 8192, 65536, 1 << 20, 1 << 23, 1 << 26])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = on_ranks(args.ranks, "all_reduce.py", DISTGRAD_ALL_REDUCE=json.dumps(args.sizes))
    print(f"{'bytes':>10}" + "".join(f"{name + ', us':>18}" for name in WAYS) + f"{'shared / MPI':>14}{'GB/s':>8}")
    for row in rows:
        us = row["us"]
        row["ratio"], row["gb_per_s"] = us["shared"] / us["MPI_Allreduce"], row["bytes"] / us["shared"] / 1e3
        cells = "".join(f"{us[name]:>18.1f}" for name in WAYS)
        print(f"{row['bytes']:>10}{cells}{row['ratio']:>14.2f}{row['gb_per_s']:>8.2f}")
    if args.out:
        from machine import describe

        args.out.write_text(json.dumps({"machine": describe(), "ranks": args.ranks, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if "DISTGRAD_ALL_REDUCE" in os.environ:
        found = measure(json.loads(os.environ["DISTGRAD_ALL_REDUCE"]))
        from mpi4py import MPI

        if MPI.COMM_WORLD.Get_rank() == 0:
            print(json.dumps(found), flush=True)
    else:
        main()
