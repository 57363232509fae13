"""L-BFGS with a line search: a logistic regression in a few steps, on the points of all ranks.

    python examples/lbfgs.py
    mpirun -n 2 python examples/lbfgs.py

Output:
    loss 0.3016 after 5 steps
    the gradient is gone: True
"""

from __future__ import annotations

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel

dist.init_process_group()
torch.manual_seed(0)
x = torch.randn(200, 3, dtype=torch.float64)
y = (x @ torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64) + torch.randn(200, dtype=torch.float64) > 0).double()
mine = slice(dist.get_rank(), None, dist.get_world_size())
model = DistributedDataParallel(nn.Linear(3, 1, dtype=torch.float64))
optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", tolerance_change=0, max_iter=40)


def closure() -> torch.Tensor:
    """The loss of all points: each rank has to search along the line by the same numbers."""
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(model(x[mine])[:, 0], y[mine])
    loss.backward()
    mean = loss.detach().clone()
    dist.all_reduce(mean, dist.ReduceOp.AVG)
    return mean


for _ in range(5):
    loss = optimizer.step(closure)
closure()
norm = sum(p.grad.abs().sum().item() for p in model.parameters())
if dist.get_rank() == 0:
    print(f"loss {loss.item():.4f} after 5 steps")
    print("the gradient is gone:", norm < 1e-6)
dist.destroy_process_group()
