"""Integers and bools have no gradient: they are never recorded, however they are come by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad.autograd import Function
from tests.ops.case import outputs
from tests.ops.test_rows import ROWS, inputs_of

INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "bool")
VALUES = [1.5, -2.5, 3.0]


def leaf(t: Any) -> Any:
    return t.tensor(VALUES, dtype=t.float64, requires_grad=True)


def _written(write: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def made(t: Any, x: Any, kind: Any) -> Any:
        target = t.zeros(3, dtype=kind)
        write(target, x)
        return target

    return made


CASTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "to": lambda t, x, kind: x.to(kind),
    "to other": lambda t, x, kind: x.to(t.ones(1, dtype=kind)),
    "type": lambda t, x, kind: x.type(kind),
    "type_as": lambda t, x, kind: x.type_as(t.ones(1, dtype=kind)),
    "as_tensor": lambda t, x, kind: t.as_tensor(x, dtype=kind),
    "of a product": lambda t, x, kind: (x * 2).to(kind),
    "of complex": lambda t, x, kind: x.to(t.complex128).to(kind),
    "clone": lambda t, x, kind: x.to(kind).clone(),
    "view": lambda t, x, kind: x.to(kind)[1:].reshape(-1),
    "sum": lambda t, x, kind: x.to(kind).sum(),
    "likes": lambda t, x, kind: t.zeros_like(x, dtype=kind),
    "[0] =": _written(lambda target, x: target.__setitem__(0, x[0])),
    "[:] =": _written(lambda target, x: target.__setitem__(slice(None), x)),
    "copy_": _written(lambda target, x: target.copy_(x)),
    "copy_ to a view": _written(lambda target, x: target[1:].copy_(x[1:])),
}


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("name", CASTS)
def test_casts_and_writes(name: str, kind: str) -> None:
    x = leaf(distgrad)
    got = CASTS[name](distgrad, x, getattr(distgrad, kind))
    assert not got.requires_grad
    assert got.is_leaf
    assert got.grad_fn is None


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")  # PyTorch's: a complex number loses its imaginary part
@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("name", CASTS)
def test_casts_and_writes_are_pytorchs(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    if kind == "uint8":
        pytest.skip("what a negative number becomes is undefined in C")
    theirs = CASTS[name](torch, leaf(torch), getattr(torch, kind))
    ours = CASTS[name](distgrad, leaf(distgrad), getattr(distgrad, kind))
    assert not theirs.requires_grad
    assert ours.tolist() == theirs.tolist()


def test_what_is_subtracted_as_an_integer_is_a_constant() -> None:
    x = leaf(distgrad)
    (x - x.long()).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["long", "int", "short", "char", "byte", "bool"])
def test_shorthands(name: str) -> None:
    assert not getattr(leaf(distgrad), name)().requires_grad


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize(
    "reduce",
    [lambda x, k: x.sum(dtype=k), lambda x, k: x.sum(0, dtype=k), lambda x, k: x.cumsum(0, dtype=k),
     lambda x, k: x.prod(dtype=k), lambda x, k: x.prod(0, dtype=k)],
)  # fmt: skip
def test_reductions_to_integers_are_refused_where_a_gradient_is_wanted(reduce: Any, kind: str) -> None:
    x, dtype = leaf(distgrad), getattr(distgrad, kind)
    with pytest.raises(RuntimeError, match="Autograd not support dtype: "):
        reduce(x, dtype)
    assert not reduce(x.detach(), dtype).requires_grad
    with distgrad.no_grad():
        assert not reduce(x, dtype).requires_grad


@pytest.mark.parametrize(
    "answer",
    [lambda x: x == x, lambda x: x != 1, lambda x: x < 1, lambda x: x.isnan(), lambda x: x.argmax(),
     lambda x: x.argmin(0), lambda x: x.max(0)[1], lambda x: x.min(0)[1], lambda x: x.nonzero(),
     lambda x: x.count_nonzero(), lambda x: x.any(), lambda x: x.all(), lambda x: ~(x > 0), lambda x: x.long() << 1,
     lambda x: distgrad.logical_and(x, x), lambda x: distgrad.isclose(x, x), lambda x: x.view(distgrad.int64)],
)  # fmt: skip
def test_answers_about_floats(answer: Any) -> None:
    assert not answer(leaf(distgrad)).requires_grad


def test_the_same_bytes_read_as_integers_are_written_together() -> None:
    y = leaf(distgrad) * 1
    loss = (y * y).sum()
    y.view(distgrad.int64).zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with pytest.raises(RuntimeError, match=r"self.size\(-1\) must be divisible by 2 to view Float as Double"):
        distgrad.ones(3).view(distgrad.float64)


def test_integer_results_of_a_function_of_ones_own() -> None:
    class Rounded(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x.long()

        @staticmethod
        def backward(ctx: Any, g: Any, nothing: Any) -> Any:
            return g * 2

    x = leaf(distgrad)
    double, whole = Rounded.apply(x)
    assert (double.requires_grad, whole.requires_grad) == (True, False)
    (double + whole).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.filterwarnings("ignore")
def test_no_operation_records_integers() -> None:
    for row in ROWS:
        for case in row.cases:
            for out in outputs(row.call(distgrad, *inputs_of(distgrad, case, "float64"))):
                assert out.dtype.category > 1 or not out.requires_grad, row.name
