"""Arguments by PyTorch's names, and by those of NumPy's that PyTorch takes, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad

UNARY = [
    "abs", "acos", "ceil", "conj_physical", "cos", "digamma", "erf", "erfinv", "exp", "floor", "isnan", "lgamma", "log",
    "logical_not", "neg", "reciprocal", "relu", "round", "rsqrt", "sgn", "sigmoid", "sign", "signbit", "sin", "sinc",
    "sqrt", "square", "tanh", "trunc",
]  # fmt: skip
BINARY = [
    "add", "atan2", "div", "eq", "fmax", "fmin", "fmod", "ge", "hypot", "logaddexp", "logical_and", "lt", "maximum",
    "mul", "remainder", "sub", "xlogy",
]  # fmt: skip
CALLS: dict[str, Callable[[Any], Any]] = {
    "pow": lambda t: t.pow(input=t.tensor([2.0]), exponent=t.tensor([3.0])),
    "heaviside": lambda t: t.heaviside(input=t.tensor([0.0]), values=t.tensor([3.0])),
    "matmul": lambda t: t.matmul(input=t.ones(2), other=t.ones(2)),
    "mm": lambda t: t.mm(input=t.ones(2, 2), mat2=t.ones(2, 2)),
    "mv": lambda t: t.mv(input=t.ones(2, 2), vec=t.ones(2)),
    "bmm": lambda t: t.bmm(input=t.ones(1, 2, 2), mat2=t.ones(1, 2, 2)),
    "dot": lambda t: t.dot(input=t.ones(2), tensor=t.ones(2)),
    "round": lambda t: t.round(input=t.tensor([1.25]), decimals=1),
    "broadcast_to": lambda t: t.broadcast_to(input=t.ones(2), size=(2, 2)),
    "axis": lambda t: t.cumsum(t.ones(2), axis=0),
    "keepdims": lambda t: t.amax(t.ones(2, 3), axis=1, keepdims=True),
    "x": lambda t: t.linalg.norm(x=t.ones(4)),
    "of a method": lambda t: t.ones(2, 2).softmax(axis=0),
}


@pytest.mark.parametrize("name", UNARY)
def test_of_one(name: str) -> None:
    x = distgrad.tensor([0.5])
    assert getattr(distgrad, name)(input=x).tolist() == getattr(distgrad, name)(x).tolist()


@pytest.mark.parametrize("name", BINARY)
def test_of_two(name: str) -> None:
    x, y, call = distgrad.tensor([0.5]), distgrad.tensor([0.25]), getattr(distgrad, name)
    expected = call(x, y).tolist()
    assert call(input=x, other=y).tolist() == call(x, other=y).tolist() == expected
    assert getattr(x, name)(other=y).tolist() == expected


def test_an_unknown_name_is_still_refused() -> None:
    for call in (distgrad.exp, distgrad.matmul, distgrad.round, distgrad.cumsum):
        with pytest.raises(TypeError):
            call(nothing=distgrad.ones(1))
    with pytest.raises(TypeError, match="axis"):
        distgrad.cumsum(distgrad.ones(1), dim=0, axis=0)


@pytest.mark.parametrize("name", CALLS)
def test_named_arguments(name: str) -> None:
    assert CALLS[name](distgrad) is not None


@pytest.mark.torch
@pytest.mark.parametrize("name", CALLS)
def test_named_arguments_give_what_pytorch_does(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert CALLS[name](distgrad).tolist() == CALLS[name](torch).tolist()
