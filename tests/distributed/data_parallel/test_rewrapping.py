"""One module in wrapper after wrapper: those that are gone hold no memory, hooks or descriptors, values are right."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.data_parallel.shared_memory_reducer import SharedReducer
from distgrad.distributed.optim import DistributedOptimizer
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import WAYS, on_ranks

WRAPS = 20
SEEN = (2, 3, WRAPS - 1)


def net() -> nn.Module:
    layer = nn.Linear(3, 2)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def x(k: int, rank: int) -> Any:
    return dg.tensor([[k + 1.0, rank - 0.5, 0.25 * rank * k]])


def alone(ranks: int, anew: bool) -> list[float]:
    """What one process makes of the mean loss over all ranks."""
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.125)
    for k in range(WRAPS):
        if anew:
            optimizer = optim.Adam(model.parameters(), lr=0.125)
        optimizer.zero_grad()
        (sum((model(x(k, r)) ** 2).sum() for r in range(ranks)) / ranks).backward()  # type: ignore[union-attr]
        optimizer.step()
    return [float(v) for v in model.weight.detach().numpy().reshape(-1)]  # type: ignore[union-attr, operator]


def held() -> tuple[int, int]:
    """Open descriptors, and reducers; asked for when all ranks have come so far."""
    gc.collect()
    dist.barrier()
    found = gc.get_objects()
    told = len(os.listdir("/proc/self/fd")), sum(type(one) in (Reducer, SharedReducer) for one in found)
    dist.barrier()
    return told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("anew", [False, True], ids=["one-optimizer", "an-optimizer-each"])
@pytest.mark.parametrize("dropped", [False, True], ids=["rebound", "dropped-before"])
def test_former_wrappers_let_go(way: str, size: int, anew: bool, dropped: bool) -> None:
    def main() -> tuple[list[tuple[int, int]], list[float], int]:
        layer: Any = net()
        optimizer = optim.Adam(layer.parameters(), lr=0.125)
        found = []
        for k in range(WRAPS):
            if dropped:
                model = None
            model = DistributedDataParallel(layer, static_graph=dropped)
            if anew:
                optimizer = optim.Adam(layer.parameters(), lr=0.125)
            optimizer.zero_grad()
            (model(x(k, dist.get_rank())) ** 2).sum().backward()
            optimizer.step()
            if k in SEEN:
                found.append(held())
        return found, [float(v) for v in layer.weight.detach().numpy().reshape(-1)], len(layer.weight._node.post_hooks)

    wanted = alone(size, anew)
    for found, weights, hooks in on_ranks(size, main, way):
        descriptors, reducers = zip(*found, strict=True)
        assert descriptors[-1] <= max(descriptors[:-1]) + 4, descriptors  # 4 a wrapper and rank where all are kept
        assert max(reducers) <= 2 * size, reducers
        assert hooks <= 4
        assert weights == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_stays_when_the_module_is_wrapped_again(way: str) -> None:
    def main() -> list[float]:
        layer: Any = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        optimizer = optim.SGD(layer.parameters(), lr=1.0)
        found = []
        for _ in range(3):
            model: Any = DistributedDataParallel(layer)
            model(dg.tensor([[dist.get_rank() + 1.0]])).sum().backward()
            model = None
            model = DistributedDataParallel(layer)
            found.append(layer.weight.grad.item())
            optimizer.step()
            optimizer.zero_grad()
            found.append(layer.weight.item())
        return found

    assert on_ranks(2, main, way) == [[1.5, -0.5, 1.5, -2.0, 1.5, -3.5]] * 2


@pytest.mark.parametrize("way", WAYS)
def test_optimizers_that_wrap(way: str) -> None:
    def main() -> tuple[list[tuple[int, int]], float]:
        layer: Any = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(layer.weight)
        found = []
        for k in range(WRAPS):
            optimizer = DistributedOptimizer(optim.SGD(layer.parameters(), lr=1.0))
            layer(dg.tensor([[dist.get_rank() + 1.0]])).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            if k in SEEN:
                found.append(held())
            optimizer = None  # type: ignore[assignment]
        return found, layer.weight.item()

    for found, weight in on_ranks(2, main, way):
        assert weight == -1.5 * WRAPS
        descriptors, reducers = zip(*found, strict=True)
        assert descriptors[-1] <= max(descriptors[:-1]) + 4, descriptors  # 4 a wrapper and rank where all are kept
        assert max(reducers) <= 4, reducers


@pytest.mark.parametrize("way", WAYS)
def test_what_is_in_use_is_kept(way: str) -> None:
    """A wrapper that is still there reduces, and one that was dropped while its backward pass is under way."""

    def main() -> list[float]:
        layers: Any = nn.Sequential(net(), nn.Linear(2, 1, bias=False))
        nn.init.ones_(layers[1].weight)
        models: list[Any] = [DistributedDataParallel(layers)]
        found = []

        def reduced(model: Any, drop: bool = False) -> None:
            layers.zero_grad()
            y = model(x(0, dist.get_rank())).sum()
            del model
            handle = layers[1].weight.register_post_accumulate_grad_hook(lambda p: models.clear() if drop else None)
            y.backward()
            handle.remove()
            found.append(layers[0].weight.grad[0, 1].item())

        models.append(DistributedDataParallel(layers))
        reduced(models[0])
        reduced(models[1])
        reduced(models.pop(), drop=True)
        assert not models
        reduced(DistributedDataParallel(layers), drop=True)
        models.append(DistributedDataParallel(layers))
        reduced(models[0])
        return found

    assert on_ranks(2, main, way) == [[0.0] * 5] * 2  # the mean of rank - 0.5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3])
def test_two_wrappers_in_turn(size: int, way: str) -> None:
    def main() -> list[float]:
        layer: Any = net()
        models = [DistributedDataParallel(layer)]
        optimizer = optim.Adam(layer.parameters(), lr=0.125)
        for k in range(WRAPS):
            if k == 3:
                models.append(DistributedDataParallel(layer))
            optimizer.zero_grad()
            (models[k % len(models)](x(k, dist.get_rank())) ** 2).sum().backward()
            optimizer.step()
        return [float(v) for v in layer.weight.detach().numpy().reshape(-1)]

    for weights in on_ranks(size, main, way):
        assert weights == pytest.approx(alone(size, False), rel=1e-5, abs=1e-6)


def test_a_group_ends_where_one_rank_has_dropped_its_model_already() -> None:
    """The other keeps what it has; optimizer state that is gone is an error for who asks for it, not for the end."""

    def main() -> str:
        model: Any = DistributedDataParallel(nn.Linear(3, 2))
        optimizer: Any = optim.Adam(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(dg.ones(4, 3)).sum().backward()
            optimizer.step()
        dist.barrier()
        if dist.get_rank() == 1:
            del model, optimizer
            gc.collect()
        dist.barrier()
        dist.destroy_process_group()
        if "optimizer" in locals():
            with pytest.raises(RuntimeError, match="whose state rank 1 has no more: it dropped its own"):
                optimizer.state_dict()
        return "ended"

    assert on_ranks(2, main, "shared") == ["ended"] * 2
