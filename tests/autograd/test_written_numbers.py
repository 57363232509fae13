"""Writes through a view of a tensor of no dimensions, whose gradients NumPy makes scalars: the gradient sees each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad

# Each doubles what it is given, a view of a number.
DOUBLING: dict[str, Callable[[Any], Any]] = {
    "[None]": lambda y: y[None].mul_(2),
    "view": lambda y: y.view(1)[0].mul_(2),
    "[...]": lambda y: y[...].mul_(2),
    "unsqueeze": lambda y: y.unsqueeze(0).add_(y.detach()),
    "reshape": lambda y: y.reshape(1, 1).mul_(2),
    "squeeze": lambda y: y.squeeze().mul_(2),
    "T": lambda y: y.T.mul_(2),
    "transpose": lambda y: y.transpose(0, -1).mul_(2),
    "expand": lambda y: y.expand(1).mul_(2),
    "select of a view": lambda y: y[None, None][0][0].mul_(2),
}


@pytest.mark.parametrize("kind", [distgrad.float32, distgrad.float64, distgrad.float16, distgrad.bfloat16])
@pytest.mark.parametrize("name", DOUBLING)
def test_the_gradient_sees_the_write(name: str, kind: Any) -> None:
    p = distgrad.tensor(2.0, dtype=kind, requires_grad=True)
    y = p * 3
    factor = 1 if name == "unsqueeze" else 2  # what is added there is a constant
    DOUBLING[name](y)
    assert y.item() == 12.0
    y.backward()
    assert p.grad.item() == 3.0 * factor


@pytest.mark.parametrize("name", DOUBLING)
def test_and_that_of_the_gradient(name: str) -> None:
    p = distgrad.tensor(2.0, requires_grad=True)
    y = p * p
    DOUBLING[name](y)
    factor = 1 if name == "unsqueeze" else 2
    (g,) = distgrad.autograd.grad(y, p, create_graph=True)
    (h,) = distgrad.autograd.grad(g, p)
    assert (g.item(), h.item()) == (4.0 * factor, 2.0 * factor)


def test_what_is_overwritten_has_no_gradient() -> None:
    x = distgrad.tensor([1.0, 2.0], requires_grad=True)
    total = (x * x).sum()
    total.reshape(1).copy_(x[:1])
    total.backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_a_nonlinear_write_is_differentiated_twice() -> None:
    """exp(2p): 2 exp(2p), 4 exp(2p)."""
    p = distgrad.tensor(0.0, requires_grad=True)
    y = p * 2
    y[None].exp_()
    (g,) = distgrad.autograd.grad(y, p, create_graph=True)
    (h,) = distgrad.autograd.grad(g, p)
    assert (g.item(), h.item()) == (2.0, 4.0)
