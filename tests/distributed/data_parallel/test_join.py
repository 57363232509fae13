"""Uneven inputs (F7): ranks that have run out take part, and the result is that of one process with all the data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.algorithms import Join
from distgrad.distributed.optim import DistributedOptimizer, ZeroRedundancyOptimizer
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import (
    AS_PROGRAM,
    WAYS,
    backends_and_sizes,
    on_ranks,
    over_mpi,
    pretend_nodes,
    set_parameters,
)
from tests.helpers.crew import run_together

BATCHES = {1: [7], 2: [5, 7], 3: [2, 0, 3], 4: [1, 3, 2, 3]}
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((4, 8, 3, 4)), RNG.standard_normal((4, 8, 3, 2))  # rank, batch, sample, feature


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 6, dtype=dg.float64), nn.Tanh(), nn.Linear(6, 2, dtype=dg.float64))
    set_parameters(model, seed=1)
    return model


def loss_of(model: nn.Module, ranks: list[int], batch: int) -> Any:
    x, y = (dg.tensor(np.concatenate([a[r, batch] for r in ranks])) for a in (X, Y))
    return ((model(x) - y) ** 2).mean()


def bits(model: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in model.parameters()]


def serial(size: int, epochs: int = 2) -> list[np.ndarray]:
    """One process; batch ``i`` holds the samples of all ranks that have an ``i``-th one."""
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for batch in [*range(max(BATCHES[size]))] * epochs:
        optimizer.zero_grad()
        loss_of(model, [r for r in range(size) if batch < BATCHES[size][r]], batch).backward()
        optimizer.step()
    return bits(model)


def train(how: str, epochs: int = 2) -> list[np.ndarray]:
    """The same on ranks; state that ranks without data must keep up is what ``how`` looks after."""
    rank, size = dist.get_rank(), dist.get_world_size()
    bare = network()
    model = DistributedDataParallel(bare, weighting="samples")
    optimizer: Any
    if how == "zero":
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optim.Adam, lr=0.05)
    else:
        optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(epochs):
        with Join([model, optimizer]) if how == "zero" else model.join():
            for batch in range(BATCHES[size][rank]):
                optimizer.zero_grad()
                loss_of(model, [rank], batch).backward()
                optimizer.step()
    return bits(bare)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", BATCHES)
@pytest.mark.parametrize(("how", "epochs"), [("join", 1), ("zero", 2)])
def test_uneven_batches_equal_the_serial_mean(how: str, epochs: int, size: int, way: str) -> None:
    want = serial(size, epochs)
    for got in on_ranks(size, lambda: train(how, epochs), way):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-12)


@pytest.mark.mpi
@backends_and_sizes(*BATCHES)
def test_uneven_batches_over_mpi(backend: str, size: int) -> None:
    over_mpi(size, Path(__file__), compiled=False).check(**{f"equal with {backend}": 2 * size})


@pytest.mark.mpi
@pytest.mark.parametrize("per_node", ["1", "2"])
def test_over_nodes(per_node: str) -> None:
    run_together(4, Path(__file__), "shared", per_node, env=AS_PROGRAM).check(equal=8)


def test_a_distributed_optimizer_joins_alone() -> None:
    def main() -> list[np.ndarray]:
        model = network()
        optimizer = DistributedOptimizer(optim.Adam(model.parameters(), lr=0.05), model.named_parameters())
        with Join([optimizer]):
            for batch in range([2, 4][dist.get_rank()]):
                optimizer.zero_grad()
                loss_of(model, [dist.get_rank()], batch).backward()
                optimizer.step()
        return bits(model)

    first, second = on_ranks(2, main)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
    assert first[0].tobytes() != bits(network())[0].tobytes()


@pytest.mark.parametrize(("initial", "expected"), [(True, [1.5, 1.0]), (False, [1.5, 2.0])])
def test_what_the_mean_is_divided_by(initial: bool, expected: list[float]) -> None:
    """Rank 0 has one batch with gradient 1, rank 1 two with gradient 2."""

    def main() -> list[float]:
        model = nn.Linear(1, 1, bias=False)
        wrapped = DistributedDataParallel(model, weighting="ranks")
        seen = []
        with wrapped.join(divide_by_initial_world_size=initial):
            for _ in range(dist.get_rank() + 1):
                model.weight.grad = None
                wrapped(dg.full((1, 1), dist.get_rank() + 1.0)).sum().backward()
                seen.append(model.weight.grad.item())  # type: ignore[union-attr]
        return seen

    assert on_ranks(2, main)[1] == expected


@pytest.mark.parametrize("way", WAYS)
def test_buffers_come_from_a_rank_that_still_works(way: str) -> None:
    def main() -> list[float]:
        model = nn.Linear(1, 1)
        model.register_buffer("count", dg.zeros(1))
        wrapped = DistributedDataParallel(model, weighting="samples")
        with wrapped.join():
            for _ in range([1, 4, 2][dist.get_rank()]):
                wrapped(dg.ones(1, 1)).sum().backward()
                model.count.add_(1)
        return model.count.tolist()  # type: ignore[no-any-return]

    assert on_ranks(3, main, way) == [[4.0]] * 3


def test_accumulation_inside_join() -> None:
    def main() -> list[float]:
        model = nn.Linear(1, 1, bias=False)
        wrapped = DistributedDataParallel(model, weighting="ranks")
        seen = []
        with wrapped.join():
            for _ in range(1 + dist.get_rank()):
                model.weight.grad = None
                with wrapped.no_sync():
                    wrapped(dg.ones(1, 1)).sum().backward()
                wrapped(dg.ones(1, 1)).sum().backward()
                seen.append(model.weight.grad.item())  # type: ignore[union-attr]
        return seen

    assert on_ranks(2, main) == [[2.0], [2.0, 1.0]]


def test_all_throw_where_asked_to() -> None:
    def main() -> str:
        wrapped = DistributedDataParallel(nn.Linear(1, 1), weighting="samples")
        with pytest.raises(RuntimeError, match="run out of inputs") as caught:  # noqa: PT012, SIM117 - leaving raises
            with wrapped.join(throw_on_early_termination=True):
                for _ in range(1 + dist.get_rank()):
                    wrapped(dg.ones(1, 1)).sum().backward()
        return str(caught.value)

    first, second, third = on_ranks(3, main)
    assert first.endswith("rank 0 has run out of inputs before others")
    assert second.endswith("rank 1: 1 of 3 ranks have run out of inputs")
    assert third.endswith("rank 2: 1 of 3 ranks have run out of inputs")


def test_a_disabled_join_does_nothing() -> None:
    def main() -> None:
        wrapped = DistributedDataParallel(nn.Linear(1, 1))
        with wrapped.join(enable=False):
            wrapped(dg.ones(1, 1)).sum().backward()

    on_ranks(2, main)


def test_nothing_to_join_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one Joinable"):
        Join([])


if __name__ == "__main__":
    pretend_nodes(*sys.argv[2:])
    for backend in sys.argv[1].split(","):
        dist.init_process_group(backend)
        for how, epochs in (("join", 1), ("zero", 2)):
            for g, w in zip(train(how, epochs), serial(dist.get_world_size(), epochs), strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-12)
            sys.stdout.write(f"equal with {backend}\n")
        dist.destroy_process_group()
