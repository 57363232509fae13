"""Batch normalization over ranks: values, gradients, second gradients and statistics of one batch norm on all batches
together.  As a program, ``test_sync_batchnorm.py BACKENDS`` on each rank."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import (
    WAYS,
    backends_and_sizes,
    on_ranks,
    over_mpi,
    set_parameters,
)

ROWS = {1: [5], 2: [3, 4], 3: [2, 1, 4], 4: [3, 0, 2, 5]}  # of each rank; one has none
RNG = np.random.default_rng(4)
X = RNG.standard_normal((20, 3, 2, 2)) * 3 + 100
W = RNG.standard_normal(X.shape)


def part(size: int, rank: int | None) -> slice:
    """Which rows a rank has; all ranks' for None."""
    ends = np.cumsum([0, *ROWS[size]])
    return slice(0, ends[-1]) if rank is None else slice(ends[rank], ends[rank + 1])


def layer_of(kind: Any, **options: Any) -> Any:
    layer = kind(3, dtype=dg.float64, **options)
    with dg.no_grad():
        layer.weight.copy_(dg.tensor([0.5, -2.0, 1.5]))
        layer.bias.copy_(dg.tensor([0.1, 0.2, 0.3]))
    return layer


def results(layer: Any, rows: slice) -> tuple[list[Any], list[Any], list[Any]]:
    """What each row gets, what all ranks add up to, and what all have alike."""
    x = dg.tensor(X[rows], requires_grad=True)
    w = dg.tensor(W[rows])
    out = layer(x)
    params = [layer.weight, layer.bias]
    g, gw, gb = dg.autograd.grad((out * out * w).sum(), [x, *params], create_graph=True)
    second, sw = dg.autograd.grad((g * g * w).sum(), [x, layer.weight])
    layer(x * 2 + 1)
    kept = [layer.running_mean, layer.running_var, layer.num_batches_tracked]
    layer.eval()
    return [out, g, second, layer(x)], [gw, gb, sw], kept


def numbers(tensors: list[Any]) -> list[np.ndarray]:
    return [t.detach().numpy() for t in tensors]


def on_this_rank(momentum: float | None = 0.1) -> list[list[np.ndarray]]:
    size, rank = dist.get_world_size(), dist.get_rank()
    layer = layer_of(nn.SyncBatchNorm, momentum=momentum)
    return [numbers(found) for found in results(layer, part(size, rank))]


def check(found: list[Any], size: int, momentum: float | None = 0.1) -> None:
    """``found``: of each rank, what :func:`on_this_rank` gave."""
    expected = [numbers(e) for e in results(layer_of(nn.BatchNorm2d, momentum=momentum), part(size, None))]
    for rank, (each, _, alike) in enumerate(found):
        for ours, theirs in zip(each, expected[0], strict=True):
            np.testing.assert_allclose(ours, theirs[part(size, rank)], rtol=1e-7, atol=1e-9)
        for ours, theirs in zip(alike, expected[2], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    for i, theirs in enumerate(expected[1]):
        np.testing.assert_allclose(sum(shares[i] for _, shares, _ in found), theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("size", ROWS)
def test_ranks_together_are_one_batch(size: int, momentum: float | None) -> None:
    check(on_ranks(size, lambda: on_this_rank(momentum)), size, momentum)


@pytest.mark.mpi
@backends_and_sizes(*ROWS)
def test_ranks_together_are_one_batch_over_mpi(backend: str, size: int) -> None:
    over_mpi(size, Path(__file__), compiled=False).check(**{f"equal with {backend}": size})


def model_of(sync: bool) -> Any:
    model: Any = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1)
    ).double()
    set_parameters(model)
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if sync else model


def trained(bare: Any, model: Any, rows: slice) -> list[np.ndarray]:
    optimizer = dg.optim.SGD(model.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (model(dg.tensor(X[rows])) ** 2).mean().backward()
        optimizer.step()
    return numbers(list(bare.state_dict().values()))


def trained_on_this_rank() -> list[np.ndarray]:
    bare, rank = model_of(True), dist.get_rank()
    return trained(bare, DistributedDataParallel(bare), slice(4 * rank, 4 * rank + 4))


def check_trained(found: list[np.ndarray], size: int) -> None:
    plain = model_of(False)
    for ours, theirs in zip(found, trained(plain, plain, slice(0, 4 * size)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3])
def test_a_data_parallel_model_trains_as_one_on_the_joined_batch(size: int, way: str) -> None:
    for found in on_ranks(size, trained_on_this_rank, way):
        check_trained(found, size)


def test_a_model_is_converted_and_keeps_what_it_has() -> None:
    inner: Any = nn.BatchNorm1d(2, eps=0.1, momentum=None, affine=False)
    outer: Any = nn.BatchNorm2d(3).eval()
    model: Any = nn.Sequential(nn.Sequential(inner), outer, nn.GroupNorm(1, 3))
    keys = list(model.state_dict())
    made: Any = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert made is model
    assert list(made.state_dict()) == keys
    assert [type(m).__name__ for m in made.modules()] == [
        "Sequential", "Sequential", "SyncBatchNorm", "SyncBatchNorm", "GroupNorm",
    ]  # fmt: skip
    assert made[1].weight is outer.weight
    assert made[1].running_var is outer.running_var
    assert not made[1].training
    assert (made[0][0].eps, made[0][0].momentum, made[0][0].affine) == (0.1, None, False)
    assert type(nn.SyncBatchNorm.convert_sync_batchnorm(outer)) is nn.SyncBatchNorm


def test_alone_it_is_a_batch_norm() -> None:
    x = dg.tensor(X)
    ours, plain = layer_of(nn.SyncBatchNorm), layer_of(nn.BatchNorm2d)
    assert ours(x).equal(plain(x))
    assert ours.running_var.equal(plain.running_var)
    with pytest.raises(ValueError, match="at least 2D"):
        ours(dg.ones(3))


@pytest.mark.torch
def test_names_and_printed_forms_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for options in ({}, {"affine": False}, {"track_running_stats": False, "momentum": None}, {"bias": False}):
        ours, theirs = nn.SyncBatchNorm(3, **options), torch.nn.SyncBatchNorm(3, **options)  # type: ignore[arg-type]
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(nn.DataParallel(nn.Linear(1, 1))) == repr(torch.nn.DataParallel(torch.nn.Linear(1, 1)))


def test_data_parallel_passes_through() -> None:
    layer = nn.Linear(2, 1)
    model = nn.DataParallel(layer)
    assert model.module is layer
    assert model(input=dg.ones(3, 2)).equal(layer(dg.ones(3, 2)))
    with pytest.raises(NotImplementedError, match="mpirun"):
        nn.DataParallel(layer, device_ids=[0, 1])


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    for backend in sys.argv[1].split(","):
        dist.init_process_group(backend)
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, on_this_rank())
        check(found, dist.get_world_size())
        check_trained(trained_on_this_rank(), dist.get_world_size())
        sys.stdout.write(f"equal with {backend}\n")
        dist.destroy_process_group()
