"""ZeRO: each rank holds its part of Adam's state, and the parameters end with the same bits as without it.

    python examples/zero_optimizer.py
    mpirun -n 2 python examples/zero_optimizer.py

Output:
    the same bits: True
    state of all parameters on rank 0: 4
"""

from __future__ import annotations

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.optim import ZeroRedundancyOptimizer
from distgrad.nn.parallel import DistributedDataParallel

dist.init_process_group()
torch.manual_seed(0)
x, y = torch.randn(16, 8), torch.randn(16, 1)
mine = slice(dist.get_rank(), None, dist.get_world_size())


def network() -> DistributedDataParallel:
    torch.manual_seed(1)
    return DistributedDataParallel(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)))


def train(model: DistributedDataParallel, optimizer: optim.Optimizer) -> None:
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[mine]), y[mine]).backward()
        optimizer.step()


plain, sharded = network(), network()
train(plain, optim.Adam(plain.parameters(), lr=1e-2))
zero = ZeroRedundancyOptimizer(sharded.parameters(), optim.Adam, lr=1e-2)
train(sharded, zero)

same = all(torch.equal(p, q) for p, q in zip(plain.parameters(), sharded.parameters(), strict=True))
zero.consolidate_state_dict(to=0)
if dist.get_rank() == 0:
    print("the same bits:", same)
    print("state of all parameters on rank 0:", len(zero.state_dict()["state"]))
dist.destroy_process_group()
