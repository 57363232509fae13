"""One rank of a scaling run: trains, and rank 0 prints the median step time of the slowest rank as JSON.

Run by scaling.py under mpirun; LIBRARY is distgrad, distgrad:BACKEND (the default is "shared" on one node), torch (DDP
over gloo) or distgrad:apart, whose ranks train models of their own: what the machine itself costs.  For distgrad the
time is also split, in a second run: waiting for other ranks, adding up gradients, the update (in shared memory, where
it is compiled, the sum is part of it), and the rest, which is computing: products of gradients' factors too, which an
update in shared memory makes.  Where ranks share memory, it is told how long
a word takes from rank 0 to rank 1 and back: cores of one cache or of two make models that fit into caches scale
differently, and virtual machines move between the two.
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
    "linear": ((1, 1), 11, 500),
    "mlp": ((784, 256, 128, 10), 64, 50),
    "wide_mlp": ((1024, 2048, 2048, 1024), 128, 3),
}


class Clock:
    """Time spent inside functions, less what other clocks measured there."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, owner: Any, name: str) -> None:
        """Measure ``owner.name`` from here on."""
        function = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start, inner = time.perf_counter(), _elsewhere()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start - (_elsewhere() - inner)

        setattr(owner, name, timed)


CLOCKS = {name: Clock() for name in ("waiting", "reduction", "update")}
PRODUCTS = Clock()  # of gradients that are kept as factors: computing, inside the update


def _elsewhere() -> float:
    return PRODUCTS.seconds + sum(clock.seconds for clock in CLOCKS.values())


def _put_clocks(optimizer: Any) -> None:
    from distgrad_communicators.mpi import communicator, operations, small_reductions

    from distgrad.distributed.node_update import progress_counters, single_node, sufficient_factors

    CLOCKS["waiting"].around(progress_counters.Meeting, "wait")
    CLOCKS["waiting"].around(operations.Family, "wait")
    for owner, name in ((single_node.SharedUpdate, "_mean"), (communicator, "combine"), (small_reductions, "combine")):
        CLOCKS["reduction"].around(owner, name)
    CLOCKS["update"].around(type(optimizer), "step")
    PRODUCTS.around(sufficient_factors.Factors, "_product")


def round_trip(lib: Any) -> float | None:
    """Nanoseconds from rank 0 to rank 1 and back through shared memory, read and written from Python; None: not shared.

    Collective.
    """
    from distgrad.distributed.process_groups.default_group import get_group
    from distgrad.distributed.shared_memory.region import NodeMemory

    comm = get_group().comm
    if comm.size < 2 or not comm.shares_memory or comm.peers is not None:
        return None
    words = memoryview(NodeMemory.common(comm, 4096).bytes.data).cast("q")
    found, count = [], 1000
    for turn in range(15):
        lib.distributed.barrier()
        start = time.perf_counter_ns()
        for value in range(turn * count + 1, (turn + 1) * count + 1):
            if comm.rank == 0:
                words[0] = value
            while words[64 if comm.rank == 0 else 0] < value and comm.rank < 2:
                pass
            if comm.rank == 1:
                words[64] = value
        found.append((time.perf_counter_ns() - start) / count)
    return statistics.median(found)


def _join(lib: Any, name: str) -> None:
    if name == "torch":
        rank = next(os.environ[k] for k in ("OMPI_COMM_WORLD_RANK", "PMI_RANK") if k in os.environ)
        size = next(os.environ[k] for k in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE") if k in os.environ)
        os.environ.update(RANK=rank, WORLD_SIZE=size)
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29513")
        lib.distributed.init_process_group("gloo")
    else:
        backend = name.partition(":")[2]
        lib.distributed.init_process_group(None if backend == "apart" else backend or None)


def main(name: str, model_name: str, mode: str) -> None:
    lib = library(name.partition(":")[0])
    if name == "torch":
        import torch.distributed  # noqa: F401
    _join(lib, name)
    rank, size = lib.distributed.get_rank(), lib.distributed.get_world_size()
    sizes, batch, steps = MODELS[model_name]
    if mode == "strong":
        batch = max(batch // size, 1)
    lib.manual_seed(0)
    model = _mlp(lib, sizes)
    if name != "distgrad:apart":
        model = lib.nn.parallel.DistributedDataParallel(model)
    lib.manual_seed(1 + rank)
    x, y = lib.randn(batch, sizes[0]), lib.randn(batch, sizes[-1])
    loss_fn = lib.nn.MSELoss()
    optimizer = (lib.optim.SGD if model_name == "linear" else lib.optim.Adam)(model.parameters(), lr=1e-3)

    def step() -> None:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(max(steps // 5, 3)):
        step()

    def measure() -> float:
        """Seconds of a step on the slowest rank."""
        found = []
        for _ in range(7):
            lib.distributed.barrier()
            start = time.perf_counter()
            for _ in range(steps):
                step()
            mine = lib.tensor([(time.perf_counter() - start) / steps], dtype=lib.float64)
            lib.distributed.all_reduce(mine, op=lib.distributed.ReduceOp.MAX)
            found.append(float(mine))
        return statistics.median(found)

    result: dict[str, Any] = {"us": measure() * 1e6, "ranks": size, "batch": batch}
    if name != "torch":
        result["round_trip_ns"] = round_trip(lib)
        _put_clocks(optimizer)
        start = time.perf_counter()
        for _ in range(7 * steps):
            step()
        whole = time.perf_counter() - start
        parts = {what: clock.seconds / whole for what, clock in CLOCKS.items()}
        result["split"] = {"compute": 1 - sum(parts.values()), **parts}
    if rank == 0:
        print(json.dumps(result), flush=True)
    lib.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:4])
