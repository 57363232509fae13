"""One rank of a scaling run: trains, and rank 0 prints the median step time of the slowest rank as JSON.

Run by scaling.py under mpirun; LIBRARY is distgrad (over MPI) or torch (DDP over gloo).
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import Any

from steps import _mlp, library

# name: (layer sizes, batch of one rank in weak scaling and of all ranks in strong, steps a sample)
MODELS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "linear": ((1, 1), 64, 200),
    "mlp": ((784, 256, 128, 10), 64, 50),
    "wide_mlp": ((1024, 2048, 2048, 1024), 64, 3),
}


def _join(lib: Any, name: str) -> None:
    if name == "torch":
        rank = next(os.environ[k] for k in ("OMPI_COMM_WORLD_RANK", "PMI_RANK") if k in os.environ)
        size = next(os.environ[k] for k in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE") if k in os.environ)
        os.environ.update(RANK=rank, WORLD_SIZE=size)
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29513")
        lib.distributed.init_process_group("gloo")
    else:
        lib.distributed.init_process_group()


def main(name: str, model_name: str, mode: str) -> None:
    lib = library(name)
    if name == "torch":
        import torch.distributed  # noqa: F401
    _join(lib, name)
    rank, size = lib.distributed.get_rank(), lib.distributed.get_world_size()
    sizes, batch, steps = MODELS[model_name]
    if mode == "strong":
        batch = max(batch // size, 1)
    lib.manual_seed(0)
    model = lib.nn.parallel.DistributedDataParallel(_mlp(lib, sizes))
    lib.manual_seed(1 + rank)
    x, y = lib.randn(batch, sizes[0]), lib.randn(batch, sizes[-1])
    loss_fn, optimizer = lib.nn.MSELoss(), lib.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(max(steps // 5, 3)):
        step()
    found = []
    for _ in range(7):
        lib.distributed.barrier()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        mine = lib.tensor([(time.perf_counter() - start) / steps], dtype=lib.float64)
        lib.distributed.all_reduce(mine, op=lib.distributed.ReduceOp.MAX)
        found.append(float(mine))
    if rank == 0:
        print(json.dumps({"us": statistics.median(found) * 1e6, "ranks": size, "batch": batch}), flush=True)
    lib.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:4])
