"""Local SGD: each rank makes steps of its own, and every eighth step the parameters are averaged.

    python examples/local_sgd.py
    mpirun -n 2 python examples/local_sgd.py

Output:
    the ranks agree: True
    the loss is below 0.001: True
"""

from __future__ import annotations

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim

EVERY = 8

dist.init_process_group()
torch.manual_seed(0)
x = torch.randn(64, 5)
y = x @ torch.tensor([[1.0], [-2.0], [3.0], [0.5], [-1.0]])
mine = slice(dist.get_rank(), None, dist.get_world_size())
model = nn.Linear(5, 1)  # the same on all ranks, by the seed
optimizer = optim.SGD(model.parameters(), lr=0.1)
for step in range(1, 201):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[mine]), y[mine]).backward()
    optimizer.step()
    if step % EVERY == 0:
        with torch.no_grad():
            for p in model.parameters():
                dist.all_reduce(p, dist.ReduceOp.AVG)

weights: list[object] = [None] * dist.get_world_size()
dist.all_gather_object(weights, model.weight.tolist())
if dist.get_rank() == 0:
    print("the ranks agree:", all(w == weights[0] for w in weights))
    print("the loss is below 0.001:", nn.functional.mse_loss(model(x), y).item() < 1e-3)
dist.destroy_process_group()
