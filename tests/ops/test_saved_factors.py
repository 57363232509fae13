"""Of a product's operands each is saved for the other's gradient: where that is not wanted, it may be overwritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad import nn

F = nn.functional

PRODUCTS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...], tuple[int, ...]]] = {
    "mm": (distgrad.mm, (2, 2), (2, 2)),
    "@": (lambda a, b: a @ b, (3, 2, 2), (2,)),
    "@, from the left": (lambda a, b: a @ b, (2,), (2, 2)),
    "bmm": (distgrad.bmm, (3, 2, 2), (3, 2, 2)),
    "mv": (distgrad.mv, (2, 2), (2,)),
    "dot": (distgrad.dot, (2,), (2,)),
    "addmm": (lambda a, b: distgrad.addmm(distgrad.ones(2, 2), a, b, alpha=2), (2, 2), (2, 2)),
    "addmv": (lambda a, b: distgrad.addmv(distgrad.ones(2), a, b), (2, 2), (2,)),
    "baddbmm": (lambda a, b: distgrad.baddbmm(distgrad.ones(3, 2, 2), a, b), (3, 2, 2), (3, 2, 2)),
    "inner": (distgrad.inner, (2, 2), (2, 2)),
    "tensordot": (lambda a, b: distgrad.tensordot(a, b, 1), (2, 2), (2, 2)),
    "einsum": (lambda a, b: distgrad.einsum("bij,bjk->bik", a, b), (3, 2, 2), (3, 2, 2)),
    "linear": (F.linear, (3, 2), (4, 2)),
    "linear with a bias": (lambda a, b: F.linear(a, b, distgrad.ones(4)), (2, 3, 2), (4, 2)),
    "linear of one output": (F.linear, (2, 3, 2), (2,)),
    "linear of three dimensions and one output": (F.linear, (2, 2, 2), (2,)),
}


def numbers(shape: tuple[int, ...], start: float) -> Any:
    n = 1
    for d in shape:
        n *= d
    return (distgrad.arange(float(n)) + start).reshape(shape)


def gradients(name: str, wanted: str, written: str, twice: bool) -> Any:
    product, first, second = PRODUCTS[name]
    leaves = {"a": numbers(first, 1.0), "b": numbers(second, 2.0)}
    for w in wanted:
        leaves[w].requires_grad_()
    a, b = (leaves[w] * 1 for w in "ab")
    y = product(a, b)
    for w, x in (("a", a), ("b", b)):
        if w in written:
            x.detach().mul_(2)
    weights = numbers(tuple(y.shape), 1.0)
    return [
        g.tolist() for g in distgrad.autograd.grad((y * weights).sum(), [leaves[w] for w in wanted], create_graph=twice)
    ]


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_only_what_a_wanted_gradient_reads_is_watched(name: str, twice: bool) -> None:
    right = {w: gradients(name, w, "", twice) for w in "ab"}
    assert gradients(name, "ab", "", twice) == right["a"] + right["b"]
    for w in "ab":
        other = "ba"["ab".index(w)]
        assert gradients(name, w, w, twice) == right[w]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            gradients(name, w, other, twice)


def test_a_first_layer_may_step_and_go_back_again() -> None:
    layer = nn.Linear(2, 1)
    optimizer = distgrad.optim.SGD(layer.parameters(), lr=0.1)
    total = layer(distgrad.ones(3, 2)).sum()
    total.backward(retain_graph=True)
    optimizer.step()
    total.backward()
    assert layer.weight.grad.tolist() == [[6.0, 6.0]]


def test_a_weight_of_one_dimension_gives_one_output() -> None:
    for shape in ((2,), (3, 2), (2, 3, 2), (2, 2, 2)):
        x, w = numbers(shape, 1.0).requires_grad_(), distgrad.tensor([10.0, 1.0], requires_grad=True)
        y = F.linear(x, w)
        assert y.shape == shape[:-1]
        y.sum().backward()
        assert bool((x.grad == w.detach()).all())
        assert w.grad.tolist() == x.detach().reshape(-1, 2).sum(0).tolist()
