"""An optimizer of one's own, used by name: its update on arrays is all of it.

    python examples/plugin_optimizer.py
    mpirun -n 2 python examples/plugin_optimizer.py

Output:
    SignMomentum by name: True
    every weight within 0.02 of 1: True
"""

from __future__ import annotations

import sys
from typing import Any

import distgrad as torch
import distgrad.distributed as dist
from distgrad import hookimpl, nn, optim, registry
from distgrad.nn.parallel import DistributedDataParallel


class SignMomentum(optim.Optimizer):
    """Steps of one length along the sign of the gradient's running mean (Bernstein et al. 2018, arXiv:1802.04434)."""

    defaults = dict(lr=1e-3, beta=0.9)
    state = ("average",)  # zeros like the parameter

    def update(self, xp: Any, p: Any, g: Any, average: Any, *, lr: float, beta: float) -> None:
        average *= beta
        average += (1 - beta) * g
        p -= lr * xp.sign(average)


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"sign_momentum": SignMomentum}


dist.init_process_group()
if "sign_momentum" not in registry.names("optimizer"):
    # In a distribution an entry point does this: docs/plugins.md.
    module = type(sys)("distgrad_sign_momentum")
    module.distgrad_optimizers = distgrad_optimizers
    registry.register(module)

torch.manual_seed(0)
x = torch.randn(100, 4)
mine = slice(dist.get_rank(), None, dist.get_world_size())
model = DistributedDataParallel(nn.Linear(4, 1))
optimizer = optim.get("sign_momentum")(model.parameters(), lr=0.005)
for _ in range(400):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[mine]), x[mine].sum(1, keepdim=True)).backward()
    optimizer.step()
if dist.get_rank() == 0:
    print("SignMomentum by name:", optim.SignMomentum is type(optimizer))
    print("every weight within 0.02 of 1:", bool(((model.module.weight - 1).abs() < 0.02).all()))
dist.destroy_process_group()
