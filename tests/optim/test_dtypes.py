"""Every element type and several devices, for every elementwise optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from tests.optim.every import each, each_of_pytorchs, make as make_one


@pytest.mark.parametrize("more", [{}, {"maximize": True}], ids=str)
@each
def test_on_several_devices_and_in_several_dtypes(name: str, more: dict[str, Any], device_double) -> None:
    kinds = ["float64", "float32", "float16", "bfloat16", "complex128"]

    def run(device: str) -> list[Any]:
        params = []
        for kind in kinds:
            values = distgrad.tensor([0.5, -1.5, 2.0, 0.25], dtype=getattr(distgrad, kind))
            params += [values.clone().requires_grad_(), values.to(device).clone().requires_grad_()]
        optimizer = make_one(distgrad, name, params, **more)
        for k in range(3):
            for p in params:
                p.grad = (distgrad.arange(4.0) - k - 1.5).to(p.dtype).to(p.device)
            optimizer.step()
        return params

    for i, (a, b) in enumerate(zip(run("cuda:0"), run("cpu"), strict=True)):
        assert a.device.type == ("cuda" if i % 2 else "cpu")
        assert a.detach().cpu().tolist() == b.tolist()


def few_steps(t: Any, name: str, dtype: str, size: float = 1.0) -> tuple[list[Any], Any]:
    rng = np.random.default_rng(3)
    values = rng.standard_normal((2, 50)) + (1j * rng.standard_normal((2, 50)) if "complex" in dtype else 0)
    p = t.tensor(values.tolist(), dtype=getattr(t, dtype)).requires_grad_()
    optimizer = make_one(t, name, [p], lr=0.01)
    for _ in range(4):
        g = rng.standard_normal((2, 50)) + (1j * rng.standard_normal((2, 50)) if "complex" in dtype else 0)
        p.grad = t.tensor((g * size).tolist(), dtype=getattr(t, dtype))
        optimizer.step()
    return p.detach().tolist(), optimizer


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64", "complex128"])
@each_of_pytorchs
def test_every_dtype_ends_where_pytorch_ends(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    a, mine = few_steps(distgrad, name, dtype)
    b, yours = few_steps(torch, name, dtype)
    if dtype in ("float16", "bfloat16"):  # PyTorch rounds after each operation, we after each step
        close = np.isclose(a, b, rtol=0.02, atol=0.02)
        assert close.mean() >= 0.95
        exact, _ = few_steps(distgrad, name, "float64")
        ours, theirs = (np.abs(np.subtract(x, exact)).mean() for x in (a, b))
        assert np.isfinite(ours)
        assert np.isnan(theirs) or ours <= 1.1 * theirs  # PyTorch's Adam divides by zero where float16 loses √v + ε
    else:
        tolerance = 1e-9 if dtype == "complex128" else 1e-5
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    ((entry,), (other,)) = mine.state_dict()["state"].values(), yours.state_dict()["state"].values()
    assert {k: str(v.dtype) for k, v in entry.items()} == {k: str(v.dtype) for k, v in other.items()}


@each
def test_half_precision_is_computed_in_single(name: str) -> None:
    """A gradient whose square float16 cannot hold, and one whose square it would lose, make steps, not infinities."""
    for size in (300.0, 1e-3):
        p, _ = few_steps(distgrad, name, "float16", size)
        exact, _ = few_steps(distgrad, name, "float64", size)
        assert np.isfinite(p).all()
        np.testing.assert_allclose(np.median(np.abs(np.subtract(p, exact))), 0, atol=0.05)
