"""Ranks with different numbers of samples: weighted by their samples, and joined, they give the gradient of the whole.

    python examples/uneven_data.py
    mpirun -n 2 python examples/uneven_data.py

Output:
    the mean of 10 samples: -0.173
    fitted on all of them: -0.173
"""

from __future__ import annotations

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel

dist.init_process_group()
torch.manual_seed(0)
x = torch.randn(10, 1)
if dist.get_rank() == 0:
    print(f"the mean of {len(x)} samples: {x.mean().item():.3f}")

# Rank 0 has one sample, the last rank all that are left.
ranks, rank = dist.get_world_size(), dist.get_rank()
mine = x if ranks == 1 else x[rank : rank + 1] if rank < ranks - 1 else x[rank:]


class Mean(nn.Module):
    """A number: the one that is nearest to all samples, in squares, is their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(x), 1)


model = DistributedDataParallel(Mean(), weighting="samples")
optimizer = optim.SGD(model.parameters(), lr=0.1)
with model.join():  # for ranks that have fewer batches; here each has forty
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(mine), mine).backward()
        optimizer.step()
if rank == 0:
    print(f"fitted on all of them: {model.module.value.item():.3f}")
dist.destroy_process_group()
