"""One rank of a run of guards.py: trains, with guards on or off, and rank 0 prints the step time of the slowest rank.

MODEL is one of scaling_worker.py's, WITHOUT what is taken out: nothing, hooks, watchdog, or all of both.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from typing import Any

from scaling_worker import MODELS
from steps import _mlp

import distgrad as dg
import distgrad.distributed as dist
from distgrad.distributed import guard

ROUNDS = 7


class _NoWatchdog:
    """A watchdog without a thread or a socket."""

    def __init__(self, *_: Any) -> None:
        return

    def close(self) -> None:
        return


def take_out(what: str) -> None:
    """Before the process group is made."""
    if what in ("watchdog", "all"):
        setattr(guard, "Watchdog", _NoWatchdog)  # noqa: B010 - a name that the module imports
    if what in ("hooks", "all"):
        init = guard.Guard.__init__

        def without_hooks(self: Any, *given: Any) -> None:
            init(self, *given)
            sys.excepthook, threading.excepthook = self._hooks

        setattr(guard.Guard, "__init__", without_hooks)  # noqa: B010 - a method


def main(model_name: str, without: str) -> None:
    take_out(without)
    dist.init_process_group()
    rank = dist.get_rank()
    sizes, batch, steps = MODELS[model_name]
    dg.manual_seed(0)
    model = dg.nn.parallel.DistributedDataParallel(_mlp(dg, sizes))
    dg.manual_seed(1 + rank)
    x, y = dg.randn(batch, sizes[0]), dg.randn(batch, sizes[-1])
    loss_fn: Any = dg.nn.MSELoss()
    optimizer: Any = (dg.optim.SGD if model_name == "linear" else dg.optim.Adam)(model.parameters(), lr=1e-3)

    def train(count: int) -> float:
        """Seconds of a step on this rank."""
        dist.barrier()
        start = time.perf_counter()
        for _ in range(count):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return (time.perf_counter() - start) / count

    train(max(steps // 5, 3))
    found = []
    for _ in range(ROUNDS):
        mine = dg.tensor([train(steps)], dtype=dg.float64)
        dist.all_reduce(mine, op=dist.ReduceOp.MAX)
        found.append(float(mine))
    if rank == 0:
        sys.stdout.write(json.dumps({"us": statistics.median(found) * 1e6}) + "\n")
        sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:3])
