"""What public training programs do, with PyTorch's answers: a table of calls and what they give."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad

# Answers: (dtype, values), or the class of an error.
CALLS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "dtype=float": (lambda t: t.zeros(2, dtype=float), ("float64", [0, 0])),
    "dtype=int": (lambda t: t.ones(2, dtype=int), ("int64", [1, 1])),
    "to(float)": (lambda t: t.ones(2).to(float), ("float64", [1, 1])),
    "Tensor(float64 array)": (lambda t: t.Tensor(np.array([1.0, 2.0])), ("float32", [1, 2])),
    "Tensor(int64 array)": (lambda t: t.Tensor(np.array([1, 2])), ("float32", [1, 2])),
    "tensor * 0-d array": (lambda t: t.ones(2) * np.array(2.0), ("float64", [2, 2])),
    "tensor * NumPy number": (lambda t: t.ones(2) * np.float64(2), ("float32", [2, 2])),
    "NumPy number * tensor": (lambda t: np.float64(2) * t.ones(2), ("float32", [2, 2])),
    "NumPy number / tensor": (lambda t: np.float64(1) / (t.ones(2) * 2), ("float32", [0.5, 0.5])),
    "NumPy number ** tensor": (lambda t: np.float64(2) ** (t.ones(2) * 3), ("float32", [8, 8])),
    "tensor > NumPy number": (lambda t: t.ones(2) > np.float64(0.5), ("bool", [True, True])),
    "np.sqrt(tensor)": (lambda t: np.sqrt(t.ones(2) * 4), ("float32", [2, 2])),
    "np.sqrt(0-d tensor)": (lambda t: np.sqrt(t.tensor(4.0)), ("float32", 2)),
    "np.maximum(tensor, 2)": (lambda t: np.maximum(t.ones(2), 2), ("float32", [2, 2])),
    "np.modf(tensor)": (lambda t: np.modf(t.ones(2) * 1.5)[0], ("float32", [0.5, 0.5])),
    "np.sqrt(recorded)": (lambda t: np.sqrt(t.ones(2, requires_grad=True)), RuntimeError),
    "[0] * tensor": (lambda t: t.tensor([0] * t.tensor(2)), ("int64", [0, 0])),
    "tensor * [1, 2]": (lambda t: t.ones(2) * [1, 2], TypeError),
    "a product of two types": (lambda t: t.mm(t.ones(2, 2), t.ones(2, 2, dtype=t.float64)), RuntimeError),
    "1 - mask": (lambda t: 1 - (t.ones(2) > 0), RuntimeError),
    "tensors in a list": (lambda t: t.tensor([t.tensor([1.0]), t.tensor([2.0])]), ("float32", [1, 2])),
    "swapaxes": (lambda t: t.swapaxes(t.ones(1, 2), axis0=0, axis1=1), ("float32", [[1], [1]])),
    "gather": (lambda t: t.gather(t.ones(1), 0, t.tensor([0]), sparse_grad=False), ("float32", [1])),
    "asarray(copy=True)": (lambda t: t.asarray([1, 2], copy=True), ("int64", [1, 2])),
    "layer_norm(x, 3)": (lambda t: t.nn.functional.layer_norm(t.ones(2, 3), 3), TypeError),
    "backward twice, a product": (lambda t: _twice((t.ones(2, requires_grad=True) * 2).sum()), RuntimeError),
    "backward twice, a sum": (lambda t: _twice((t.ones(2, requires_grad=True) + 2).sum()), ("float32", 6)),
    "grad(only_inputs=True)": (lambda t: _slope(t, only_inputs=True), ("float32", [2, 2])),
    "sparse @ dense": (lambda t: _sparse(t) @ t.ones(2, 1), ("float32", [[1], [2]])),
    "sparse.mm": (lambda t: t.sparse.mm(_sparse(t), t.ones(2, 1)), ("float32", [[1], [2]])),
    "spmm": (lambda t: t.spmm(_sparse(t), t.ones(2, 1)), ("float32", [[1], [2]])),
    "sparse @ vector": (lambda t: _sparse(t) @ t.ones(2), ("float32", [1, 2])),
    "sparse @ dense, its gradient": (lambda t: _through(t), ("float32", [[2], [1]])),
    "spmm, sizes": (lambda t: t.spmm(_sparse(t), t.ones(3, 1)), RuntimeError),
    "clone keeps strides": (lambda t: t.tensor(t.ones(2, 3).t().clone().stride()), ("int64", [1, 3])),
    "zeros_like keeps strides": (lambda t: t.tensor(t.zeros_like(t.ones(2, 3).t()).stride()), ("int64", [1, 3])),
    "the first version numbers": (lambda t: t.tensor(_version(t) >= (1, 0)), ("bool", True)),
    "device names": (lambda t: t.tensor(str(t.device("mps")) == "mps"), ("bool", True)),
}  # fmt: skip


def _twice(total: Any) -> Any:
    total.backward()
    total.backward()
    return total


def _slope(t: Any, **options: Any) -> Any:
    x = t.ones(2, requires_grad=True)
    return t.autograd.grad((x * x).sum(), x, **options)[0]


def _sparse(t: Any) -> Any:
    return t.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2))


def _through(t: Any) -> Any:
    x = t.ones(2, 1, requires_grad=True)
    (_sparse(t) @ x).sum().backward()
    return x.grad


def _version(t: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in t.__version__.split("+")[0].split(".")[:2])


def _answer(t: Any, call: Callable[[Any], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            out = call(t)
        except Exception as e:
            return type(e)
    return str(out.dtype).removeprefix("torch."), out.tolist()


@pytest.mark.parametrize("name", CALLS)
def test_the_answer_is_pytorchs(name: str) -> None:
    call, expected = CALLS[name]
    found = _answer(distgrad, call)
    assert found == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", CALLS)
def test_the_table_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    call, expected = CALLS[name]
    assert _answer(torch, call) == expected


def test_no_device_is_an_assertion_as_in_pytorch() -> None:
    for name in ("mps", "xpu"):
        with pytest.raises(AssertionError, match="cpu and cuda"):
            distgrad.ones(1, device=name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "float16"])
def test_a_sparse_matrix_times_a_dense_one(dtype: str) -> None:
    kind = getattr(distgrad, dtype)
    values = distgrad.tensor([1.0, 2.0, 4.0]).to(kind)
    matrix = distgrad.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], values, (2, 3))
    x = distgrad.arange(6.0).reshape(3, 2).to(kind).requires_grad_()
    out = matrix @ x
    assert out.dtype is kind
    assert out.tolist() == (matrix.to_dense() @ x).tolist()
    weights = distgrad.arange(4.0).reshape(2, 2).to(kind)
    out.backward(weights)
    assert x.grad.tolist() == (matrix.to_dense().mH @ weights).tolist()
