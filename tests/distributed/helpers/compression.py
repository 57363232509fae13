"""One regression, trained under each communication hook; on threads and under mpirun."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.algorithms.ddp_comm_hooks import default_hooks
from distgrad.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from distgrad.distributed.algorithms.ddp_comm_hooks.topk_hook import TopKState, topk_hook
from distgrad.nn.parallel import DistributedDataParallel

IN, OUT = 64, 32
HOOKS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "all-reduce": lambda: (None, default_hooks.allreduce_hook),
    "float16": lambda: (None, default_hooks.fp16_compress_hook),
    "bfloat16": lambda: (None, default_hooks.bf16_compress_hook),
    "powerSGD": lambda: (PowerSGDState(None, 2, start_powerSGD_iter=2), powerSGD_hook),
    "wrapped": lambda: (None, default_hooks.fp16_compress_wrapper(default_hooks.allreduce_hook)),
    "top-k": lambda: (TopKState(ratio=0.05), topk_hook),
}


class Regression:
    """A linear map to be found, from this rank's share of made-up samples."""

    def __init__(self, hook: str | None, lr: float, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        truth = rng.standard_normal((OUT, IN))
        x = rng.standard_normal((256, IN))
        rows = slice(dist.get_rank(), None, dist.get_world_size())
        self.x, self.y = dg.tensor(x[rows]).float(), dg.tensor((x @ truth.T)[rows]).float()
        self.bare = nn.Linear(IN, OUT)
        with dg.no_grad():
            for p in self.bare.parameters():
                p.copy_(dg.tensor(rng.standard_normal(p.shape) * 0.1))
        self.model = DistributedDataParallel(self.bare)
        if hook is not None:
            self.model.register_comm_hook(*HOOKS[hook]())
        self.optimizer = optim.SGD(self.model.parameters(), lr=lr, momentum=0.5)

    def step(self) -> float:
        """The loss before it."""
        self.optimizer.zero_grad()
        loss = ((self.model(self.x) - self.y) ** 2).sum(1).mean()
        loss.backward()
        self.optimizer.step()
        return float(loss)


def losses(hook: str | None, steps: int, lr: float = 0.02) -> tuple[float, float]:
    """The first and the last loss.  (A larger lr lets PyTorch's PowerSGD diverge here too: its errors come late.)"""
    training = Regression(hook, lr)
    found = [training.step() for _ in range(steps)]
    return found[0], found[-1]


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    dist.init_process_group(sys.argv[1])
    for name in HOOKS:
        first, last = losses(name, 150)
        assert last < first / 100, (name, first, last)
        sys.stdout.write(f"converged {name}: {first:.3g} to {last:.3g}\n")
    dist.destroy_process_group()
