"""One rank of a run of guards.py: trains, in turn with all guards and without one, and rank 0 prints the slowest times.

Microseconds of a step.  MODEL is one of scaling_worker.py's.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any

from scaling_worker import MODELS
from steps import _mlp

import distgrad as dg
import distgrad.distributed as dist
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.distributed.reliability.watchdog import Watchdog

PAIRS = 15
KINDS = ("hooks", "finite")  # what is taken out: exception hooks and watchdog; the check of gradients


def disarm() -> None:
    """Without the exception hooks and the watchdog's thread and socket; as :meth:`Guard.leave` leaves it."""
    guard: Any = get_group().guard
    sys.excepthook, threading.excepthook = guard._hooks
    address = guard.watchdog._server.getsockname()
    guard.watchdog._closed = True
    socket.create_connection(address).close()  # wakes the thread, which else looks up every few seconds
    while any(thread.name.startswith("distgrad-watchdog") for thread in threading.enumerate()):
        time.sleep(0.001)
    guard.watchdog.close()


def arm() -> None:
    """With all of it again.  Collective."""
    guard: Any = get_group().guard
    sys.excepthook, threading.excepthook = guard._main_failed, guard._thread_failed
    guard.watchdog = Watchdog(guard.comm, guard._waited_too_long)


def main(model_name: str) -> None:
    dist.init_process_group()
    rank = dist.get_rank()
    sizes, batch, steps = MODELS[model_name]
    dg.manual_seed(0)
    model = dg.nn.parallel.DistributedDataParallel(_mlp(dg, sizes))
    dg.manual_seed(1 + rank)
    x, y = dg.randn(batch, sizes[0]), dg.randn(batch, sizes[-1])
    loss_fn: Any = dg.nn.MSELoss()
    optimizer: Any = (dg.optim.SGD if model_name == "linear" else dg.optim.Adam)(model.parameters(), lr=1e-3)

    reducer: Any = model._gradients.reducer
    check = reducer.finite

    def without(kind: str) -> None:
        if kind == "hooks":
            disarm()
        else:
            reducer.finite = None
            for p in reducer.params:
                p._node.bound = None  # nobody asks how large a gradient may be

    def again(kind: str) -> None:
        if kind == "hooks":
            arm()
        else:
            reducer.finite = check

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
    found: dict[str, list[float]] = {f"{way} {kind}": [] for kind in KINDS for way in ("with", "without")}
    for i in range(PAIRS):
        for kind in KINDS:
            for way in ("with", "without") if i % 2 else ("without", "with"):
                if way == "without":
                    without(kind)
                train(2)
                mine = dg.tensor([train(steps)], dtype=dg.float64)
                dist.all_reduce(mine, op=dist.ReduceOp.MAX)
                found[f"{way} {kind}"].append(float(mine) * 1e6)
                if way == "without":
                    again(kind)
    if rank == 0:
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
