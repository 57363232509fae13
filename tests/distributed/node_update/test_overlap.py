"""Several nodes: sums begin while backward runs, and change no bit of what adding up at its end gives.

As a program, each rank checks its gradients against sums it makes itself of what all ranks have alone.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn
from distgrad.distributed.shared_memory import region
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import AS_PROGRAM, compiled_on, pretend_nodes, set_parameters
from tests.helpers.crew import run_together

CAP = 0.0004  # MiB: nearly every parameter is a bucket
PASSES = 4


class Net(nn.Module):
    """Four layers, the third of which a rank may leave out; the last comes first, so a guess of the order is wrong."""

    def __init__(self, dtype: Any = dg.float32) -> None:
        super().__init__()
        sizes = ((30, 3), (5, 40), (40, 30), (30, 30))
        self.last, self.first, self.second, self.third = (nn.Linear(*s, dtype=dtype) for s in sizes)
        set_parameters(self, 0.3, 1)

    def forward(self, x: Any, third: bool = True, meanwhile: Callable[[Any], None] | None = None) -> Any:
        """``meanwhile`` is called when backward has come to the second layer."""
        hidden = dg.tanh(self.second(dg.tanh(self.first(x))))
        if meanwhile is not None:
            hidden.register_hook(meanwhile)
        return self.last(self.third(hidden) if third else hidden)


def data(rank: int, n: int, step: int, dtype: Any = dg.float32) -> Any:
    return dg.tensor(np.random.default_rng([rank, step]).standard_normal((n, 5)), dtype=dtype)


def means(local: list[list[np.ndarray | None]], weights: list[int], per_node: int) -> list[np.ndarray | None]:
    """Of each rank's gradients: added up over a node in order of its ranks, and then over nodes."""
    total, alike, found = sum(weights), len(set(weights)) == 1, []
    for grads in zip(*local, strict=True):
        if all(g is None for g in grads):
            found.append(None)
            continue
        like = next(g for g in grads if g is not None)
        rows = [np.zeros_like(like) if g is None else g.copy() for g in grads]
        if not alike:
            rows = [row * like.dtype.type(n / total) for row, n in zip(rows, weights, strict=True)]
        nodes = [sum(rows[i + 1 : i + per_node], start=rows[i]) for i in range(0, len(rows), per_node)]
        mean = sum(nodes[1:], start=nodes[0])
        found.append(mean / like.dtype.type(len(rows)) if alike else mean)
    return found


def all_alone(rank: int, size: int, alone: Callable[[nn.Module, int], None], net: nn.Module) -> list[Any]:
    """The gradients that each rank has by itself, worked out here."""
    found = []
    for r in range(size):
        mine = copy.deepcopy(net)
        alone(mine, r)
        found.append([None if p.grad is None else p.grad.numpy().copy() for p in mine.parameters()])
    return found


def compare(bare: nn.Module, want: list[np.ndarray | None], what: str) -> None:
    for (name, p), w in zip(bare.named_parameters(), want, strict=True):
        assert (p.grad is None) == (w is None), (what, name)
        if w is not None:
            assert p.grad.numpy().tobytes() == w.tobytes(), (what, name, np.abs(p.grad.numpy() - w).max())


def _tripled(p: Any) -> None:
    p.grad.mul_(3)


def check(
    what: str,
    per_node: int,
    samples: Callable[[int], int] = lambda rank: 4,
    third: Callable[[int], bool] = lambda rank: True,
    accumulate: bool = False,
    frozen: bool = False,
    hooked: bool = False,
    dtype: Any = dg.float32,
) -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    bare = Net(dtype)
    pristine = copy.deepcopy(bare)
    for net in (bare, pristine):
        net.second.weight.requires_grad_(not frozen)
    model = DistributedDataParallel(bare, bucket_cap_mb=CAP, weighting="samples")
    if hooked:  # the user's own, registered behind ours
        for p in bare.first.parameters():
            p.register_post_accumulate_grad_hook(_tripled)
    for step in range(PASSES):
        parts = [2 * step, 2 * step + 1] if accumulate else [step]
        bare.zero_grad()
        for part in parts:
            model.require_backward_grad_sync = part == parts[-1]
            model(data(rank, samples(rank), part, dtype), third(rank)).pow(2).mean().backward()

        def alone(net: nn.Module, r: int, parts: list[int] = parts) -> None:
            for part in parts:
                net(data(r, samples(r), part, dtype), third(r)).pow(2).mean().backward()
                if hooked:
                    for p in net.first.parameters():
                        p.grad.mul_(3)

        weights = [samples(r) * len(parts) for r in range(size)]
        compare(bare, means(all_alone(rank, size, alone, pristine), weights, per_node), f"{what}, pass {step}")
    sums = model._gradients.reducer.updates[0].overlap
    order = [[sums._storage.params[i] for i in range(b.lo, b.hi)] for b in sums.buckets]
    assert len(order) > 3
    if third(0):
        assert any(p is bare.last.weight for p in order[0] + order[1]), "rank 0's order was not learnt"


def check_overlap(per_node: int) -> None:
    """The last layer's sums are begun, and over, while backward stands still at the second."""
    rank, size = dist.get_rank(), dist.get_world_size()
    model = DistributedDataParallel(Net(), bucket_cap_mb=CAP, weighting="samples")
    sums = model._gradients.reducer.updates[0].overlap
    for step in range(PASSES):
        model.zero_grad()
        before, deadline = sums.early, time.monotonic() + 100

        def meanwhile(_: Any, before: int = before, deadline: float = deadline) -> None:
            while sums.early - before < 4 * (30 * 30 + 30 * 3) // per_node // 2 or not sums._works[0].Test():
                sums.advance()
                assert time.monotonic() < deadline, f"rank {rank}: nothing was begun before backward ended"

        model(data(rank, 4, step), True, meanwhile).pow(2).mean().backward()
        assert sums.early > before
    every = np.zeros((size, 1), np.int64)
    dist.process_groups.get_group().comm.Allgather(np.array([sums.early]), every)
    assert every.min() > 0


def check_two_models(per_node: int) -> None:
    """Two dtypes and two models in one backward pass."""
    rank, size = dist.get_rank(), dist.get_world_size()
    bare = Net(), Net(dg.float64)
    pristine = copy.deepcopy(bare)
    a, b = (DistributedDataParallel(net, bucket_cap_mb=CAP, weighting="samples") for net in bare)
    for step in range(PASSES):
        for net in bare:
            net.zero_grad()
        (a(data(rank, 4, step)).double() - b(data(rank, 4, step, dg.float64))).pow(2).mean().backward()
        for k in range(2):
            local = []
            for r in range(size):
                x, y = copy.deepcopy(pristine[0]), copy.deepcopy(pristine[1])
                (x(data(r, 4, step)).double() - y(data(r, 4, step, dg.float64))).pow(2).mean().backward()
                local.append([p.grad.numpy().copy() for p in (x, y)[k].parameters()])
            compare(bare[k], means(local, [4] * size, per_node), f"model {k}, pass {step}")


def check_second_gradient() -> None:
    """A parameter whose first gradient is being added up cannot have another in the same pass."""
    model = DistributedDataParallel(Net(), bucket_cap_mb=CAP, weighting="samples")
    sums = model._gradients.reducer.updates[0].overlap
    model(data(0, 4, 0)).pow(2).mean().backward()
    sums.begin(4)
    for i in range(len(sums._of)):
        sums._take(i)
    with pytest.raises(RuntimeError, match="a second gradient in one backward"):
        sums._take(0)


def main(per_node: int) -> None:
    dist.init_process_group("shared")
    check("alike", per_node)
    check("float64", per_node, dtype=dg.float64)
    check("uneven", per_node, samples=lambda rank: 2 + rank)
    check("one without a layer", per_node, third=lambda rank: rank != 1)
    check("all without a layer", per_node, third=lambda rank: False)
    check("no_sync", per_node, samples=lambda rank: 1 + rank % 2, accumulate=True)
    check("frozen", per_node, frozen=True)
    check("a hook behind ours", per_node, hooked=True)
    check_overlap(per_node)
    check_two_models(per_node)
    check_second_gradient()
    sys.stdout.write("equal\n")
    sys.stdout.flush()
    dist.destroy_process_group()


@pytest.mark.mpi
@pytest.mark.skipif(region.why_not() is not None, reason=str(region.why_not()))
@pytest.mark.parametrize(("ranks", "per_node"), [(2, 1), (3, 1), (4, 2), (4, 1)])
def test_sums_begin_early_and_change_no_bit(ranks: int, per_node: int) -> None:
    env = AS_PROGRAM | compiled_on(ranks // per_node)
    run_together(ranks, Path(__file__), str(per_node), env=env).check(equal=ranks)


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    pretend_nodes(sys.argv[1])
    main(int(sys.argv[1]))
