"""What PyTorch allows of models and optimizers, with ranks that share memory and with ranks that send messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import WAYS, on_ranks, set_parameters

RNG = np.random.default_rng(2)
X, Y = RNG.standard_normal((12, 4)), RNG.standard_normal((12, 4))


def linear(seed: int) -> nn.Linear:
    layer = nn.Linear(4, 4, dtype=dg.float64)
    set_parameters(layer, 0.5, seed)
    return layer


class Tied(nn.Module):
    """One weight used by two layers, and one that is never trained."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode, self.fixed = linear(0), linear(1), linear(2)
        self.decode.weight = self.encode.weight
        self.fixed.weight.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        return self.decode(dg.tanh(self.fixed(dg.tanh(self.encode(x)))))


def adam(params: Any) -> Any:
    return optim.Adam(params, lr=0.05)


def step(optimizers: list[Any], loss: Callable[[], Any]) -> None:
    for o in optimizers:
        o.zero_grad()
    loss().backward()
    for o in optimizers:
        o.step()


def tied(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    bare = Tied()
    model = wrap(bare)
    optimizer = adam(model.parameters())
    for _ in range(4):
        step([optimizer], lambda: ((model(x) - y) ** 2).mean())
    return [bare]


def frozen_later(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    bare = nn.Sequential(linear(0), linear(1))
    model = wrap(bare)
    optimizer = adam(model.parameters())
    for i in range(6):
        bare[0].weight.requires_grad_(i % 3 != 1)
        step([optimizer], lambda: ((model(x) - y) ** 2).mean())
    return [bare]


def two_models_one_optimizer(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    bare = [linear(0), linear(1)]
    first, second = (wrap(m) for m in bare)
    optimizer = adam([*first.parameters(), *second.parameters()])
    for _ in range(4):
        step([optimizer], lambda: ((second(dg.tanh(first(x))) - y) ** 2).mean())
    return list(bare)


def one_optimizer_before_two_models(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    bare = [linear(0), linear(1)]
    optimizer = adam([*bare[0].parameters(), *bare[1].parameters()])
    first, second = (wrap(m) for m in bare)
    for _ in range(4):
        step([optimizer], lambda: ((second(dg.tanh(first(x))) - y) ** 2).mean())
    return list(bare)


def taking_turns(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    """As adversarial training does: two models, two optimizers, one backward each."""
    bare = [linear(0), linear(1)]
    first, second = (wrap(m) for m in bare)
    optimizers = [adam(first.parameters()), optim.SGD(second.parameters(), lr=0.05, momentum=0.9)]
    for i in range(6):
        if i % 2:
            step(optimizers[:1], lambda: ((first(x) - y) ** 2).mean())
        else:
            step(optimizers[1:], lambda: ((second(first(x).detach()) - y) ** 2).mean())
    return list(bare)


def two_groups_and_two_optimizers(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    bare = nn.Sequential(linear(0), linear(1), linear(2))
    model = wrap(bare)
    groups = [{"params": [bare[0].weight, bare[2].bias], "lr": 0.1}, {"params": [bare[1].weight]}]
    optimizers = [adam(groups), optim.SGD([bare[0].bias, bare[1].bias, bare[2].weight], lr=0.05)]
    for _ in range(4):
        step(optimizers, lambda: ((model(x) - y) ** 2).mean())
    return [bare]


def accumulating(wrap: Any, x: Any, y: Any) -> list[nn.Module]:
    bare = linear(0)
    model = wrap(bare)
    optimizer = adam(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        if isinstance(model, DistributedDataParallel):
            with model.no_sync():
                ((model(x) - y) ** 2).mean().backward()
        else:
            ((model(x) - y) ** 2).mean().backward()
        ((model(x * 2) - y) ** 2).mean().backward()
        optimizer.step()
    return [bare]


USES = [
    tied,
    frozen_later,
    two_models_one_optimizer,
    one_optimizer_before_two_models,
    taking_turns,
    two_groups_and_two_optimizers,
    accumulating,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_ranks_end_as_one_process_with_all_samples(use: Any, way: str) -> None:
    def values(models: list[nn.Module]) -> list[np.ndarray]:
        return [p.detach().numpy().copy() for m in models for p in m.parameters()]

    def main() -> list[np.ndarray]:
        rows = slice(dist.get_rank() * 4, dist.get_rank() * 4 + 4)
        return values(use(DistributedDataParallel, dg.tensor(X[rows]), dg.tensor(Y[rows])))

    want = values(use(lambda model: model, dg.tensor(X), dg.tensor(Y)))
    start = values([linear(0)])[0]
    assert any(w.shape == start.shape and not np.array_equal(w, start) for w in want)
    for got in on_ranks(3, main, way):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)
