"""Broadcasting over shapes that hypothesis thinks of: gradients are those of operands repeated in full, summed back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import distgrad

OPERATIONS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (y * y + 1),
    "pow": lambda x, y: (x * x + 1) ** y,
    "maximum": distgrad.maximum,
    "where": lambda x, y: distgrad.where(x > y, x, y),
    "atan2": lambda x, y: distgrad.atan2(x, y * y + 1),
}


def summed_back(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``g`` summed to ``shape``, one axis at a time."""
    while g.ndim > len(shape):
        g = g.sum(0)
    for axis, size in enumerate(shape):
        if size == 1 and g.shape[axis] != 1:
            g = g.sum(axis, keepdims=True)
    return g


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=40)
@given(data=st.data())
def test_gradients_of_broadcast_operands(name: str, data: Any) -> None:
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = (np.asarray(rng.standard_normal(s)) for s in shapes.input_shapes)
    op = OPERATIONS[name]

    def gradients(*arrays: np.ndarray) -> tuple[Any, list[np.ndarray]]:
        x, y = (distgrad.tensor(v, requires_grad=True) for v in arrays)
        out = op(x, y)
        weights = distgrad.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))
        return out, [g.numpy() for g in distgrad.autograd.grad(out, (x, y), weights)]

    out, small = gradients(a, b)
    full, large = gradients(*(np.array(np.broadcast_to(v, shapes.result_shape)) for v in (a, b)))
    assert out.shape == shapes.result_shape
    np.testing.assert_array_equal(out.numpy(force=True), full.numpy(force=True))
    for g, wide, v in zip(small, large, (a, b), strict=True):
        assert g.shape == v.shape
        np.testing.assert_allclose(g, summed_back(wide, v.shape), rtol=1e-12, atol=1e-12)


@settings(max_examples=40)
@given(data=st.data())
def test_products_of_broadcast_batches(data: Any) -> None:
    shapes = data.draw(
        mutually_broadcastable_shapes(signature="(n,m),(m,p)->(n,p)", max_dims=2, min_side=1, max_side=3)
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = (rng.standard_normal(s) for s in shapes.input_shapes)
    x, y = (distgrad.tensor(v, requires_grad=True) for v in (a, b))
    out = x @ y
    assert out.shape == shapes.result_shape
    g = rng.standard_normal(shapes.result_shape)
    gx, gy = distgrad.autograd.grad(out, (x, y), distgrad.tensor(g))
    np.testing.assert_allclose(
        gx.numpy(), summed_back(np.einsum("...np,...mp->...nm", g, b), a.shape), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        gy.numpy(), summed_back(np.einsum("...nm,...np->...mp", a, g), b.shape), rtol=1e-12, atol=1e-12
    )
