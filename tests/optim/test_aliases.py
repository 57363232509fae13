"""Memory is shared where PyTorch shares it: aliases of parameters and gradients follow, or keep, as they do there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn, optim
from distgrad.storage import place

OPTIMIZERS = ["SGD", "Adam", "RMSprop", "Adagrad", "Muon", "LBFGS"]


def model() -> Any:
    distgrad.manual_seed(0)
    return nn.Linear(3, 2)


def loss_of(m: Any, factor: float = 1.0) -> Any:
    return (m(distgrad.ones(4, 3)) * factor).sum()


def optimizer_of(name: str, params: Any) -> Any:
    params = list(params)
    return optim.get(name.lower())([p for p in params if p.ndim == 2] if name == "Muon" else params, lr=0.1)


def step(m: Any, optimizer: Any) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(m)
        loss.backward()
        return loss

    optimizer.step(closure)


# name -> (given the weight, an alias of it; what of the weight it equals)
ALIASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    ".data": (lambda w: w.data, lambda w: w),
    ".detach()": (lambda w: w.detach(), lambda w: w),
    "a row": (lambda w: w.detach()[1], lambda w: w[1]),
    "a slice of .data": (lambda w: w.data[:, 1:], lambda w: w[:, 1:]),
    "flat": (lambda w: w.detach().view(-1), lambda w: w.reshape(-1)),
    "transposed": (lambda w: w.detach().t(), lambda w: w.t()),
    "numpy()": (lambda w: w.detach().numpy(), lambda w: w),
    "a view of numpy()": (lambda w: w.detach().numpy()[0], lambda w: w[0]),
    "state_dict()": (lambda w: dict(state=w.detach())["state"], lambda w: w),
    "a Parameter of it": (lambda w: nn.Parameter(w.detach()), lambda w: w),
    "a transposed Parameter": (lambda w: nn.Parameter(w.detach().t()), lambda w: w.t()),
    "tied by .data": (lambda w: _tied(w), lambda w: w),
}


def _tied(w: Any) -> Any:
    other = nn.Linear(3, 2)
    other.weight.data = w.data
    return other.weight


def same(alias: Any, part: Any) -> bool:
    return bool(np.array_equal(np.asarray(alias if isinstance(alias, np.ndarray) else alias.detach()), part.detach()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("when", ["before the optimizer", "behind it", "between steps"])
def test_an_alias_of_a_parameter_follows_it(alias: str, optimizer: str, when: str) -> None:
    m, (make, part) = model(), ALIASES[alias]
    seen = make(m.weight) if when == "before the optimizer" else None
    o = optimizer_of(optimizer, m.parameters())
    if when == "between steps":
        step(m, o)
    if seen is None:
        seen = make(m.weight)
    before = m.weight.detach().clone()
    step(m, o)
    step(m, o)
    assert not bool((m.weight == before).all())
    assert same(seen, part(m.weight))
    with distgrad.no_grad():
        m.weight.mul_(2.0)
    assert same(seen, part(m.weight))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_a_parameter_was_given_follows_it(optimizer: str) -> None:
    m, array = model(), np.ones((2, 3), np.float32)
    m.weight.data = distgrad.from_numpy(array)
    step(m, optimizer_of(optimizer, m.parameters()))
    assert not (array == 1).any()
    assert same(array, m.weight)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_strided_part_of_a_larger_tensor_is_updated_there(optimizer: str) -> None:
    big = distgrad.zeros(4, 10)
    m = model()
    m.weight = nn.Parameter(big[:2, 2:8:2])
    state = optimizer_of(optimizer, [m.weight, m.bias])
    step(m, state)
    step(m, state)
    assert bool((m.weight != 0).all())
    assert same(big[:2, 2:8:2], m.weight)
    assert int((big != 0).sum()) == 6


def test_aliases_cost_only_those_that_have_them_their_place() -> None:
    m = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    kept = m[0].weight.detach()
    optim.SGD(m.parameters(), lr=0.1)
    (flat,) = {place(p)[0] for p in m.parameters()}
    assert flat.apart == {0}
    assert m[0].weight.data_ptr() == kept.data_ptr()


def test_slices_that_parameters_divide_among_them_move_together() -> None:
    params = [nn.Parameter(t) for t in distgrad.arange(12.0).split(4)]
    optim.SGD(params, lr=0.1)
    assert not place(params[0])[0].apart
    assert [p.tolist() for p in params] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_slices_that_overlap_stay(shift: int) -> None:
    vector = distgrad.zeros(4 + shift)
    a, b = nn.Parameter(vector[:4]), nn.Parameter(vector[shift:])
    del vector
    o = optim.SGD([a, b], lr=1.0)
    (a.sum() + 10 * b.sum()).backward()
    o.step()
    assert a[shift:].tolist() == [-11.0] * (4 - shift)
    assert a[shift:].tolist() == b[: 4 - shift].tolist()


def test_two_optimizers_of_tied_memory_update_it_both() -> None:
    a, b = model(), nn.Linear(3, 2)
    b.weight.data = a.weight.data
    start = a.weight.detach().clone()
    one, two = optim.SGD([a.weight], lr=0.1), optim.SGD([b.weight], lr=0.1)
    a.weight.grad, b.weight.grad = distgrad.ones(2, 3), distgrad.ones(2, 3) * 2
    one.step()
    two.step()
    assert distgrad.allclose(a.weight, start - 0.3)
    assert bool((a.weight == b.weight).all())


# --- gradients --------------------------------------------------------------------------------------------------------

KEEPERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda g: g,
    ".detach()": lambda g: g.detach(),
    ".data": lambda g: g.data,
    "a row": lambda g: g[0],
    "a slice": lambda g: g[:, 1:],
    "flat": lambda g: g.flatten(),
    "transposed": lambda g: g.t(),
    "numpy()": lambda g: g.numpy(),
    "a view of numpy()": lambda g: g.numpy()[1],
    "a view of a view": lambda g: g.view(3, 2)[1:],
}


@pytest.mark.parametrize("keeper", KEEPERS)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Muon"])
def test_who_keeps_a_gradient_keeps_its_values(keeper: str, optimizer: str) -> None:
    m, twin = model(), model()
    o, theirs = optimizer_of(optimizer, m.parameters()), optimizer_of(optimizer, twin.parameters())
    kept: list[tuple[Any, Any]] = []
    for i in range(4):
        for net, opt in ((m, o), (twin, theirs)):
            opt.zero_grad()
            loss_of(net, i + 1.0).backward()
            assert bool((net.weight.grad == 4.0 * (i + 1)).all())
            if net is m and i != 2:
                g = KEEPERS[keeper](m.weight.grad)
                kept.append((g, np.array(g)))
            opt.step()
        for g, values in kept:
            assert np.array_equal(np.asarray(g), values)
        assert bool((m.weight == twin.weight).all())
        assert bool((m.bias == twin.bias).all())


@pytest.mark.parametrize("keeper", [k for k in KEEPERS if k != "itself"])
def test_a_gradient_in_use_is_one_with_its_aliases(keeper: str) -> None:
    """Accumulating, clipping, zeros in place, a new optimizer: all are seen."""
    m = model()
    o = optim.SGD(m.parameters(), lr=0.1)
    loss_of(m).backward()
    g, part = KEEPERS[keeper](m.weight.grad), KEEPERS[keeper]

    def follows() -> bool:
        return bool(np.array_equal(np.asarray(g), np.asarray(part(m.weight.grad))))

    loss_of(m).backward()
    assert bool((m.weight.grad == 8).all())
    assert follows()
    nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    assert follows()
    optim.Adam(m.parameters())
    assert follows()
    o.step()
    assert follows()
    o.zero_grad(set_to_none=False)
    assert not np.asarray(g).any()
    loss_of(m).backward()
    assert follows()


def test_a_gradient_from_before_the_optimizer_stays_the_users() -> None:
    m = model()
    loss_of(m).backward()
    g, alias = m.weight.grad, m.bias.grad.detach()
    start = m.weight.detach().clone()
    o = optim.SGD(m.parameters(), lr=0.1)
    assert m.weight.grad is g
    loss_of(m).backward()
    assert bool((g == 8).all())
    assert bool((alias == 8).all())
    o.step()
    assert distgrad.allclose(m.weight, start - 0.8)


def test_a_gradient_that_nobody_keeps_is_written_in_place() -> None:
    m = model()
    o = optim.SGD(m.parameters(), lr=0.1)
    step(m, o)
    storage = place(m.weight)[0]
    buffer = weakref.ref(storage.grad)
    for _ in range(3):
        m.weight.grad.detach().numpy()[0].sum()  # seen, and forgotten
        step(m, o)
    assert storage.grad is buffer()


# --- parameters exchanged in a group ----------------------------------------------------------------------------------

EXCHANGES: dict[str, Callable[[dict[str, Any], Any, Any], None]] = {
    "an element": lambda group, old, new: group["params"].__setitem__(0, new),
    "a slice": lambda group, old, new: group["params"].__setitem__(slice(0, 1), [new]),
    "the list": lambda group, old, new: group.__setitem__("params", [new, *group["params"][1:]]),
    "out and in": lambda group, old, new: (group["params"].pop(0), group["params"].append(new)),  # type: ignore[func-returns-value]
    "in place of its neighbour": lambda group, old, new: (
        group["params"].reverse(), group["params"].__setitem__(1, new),  # type: ignore[func-returns-value]
    ),
}  # fmt: skip


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("how", EXCHANGES)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "RMSprop", "Adafactor", "Muon", "LAMB"])
def test_a_parameter_exchanged_in_its_group_is_the_one_that_is_updated(optimizer: str, how: str, tied: bool) -> None:
    old, other = (distgrad.ones(2, 2, requires_grad=True) for _ in range(2))
    o = optim.get(optimizer.lower())([old, other], lr=0.1)
    for p in (old, other):
        p.grad = distgrad.ones(2, 2)
    o.step()
    new = distgrad.ones(2, 2, requires_grad=True)
    if tied:
        new.data = old.data
    fresh = distgrad.full((2, 2), new[0, 0].item(), requires_grad=True)
    fresh.grad = distgrad.ones(2, 2)
    optim.get(optimizer.lower())([fresh], lr=0.1).step()
    EXCHANGES[how](o.param_groups[0], old, new)
    before, others = old.detach().clone(), other.detach().clone()
    for p in (old, other, new):
        p.grad = distgrad.ones(2, 2)
    o.step()
    assert distgrad.allclose(new, fresh)
    assert bool((old == (new if tied else before)).all())
    assert not bool((other == others).any())
