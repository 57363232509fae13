"""One rank of builds.py: takes as many steps as it is told over a socket, and answers with their seconds."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Client
from typing import Any

from scaling_worker import MODELS
from steps import STEPS, Step, _mlp, library


def on_ranks(lib: Any, name: str) -> Step:
    """The step that scaling.py measures: a perceptron, the batch of its row on every rank."""
    lib.distributed.init_process_group()
    sizes, batch, _ = MODELS[name]
    model = lib.nn.parallel.DistributedDataParallel(_mlp(lib, sizes))
    lib.manual_seed(1 + lib.distributed.get_rank())
    x, y = lib.randn(batch, sizes[0]), lib.randn(batch, sizes[-1])
    loss_fn = lib.nn.MSELoss()
    optimizer = (lib.optim.SGD if name == "linear" else lib.optim.Adam)(model.parameters(), lr=1e-3)

    def step() -> None:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main(name: str, address: str, ranks: str) -> None:
    lib = library("distgrad")
    alone = int(ranks) == 1
    step = STEPS[name][0](lib) if alone else on_ranks(lib, name)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0 if alone else lib.distributed.get_rank() % len(cores)]})  # in both builds the same
    for _ in range(5):
        step()
    with Client(address) as told:
        told.send(lib.__file__)
        while steps := told.recv():
            if not alone:
                lib.distributed.barrier()
            start = time.perf_counter()
            for _ in range(steps):
                step()
            told.send(time.perf_counter() - start)
    if not alone:
        lib.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:4])
