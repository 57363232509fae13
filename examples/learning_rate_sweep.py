"""A sweep over learning rates, dealt out over ranks: each trains alone, and rank 0 shows the table.

    python examples/learning_rate_sweep.py
    mpirun -n 2 python examples/learning_rate_sweep.py

Output:
    lr 0.001: loss 3.711
    lr 0.01: loss 0.658
    lr 0.1: loss 0.000
    lr 1.0: diverges
    the best: 0.1
"""

from __future__ import annotations

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim

RATES = [0.001, 0.01, 0.1, 1.0]


def loss_after(lr: float) -> float:
    """The loss of a small regression after fifty steps."""
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    y = x.sum(1, keepdim=True)
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    for _ in range(50):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()


dist.init_process_group()
mine = {lr: loss_after(lr) for lr in RATES[dist.get_rank() :: dist.get_world_size()]}
found: list[dict[float, float]] = [{}] * dist.get_world_size()
dist.all_gather_object(found, mine)
if dist.get_rank() == 0:
    table = {lr: loss for part in found for lr, loss in part.items()}
    for lr in RATES:
        print(f"lr {lr}:", f"loss {table[lr]:.3f}" if table[lr] < 1e3 else "diverges")
    print("the best:", min(table, key=lambda lr: table[lr]))
dist.destroy_process_group()
