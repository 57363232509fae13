"""The hot path is written twice, straightened and in general: here the two are held together over every operation.

Also the one order in which leaves are given their gradients, and how long a backward pass holds what it has computed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd.primitive import REGISTRY

Made = tuple[list[Any], list[Any]]


def leaves(t: Any, n: int, *shape: int) -> list[Any]:
    """Leaves of distinct values."""
    size = int(np.prod(shape))
    return [t.tensor((np.arange(1.0, size + 1) / (i + 3)).reshape(shape), requires_grad=True) for i in range(n)]


def _shared(t: Any) -> Made:
    x, y = leaves(t, 2, 3)
    a = x * y
    b = a.exp() + a
    return [x, y], [(b * a).sum() + (b * x).sum()]


def _several_outputs(t: Any) -> Made:
    x, y = leaves(t, 2, 2, 3)
    first, second = t.stack((x, y)).unbind()
    top, bottom = (first * 2).split(1)
    return [x, y], [(second * top).sum(), bottom.sum()]


def _several_roots(t: Any) -> Made:
    x, y, z = leaves(t, 3, 3)
    a = x * y
    return [x, y, z], [x, a, a * z, a, z]


def _written(t: Any) -> Made:
    x, y = leaves(t, 2, 3)
    a = x * 1.0
    a.mul_(y)
    b = a + y
    a[1:] = y[:2]
    return [x, y], [a.exp().sum(), b]


def _versions(t: Any) -> Made:
    """Operations on inputs that were written before: their versions are not 0."""
    x, y = leaves(t, 2, 2, 3)
    with t.no_grad():
        x.add_(1.0)
        y.mul_(2.0)
    view = y.view(3, 2)
    return [x, y], [x.sin(), x * y, x.exp(), x @ view, t.nn.functional.mse_loss(x, y), x.t(), t.lerp(x, y, 0.5)]


def _numbers(t: Any) -> Made:
    """Numbers of all kinds beside tensors, in both places."""
    (x,) = leaves(t, 1, 3)
    (h,) = (leaf.detach().half().requires_grad_() for leaf in leaves(t, 1, 3))
    outs = [f(a, k) for a in (x, h) for k in (2, 1.7, True, np.float32(0.3), np.float64(0.3)) for f in (_times, _less)]
    return [x, h], [*outs, t.lerp(x, x * 2, 0.3), t.sub(x, 3, alpha=2), t.where(x > 0.5, h, 0.1), t.clamp(h, 0.1, 0.7)]


def _times(a: Any, k: Any) -> Any:
    return a * k


def _less(a: Any, k: Any) -> Any:
    return a / k if k is True else a - k if isinstance(k, np.generic) else k - a


def _unwanted(t: Any) -> Made:
    """Each of two inputs wants no gradient, or both."""
    x, y = leaves(t, 2, 3)
    fixed = y.detach()
    return [x, y], [x * fixed, fixed * x, x / fixed, fixed / x, fixed * fixed, x.pow(fixed), fixed.pow(x), x + fixed]


def _layers(t: Any) -> Made:
    t.manual_seed(0)
    model = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.ReLU(), t.nn.Linear(4, 2, bias=False), t.nn.Linear(2, 1))
    x = leaves(t, 1, 5, 3)[0].detach().float().requires_grad_()
    return [*model.parameters(), x], [t.nn.functional.mse_loss(model(x), t.zeros(5, 1))]


def _affine(t: Any) -> Made:
    F = t.nn.functional
    (x, y, w), (b,) = leaves(t, 3, 2, 3), leaves(t, 1, 2)
    return [x, y, w, b], [F.linear(x, w, b), F.linear(y, w), F.linear(x[0], w, b), F.linear(y[None], w[0]), x @ w.t()]


GRAPHS: dict[str, Callable[[Any], Made]] = {
    "shared": _shared,
    "several outputs": _several_outputs,
    "several roots": _several_roots,
    "written": _written,
    "versions": _versions,
    "numbers": _numbers,
    "unwanted": _unwanted,
    "layers": _layers,
    "affine": _affine,
}


@pytest.mark.slow
def test_every_operation_leaves_the_same_by_the_fast_and_by_the_general_way() -> None:
    """Bits of results and gradients, fields of nodes, the order of hooks, what is freed, who still refers to inputs."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.autograd.both_ways"]
    ways = [
        subprocess.Popen([*command, *how], cwd=root, stdout=subprocess.PIPE, text=True) for how in ((), ("general",))
    ]
    try:
        fast, general = (json.loads(way.communicate(timeout=300)[0]) for way in ways)
    finally:
        for way in ways:
            way.kill()
    assert fast.keys() == general.keys()
    differing = [
        f"{name}, {aspect}:\n  fast    {fast[name].get(aspect)}\n  general {general[name].get(aspect)}"
        for name in fast
        for aspect in fast[name].keys() | general[name].keys()
        if fast[name].get(aspect) != general[name].get(aspect)
    ]
    assert not differing, f"{len(differing)} differ:\n" + "\n".join(differing[:12])
    for name, found in fast.items():
        for aspect, what in found.items():
            if aspect.endswith(": alive"):
                assert not any(what), f"{name}: nodes are left behind"


def order(make: Callable[[Any], Any], how: str) -> list[str]:
    """The names of leaves in the order in which they are given gradients."""
    log: list[str] = []

    class Leaves:
        def __getattr__(self, name: str) -> Any:
            shape = {"w": (2, 3), "b": (2,), "v": (1, 2), "c": (1,)}.get(name, (4, 3) if name == "x" else (3,))
            leaf = distgrad.full(shape, 0.5, requires_grad=True)
            if how == "grad":
                leaf.register_hook(lambda g: log.append(name))
            else:
                leaf.register_post_accumulate_grad_hook(lambda t: log.append(name))
            made.append(leaf)
            setattr(self, name, leaf)
            return leaf

    made: list[Any] = []
    outs = make(Leaves())
    outs = outs if isinstance(outs, list) else [outs.sum()]
    if how == "grad":
        distgrad.autograd.grad(outs, made)
    else:
        given = {"backward": {}, "create_graph": {"create_graph": True}, "inputs": {"inputs": made[::-1]}}[how]
        distgrad.autograd.backward(outs, **given)
    return log


# Where operands are made in the order in which they are used, this is PyTorch's order.
ORDERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "product": (lambda p: p.p * p.q, "p q"),
    "three": (lambda p: distgrad.lerp(p.p, p.q, p.r), "p q r"),
    "branches": (lambda p: p.p * 2 + p.q * 3, "q p"),
    "products": (lambda p: (p.p * p.q) + (p.r * p.s), "r s p q"),
    "nested": (lambda p: (p.p + p.q * p.r) * p.s, "s p q r"),
    "nested behind": (lambda p: p.s * (p.p + p.q * p.r), "s p q r"),
    "several roots": (lambda p: [(p.p * 2).sum(), (p.q * 2).sum()], "q p"),
    "linear": (lambda p: distgrad.nn.functional.linear(p.x, p.w, p.b), "b x w"),
    "linear without bias": (lambda p: distgrad.nn.functional.linear(p.x, p.w), "x w"),
    "two layers": (
        lambda p: distgrad.nn.functional.linear(distgrad.nn.functional.linear(p.x, p.w, p.b).relu(), p.v, p.c),
        "c v b x w",
    ),
    "several outputs": (lambda p: [a.sum() for a in distgrad.stack((p.p, p.q)).unbind()], "p q"),
}


@pytest.mark.parametrize("how", ["backward", "create_graph", "inputs", "grad"])
@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
def test_leaves_are_given_their_gradients_in_one_order(name: str, how: str) -> None:
    make, expected = ORDERS[name]
    assert order(make, how) == expected.split()


@pytest.mark.torch
@pytest.mark.parametrize("name", ORDERS)
def test_the_order_is_pytorchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    make, expected = ORDERS[name]
    monkeypatch.setattr(sys.modules[__name__], "distgrad", torch)
    assert order(make, "backward") == expected.split()


def test_an_input_asked_for_twice_is_given_its_gradient_once() -> None:
    x = distgrad.tensor([2.0], requires_grad=True)
    y = x * 3
    (y * y).sum().backward(inputs=[x, x, y, y])
    assert (x.grad.tolist(), y.grad.tolist()) == ([36.0], [12.0])


@pytest.mark.parametrize("how", ["backward", "create_graph"])
def test_a_pass_lets_go_of_gradients_that_it_has_passed_on(how: str) -> None:
    """Of a chain of 40 operations that save nothing, a few gradients are alive at a time."""
    x = distgrad.zeros(50_000, dtype=distgrad.float64, requires_grad=True)
    y = x
    for _ in range(40):
        y = -y
    start = distgrad.ones_like(y)
    tracemalloc.start()
    try:
        if how == "backward":
            y.backward(start)
        else:
            distgrad.autograd.grad(y, x, start)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * start.nbytes


def test_the_comparison_reaches_the_straightened_callers() -> None:
    """It would not notice that one is used no more."""
    makers = {"unary_call": 45, "binary_call": 25, "view_call": 10, "fused_call": 10}
    found = [p.call.__code__.co_qualname.split(".")[0] for p in REGISTRY.values()]
    for maker, least in makers.items():
        assert found.count(maker) >= least, maker
