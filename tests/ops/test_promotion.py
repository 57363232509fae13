"""Dtypes of results: PyTorch's promotion, which looks at the operands' ranks and kinds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import distgrad

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
NUMBERS = [True, 3, 2.5, 1 + 2j]
BINARY = {
    "add": lambda t, x, y: x + y,
    "mul": lambda t, x, y: x * y,
    "div": lambda t, x, y: x / y,
    "pow": lambda t, x, y: x**y,
    "eq": lambda t, x, y: x == y,
    "where": lambda t, x, y: t.where(t.tensor([True, False]), x, y),
}
UNARY = [
    "abs",
    "exp",
    "neg",
    "sqrt",
    "floor",
    "sign",
    "sigmoid",
    "sum",
    "mean",
    "cumsum",
    "prod",
    "amax",
    "square",
    "var",
    "any",
    "relu",
]


def operands(t: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [(repr(n), n) for n in NUMBERS]
    for name in DTYPES:
        found.append((name, t.ones(2, dtype=getattr(t, name))))
        found.append((name + " 0-d", t.ones((), dtype=getattr(t, name))))
    return found


def outcome(compute: Any) -> str:
    """The dtype of a result, or "error"."""
    try:
        return str(compute().dtype)
    except (RuntimeError, TypeError, NotImplementedError):
        return "error"


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")
@pytest.mark.parametrize("name", BINARY)
def test_two_operands_promote_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    op, wrong = BINARY[name], []
    for (label, a), (other, b), (_, ta), (_, tb) in (
        (x, y, tx, ty)
        for (x, tx), (y, ty) in itertools.product(zip(operands(distgrad), operands(torch), strict=True), repeat=2)
    ):
        if not hasattr(a, "dtype") and not hasattr(b, "dtype"):
            continue
        ours, theirs = outcome(lambda: op(distgrad, a, b)), outcome(lambda: op(torch, ta, tb))  # noqa: B023 - called at once
        if ours != theirs and theirs not in ("error", "torch.complex32"):  # a type that distgrad does not have
            wrong.append(f"{name}({label}, {other}): {ours}, not {theirs}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.torch
@pytest.mark.parametrize("name", UNARY)
def test_one_operand_gives_the_dtype_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    args = (0,) if name == "cumsum" else ()
    for dtype in DTYPES:
        ours = outcome(lambda: getattr(distgrad, name)(distgrad.ones(2, dtype=getattr(distgrad, dtype)), *args))  # noqa: B023
        theirs = outcome(lambda: getattr(torch, name)(torch.ones(2, dtype=getattr(torch, dtype)), *args))  # noqa: B023
        if theirs != "error":
            assert ours == theirs, dtype


@pytest.mark.parametrize(
    ("result", "dtype"),
    [
        (lambda t: t.tensor([1, 2]) + 1.5, "float32"),
        (lambda t: t.tensor([1, 2]) / 2, "float32"),
        (lambda t: t.tensor([1, 2]).sqrt(), "float32"),
        (lambda t: t.tensor([1.0]) + t.tensor(1.0, dtype=t.float64), "float32"),
        (lambda t: t.tensor([1.0]) + t.tensor([1.0], dtype=t.float64), "float64"),
        (lambda t: t.tensor([1], dtype=t.int8) + 1000, "int8"),
        (lambda t: t.tensor([1], dtype=t.int8) + t.tensor([1], dtype=t.uint8), "int16"),
        (lambda t: t.tensor([1], dtype=t.float16) + t.tensor([1]), "float16"),
        (lambda t: t.tensor([1], dtype=t.float16) + t.tensor([1], dtype=t.bfloat16), "float32"),
        (lambda t: t.tensor([1], dtype=t.bfloat16) * 2.5, "bfloat16"),
        (lambda t: t.tensor([1.0]) * 1j, "complex64"),
        (lambda t: t.tensor([1.0], dtype=t.float64) * 1j, "complex128"),
        (lambda t: t.tensor([True, True]).sum(), "int64"),
        (lambda t: t.tensor([1], dtype=t.int8).sum(), "int64"),
        (lambda t: t.tensor([1.0, 2.0]) > 1, "bool"),
        (lambda t: t.tensor([3 + 4j]).abs(), "float32"),
    ],
)
def test_the_documented_rules(result: Any, dtype: str) -> None:
    assert result(distgrad).dtype is getattr(distgrad, dtype)


def test_half_precisions_are_added_up_in_float32() -> None:
    for dtype in (distgrad.float16, distgrad.bfloat16):
        x = distgrad.full((10000,), 0.25, dtype=dtype, requires_grad=True)
        columns = distgrad.full((10000, 2), 0.25, dtype=dtype)
        wanted = distgrad.tensor(2500.0).to(dtype).item()
        assert x.sum().item() == wanted
        assert columns.sum(0).tolist() == [wanted, wanted]
        assert x.mean().item() == 0.25
        assert distgrad.cumsum(x, 0)[-1].item() == wanted
        b = distgrad.zeros(2, dtype=dtype, requires_grad=True)
        (columns + b).sum().backward()  # the sum over the broadcast axis
        assert b.grad.tolist() == [distgrad.tensor(10000.0).to(dtype).item()] * 2


def test_gradients_have_the_dtype_of_their_tensor() -> None:
    for low, high in (("float16", "float32"), ("float32", "float64"), ("float64", "complex128")):
        a = distgrad.ones(3, dtype=getattr(distgrad, low), requires_grad=True)
        b = distgrad.ones(3, dtype=getattr(distgrad, high), requires_grad=True)
        out = a * b
        assert out.dtype is b.dtype
        out.backward(distgrad.ones_like(out))
        assert (a.grad.dtype, b.grad.dtype) == (a.dtype, b.dtype)


def test_errors_say_what_was_given() -> None:
    x = distgrad.tensor([1, 2])
    with pytest.raises(RuntimeError, match=r"mean\(\): could not infer output dtype.*Long"):
        x.mean()
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        x += 0.5
    with pytest.raises(
        RuntimeError,
        match=r"The size of tensor a \(2\) must match the size of tensor b \(3\) at non-singleton dimension 0",
    ):
        x + distgrad.tensor([1, 2, 3])
    with pytest.raises(RuntimeError, match=r"tensor a \(3\) .* tensor b \(2\) .* dimension 1 .*\[4, 3\] and \[2\]"):
        distgrad.where(distgrad.ones(4, 3) > 0, distgrad.ones(4, 3), distgrad.ones(2))
    with pytest.raises(TypeError, match="must be Tensor or Number, not str"):
        x + "1"
    with pytest.raises(RuntimeError, match="Integers to negative integer powers"):
        x**-1
    with pytest.raises(RuntimeError, match="bool tensor is not supported"):
        (x > 1).neg()
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied \(2x3 and 2x3\)"):
        distgrad.ones(2, 3) @ distgrad.ones(2, 3)
    with pytest.raises(RuntimeError, match="expected m1 and m2 to have the same dtype"):
        distgrad.ones(2, 2) @ distgrad.ones(2, 2, dtype=distgrad.float64)
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)"):
        x.sum(1)
    with pytest.raises(RuntimeError, match=r"shape '\[3, -1\]' is invalid for input of size 2"):
        x.reshape(3, -1)


@pytest.mark.torch
def test_the_promotion_table_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(DTYPES, repeat=2):
        theirs = torch.promote_types(getattr(torch, a), getattr(torch, b))
        assert str(distgrad.promote_types(getattr(distgrad, a), getattr(distgrad, b))) == str(theirs), (a, b)


def test_numpy_arrays_and_scalars_are_operands() -> None:
    x = distgrad.ones(2, 2)
    assert ((x * np.float32(2)).dtype, (np.float64(2) * x).dtype) == (distgrad.float32, distgrad.float32)
    assert isinstance(np.ones((2, 2), np.float32) + x, distgrad.Tensor)
