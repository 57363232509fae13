"""Aliases of parameters and gradients under data parallelism: what shares memory in PyTorch shares it on every rank."""

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

X = np.random.default_rng(3).standard_normal((8, 4))


def model() -> Any:
    made = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    set_parameters(made, 0.5)
    return made


def share() -> Any:
    return dg.tensor(np.split(X, dist.get_world_size())[dist.get_rank()])


def step(net: Any, optimizer: Any, x: Any, factor: float = 1.0) -> None:
    optimizer.zero_grad()
    ((net(x) ** 2).mean() * factor).backward()
    optimizer.step()


def alone(steps: int) -> np.ndarray:
    net = model()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        step(net, optimizer, dg.tensor(X))
    weight: np.ndarray = net[0].weight.detach().numpy().copy()
    return weight


ALIASES: dict[str, Callable[[Any], Any]] = {
    ".data": lambda w: w.data,
    ".detach()": lambda w: w.detach(),
    "a view": lambda w: w.detach()[1:],
    "numpy()": lambda w: w.detach().numpy(),
    "a Parameter": lambda w: nn.Parameter(w.detach()),
}


def equal(alias: Any, w: Any) -> bool:
    here = alias if isinstance(alias, np.ndarray) else alias.detach().numpy()
    return bool(np.array_equal(here, w.detach().numpy()[-len(here) :]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", [0, 1, None])
@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_from_before_follows(alias: str, who: int | None, way: str, capfd: Any) -> None:
    """On one rank or on all: there memory is not shared, and rank 0 says so."""

    def main() -> Any:
        net = model()
        mine = who is None or who == dist.get_rank()
        seen = ALIASES[alias](net[0].weight) if mine else None
        wrapped = DistributedDataParallel(net)
        optimizer = optim.SGD(wrapped.parameters(), lr=0.1)
        for _ in range(3):
            step(wrapped, optimizer, share())
        assert not wrapped._gradients.shares_memory
        return net[0].weight.detach().numpy().copy(), seen is None or equal(seen, net[0].weight)

    found = on_ranks(2, main, way)
    assert all(follows for _, follows in found)
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][0], alone(3), rtol=1e-12)
    said = capfd.readouterr().err
    assert said.count("parameter '0.weight' shares its memory") == (way == "shared")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["wrapper", "optimizer"])
@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_from_behind_follows(alias: str, first: str, way: str) -> None:
    def main() -> Any:
        net = model()
        if first == "optimizer":
            optimizer = optim.SGD(net.parameters(), lr=0.1)
        wrapped = DistributedDataParallel(net)
        if first == "wrapper":
            optimizer = optim.SGD(wrapped.parameters(), lr=0.1)
        seen = ALIASES[alias](net[0].weight)
        for _ in range(3):
            step(wrapped, optimizer, share())
            assert equal(seen, net[0].weight)
        assert wrapped._gradients.shares_memory == (way == "shared")
        return net[0].weight.detach().numpy().copy()

    one, two = on_ranks(2, main, way)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, alone(3), rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_follows_into_messages_and_keeps_the_model_there(alias: str, way: str) -> None:
    """As under join(), which needs messages: parameters that somebody else sees do not move."""

    def main() -> Any:
        net = model()
        wrapped = DistributedDataParallel(net)
        optimizer = optim.SGD(wrapped.parameters(), lr=0.1)
        step(wrapped, optimizer, share())
        seen = ALIASES[alias](net[0].weight) if dist.get_rank() == 1 else None
        with wrapped.join():
            step(wrapped, optimizer, share())
            assert seen is None or equal(seen, net[0].weight)
        step(wrapped, optimizer, share())
        assert seen is None or equal(seen, net[0].weight)
        return net[0].weight.detach().numpy().copy()

    one, two = on_ranks(2, main, way)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, alone(3), rtol=1e-12)


KEEPERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda g: g,
    ".detach()": lambda g: g.detach(),
    "a view": lambda g: g[1:],
    "numpy()": lambda g: g.numpy(),
    "flat": lambda g: g.flatten(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("keeper", KEEPERS)
def test_who_keeps_a_mean_keeps_its_values(keeper: str, way: str) -> None:
    def main() -> None:
        net = DistributedDataParallel(model())
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        kept = []
        for i in range(5):
            optimizer.zero_grad()
            ((net(share()) ** 2).mean() * (i + 1)).backward()
            if i != 2 and (dist.get_rank() == 0 or i == 3):
                g = KEEPERS[keeper](net.module[0].weight.grad)
                kept.append((g, np.array(g)))
            optimizer.step()
        assert len({values.tobytes() for _, values in kept}) == len(kept)
        for g, values in kept:
            np.testing.assert_array_equal(np.asarray(g), values)

    on_ranks(2, main, way)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_no_sync_are_kept_too(way: str) -> None:
    def main() -> None:
        net = DistributedDataParallel(model())
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            with net.no_sync():
                (net(share()) ** 2).mean().backward()
            g = net.module[0].weight.grad.detach()
            values = g.numpy().copy()
            optimizer.zero_grad()
            step(net, optimizer, share(), 3.0)
            np.testing.assert_array_equal(g.numpy(), values)

    on_ranks(2, main, way)


@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_that_the_user_gave_holds_the_mean(way: str) -> None:
    """``p.grad = mine``: what backward adds, and the mean, are written there; so PyTorch's wrapper does."""

    def main() -> Any:
        net = DistributedDataParallel(model())
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        mine = dg.zeros(4, 4, dtype=dg.float64)
        for _ in range(2):
            mine.zero_()
            net.module[0].weight.grad = mine
            (net(share()) ** 2).mean().backward()
            assert net.module[0].weight.grad is mine
            optimizer.step()
            optimizer.zero_grad()
        return mine.numpy().copy(), net.module[0].weight.detach().numpy().copy()

    (one, weight), (two, _) = on_ranks(2, main, way)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(weight, alone(2), rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_other_memory_given_later_is_taken_or_refused_but_never_cut(way: str) -> None:
    def main() -> str:
        net = DistributedDataParallel(model())
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        step(net, optimizer, share())
        net.module[0].weight.data = net.module[0].weight.data * 0.5  # nobody else has it
        step(net, optimizer, share())
        given = dg.ones(4, 4, dtype=dg.float64)
        net.module[0].weight.data = given
        try:
            step(net, optimizer, share())
        except RuntimeError as error:
            return str(error)
        return "followed" if equal(given, net.module[0].weight) else "cut"

    for said in on_ranks(2, main, way):
        if way == "shared":
            assert said.startswith("parameter number 0, of shape [4, 4], was given memory (p.data = …) that something")
        else:
            assert said == "followed"
