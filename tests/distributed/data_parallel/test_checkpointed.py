"""A convolutional model of which a part is checkpointed, on several ranks as in one process on the whole batch."""

from __future__ import annotations

import pytest

from tests.helpers.crew import run_together

PROGRAM = """
import distgrad as torch
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.utils.checkpoint import checkpoint

class Model(nn.Module):
    def __init__(self, again):
        super().__init__()
        torch.manual_seed(0)
        kind = dict(dtype=torch.float64)
        self.again = again
        self.first = nn.Conv2d(1, 4, 3, padding=1, **kind)
        self.part = nn.Sequential(nn.Linear(64, 8, **kind), nn.LayerNorm(8, **kind), nn.Tanh())
        self.last = nn.Linear(8, 3, **kind)

    def forward(self, x):
        h = torch.relu(self.first(x)).flatten(1)
        return self.last(checkpoint(self.part, h, use_reentrant=False) if self.again else self.part(h))

def train(model, x, y):
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

dist.init_process_group()
rank, size = dist.get_rank(), dist.get_world_size()
alone, shared = Model(False), Model(True)
x, y = torch.randn(4 * size, 1, 4, 4, dtype=torch.float64), torch.randint(0, 3, (4 * size,))
mine = slice(4 * rank, 4 * (rank + 1))
train(alone, x, y)
train(nn.parallel.DistributedDataParallel(shared), x[mine], y[mine])
for p, q in zip(alone.parameters(), shared.parameters()):
    assert torch.allclose(p, q, rtol=1e-9, atol=1e-12), (p, q)
print("equal")
"""


@pytest.mark.mpi
@pytest.mark.parametrize("backend", ["shared", "mpi"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_end_as_one_process(ranks: int, backend: str) -> None:
    program = PROGRAM.replace("init_process_group()", f"init_process_group({backend!r})")
    run_together(ranks, program).check(equal=ranks)
