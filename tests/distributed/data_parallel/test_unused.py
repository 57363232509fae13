"""F6: parameters that some ranks do not use count as zero there and are told of; nobody waits for ever."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import WAYS, backends_and_sizes, on_ranks, over_mpi


class Heads(nn.Module):
    """A body, and two heads that a forward pass chooses from; nothing goes through the third."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.one, self.two, self.never = (nn.Linear(4, 1) for _ in range(3))

    def forward(self, x: Any, both: bool) -> Any:
        hidden = self.body(x)
        return self.one(hidden) + self.two(hidden) if both else self.one(hidden)


def train() -> None:
    """Rank 1 leaves ``two`` out in every other step; in the first all use it, so that an old gradient lies there."""
    rank, size = dist.get_rank(), dist.get_world_size()
    bare = Heads()
    model = DistributedDataParallel(bare, bucket_cap_mb=1e-5)  # a bucket a parameter
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    for step in range(4):
        optimizer.zero_grad()
        model(dg.full((2, 3), 1.0 + step), not (step % 2 and rank == 1)).sum().backward()
        users = size - 1 if step % 2 else size
        assert bare.two.bias.grad is not None, f"step {step}: two is used on {users} ranks"
        assert bare.two.bias.grad.tolist() == pytest.approx([2.0 * users / size])  # two samples, and zero elsewhere
        assert bare.one.bias.grad is not None
        assert bare.one.bias.grad.tolist() == pytest.approx([2.0])
        assert bare.never.weight.grad is None
        assert bare.never.bias.grad is None
        optimizer.step()
    flat = dg.cat([p.detach().flatten() for p in bare.parameters()])
    everyone = [dg.zeros_like(flat) for _ in range(size)]
    dist.all_gather(everyone, flat)
    assert all(np.array_equal(other.numpy(), flat.numpy()) for other in everyone)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_threads(size: int, way: str) -> None:
    on_ranks(size, train, way)


@pytest.mark.mpi
@backends_and_sizes(2, 3, 4)
def test_over_mpi(backend: str, size: int) -> None:
    over_mpi(size, Path(__file__), compiled=False).check(**{f"zero-filled with {backend}": size})


if __name__ == "__main__":
    for backend in sys.argv[1].split(","):
        dist.init_process_group(backend)
        train()
        sys.stdout.write(f"zero-filled with {backend}\n")
        dist.destroy_process_group()
