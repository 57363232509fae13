"""Accumulate the gradients of four small batches, and send them once: the same step as with the large batch.

    python examples/accumulation.py
    mpirun -n 2 python examples/accumulation.py

Output:
    as with the whole batch: True
"""

from __future__ import annotations

import contextlib

import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn
from distgrad.nn.parallel import DistributedDataParallel

PIECES = 4

dist.init_process_group()
torch.manual_seed(0)
x, y = torch.randn(32, 6), torch.randn(32, 2)
mine = slice(dist.get_rank(), None, dist.get_world_size())
model = DistributedDataParallel(nn.Linear(6, 2))

pieces = list(zip(x[mine].chunk(PIECES), y[mine].chunk(PIECES), strict=True))
for i, (a, b) in enumerate(pieces):
    last = i == PIECES - 1
    with contextlib.nullcontext() if last else model.no_sync():  # nothing is sent before the last
        (nn.functional.mse_loss(model(a), b) / PIECES).backward()

whole = nn.Linear(6, 2)
whole.load_state_dict(model.module.state_dict())
nn.functional.mse_loss(whole(x), y).backward()
pairs = zip(model.module.parameters(), whole.parameters(), strict=True)
same = all(torch.allclose(p.grad, q.grad, atol=1e-6) for p, q in pairs)
if dist.get_rank() == 0:
    print("as with the whole batch:", same)
dist.destroy_process_group()
