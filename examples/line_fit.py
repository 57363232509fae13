"""Fit a line by gradient descent, on one process or with the points dealt out over ranks.

    python examples/line_fit.py
    mpirun -n 2 python examples/line_fit.py

Output:
    y = 2.000 x + 1.000
"""

from __future__ import annotations

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel

dist.init_process_group()
x = torch.arange(12.0).reshape(-1, 1)
y = 2 * x + 1
mine = slice(dist.get_rank(), None, dist.get_world_size())

torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(1, 1))
optimizer = optim.SGD(model.parameters(), lr=0.02)
for _ in range(1000):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[mine]), y[mine]).backward()
    optimizer.step()

line = model.module
if dist.get_rank() == 0:
    print(f"y = {line.weight.item():.3f} x + {line.bias.item():.3f}")
dist.destroy_process_group()
