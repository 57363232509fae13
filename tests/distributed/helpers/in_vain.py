"""Ranks that wait for each other in different places; what all are told.  As a program, ``in_vain.py CASE [NODE]``."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import pretend_nodes

LIMIT = 60.0  # seconds that a wait may take; none comes near it


def wait_in_vain(case: str) -> str:
    """What this rank is told, and that it was soon; a group is there."""
    rank, layer = dist.get_rank(), nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    model = DistributedDataParallel(layer)
    optimizer = optim.SGD(model.parameters(), lr=1.0)

    def backward(module: Any = model) -> None:
        optimizer.zero_grad()
        module(dg.tensor([[rank + 1.0]])).sum().backward()

    def step() -> None:
        backward()
        optimizer.step()

    step()
    try:
        match case:
            case "step":
                if rank == 0:
                    step()
                dist.barrier()
            case "look":
                if rank == 0:
                    backward()
                    layer.weight.grad.item()  # type: ignore[union-attr]
                dist.all_reduce(dg.ones(3))
            case "passes":
                if rank == 0:
                    backward()
                    backward()
                dist.barrier()
            case "local on one node":
                if rank == 0:
                    backward(layer)
                    optimizer.step()
                step()
            case "alone on one node":
                backward()
                if rank == 0:
                    optimizer.step()
                step()
        for _ in range(3):
            step()
    except RuntimeError as error:
        if isinstance(error, dist.DistTimeoutError):
            raise
        return str(error)
    return "nothing"


if __name__ == "__main__":
    pretend_nodes(*sys.argv[2:])
    dist.init_process_group("shared", timeout=timedelta(seconds=LIMIT))
    found = wait_in_vain(sys.argv[1])
    wanted = "of other nodes did not" if sys.argv[2:] else "every rank must take part"
    os.write(1, f"{'told' if wanted in found else found}\n".encode())
