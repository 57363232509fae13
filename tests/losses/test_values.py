"""Values and derivatives of the losses: finite differences, PyTorch, half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd import gradcheck, gradgradcheck
from tests.losses.cases import BROADCASTS, BY_ELEMENTS, CASES, inputs, made

pytestmark = [pytest.mark.filterwarnings(BROADCASTS), pytest.mark.filterwarnings(BY_ELEMENTS)]

each_reduction = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
each_case = pytest.mark.parametrize("case", CASES)


@each_reduction
@each_case
def test_first_and_second_derivatives(case: str, reduction: str) -> None:
    name, options, *arrays = CASES[case]
    loss = made(distgrad, name, options, reduction)
    given = inputs(distgrad, name, arrays)
    assert gradcheck(loss, given)
    assert gradgradcheck(loss, given)


def outcome(library: Any, case: str, reduction: str, dtype: str, upstream: np.ndarray) -> tuple[Any, ...]:
    """Its dtype, shape, values and gradients."""
    name, options, *arrays = CASES[case]
    given = inputs(library, name, arrays, dtype)
    loss = made(library, name, options, reduction).to(getattr(library, dtype))
    out = loss(*given)
    start = np.broadcast_to(upstream[: max(out.numel(), 1)][: out.numel()].reshape(tuple(out.shape)), tuple(out.shape))
    out.backward(library.tensor(start.copy()).to(out.dtype))
    grads = [t.grad for t in given if getattr(t, "requires_grad", False)]
    wide = [None if g is None else g.double().numpy() for g in grads]
    return str(out.dtype), tuple(out.shape), out.detach().double().numpy(), wide


@pytest.mark.torch
@each_reduction
@each_case
def test_values_and_gradients_are_pytorchs(case: str, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    upstream = np.random.default_rng(5).standard_normal(64)
    ours = outcome(distgrad, case, reduction, "float64", upstream)
    theirs = outcome(torch, case, reduction, "float64", upstream)
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-10, atol=1e-12)
    assert len(ours[3]) == len(theirs[3]) > 0
    for a, b in zip(ours[3], theirs[3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-2), ("bfloat16", 6e-2), ("float32", 2e-5)])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@each_case
def test_narrow_types_are_pytorchs(case: str, reduction: str, dtype: str, tolerance: float) -> None:
    torch = pytest.importorskip("torch")
    upstream = np.linspace(0.5, 1.5, 64)
    ours = outcome(distgrad, case, reduction, dtype, upstream)
    try:
        theirs = outcome(torch, case, reduction, dtype, upstream)
    except NotImplementedError:
        pytest.skip("PyTorch has no such loss of half precision")
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=tolerance, atol=tolerance)
    for a, b in zip(ours[3], theirs[3], strict=True):
        np.testing.assert_allclose(a, b, rtol=4 * tolerance, atol=2 * tolerance)


@each_case
def test_half_precision_is_near_double(case: str) -> None:
    for dtype, tolerance in (("float16", 2e-2), ("bfloat16", 1e-1)):
        upstream = np.ones(64)
        half, double = (outcome(distgrad, case, "mean", d, upstream) for d in (dtype, "float64"))
        np.testing.assert_allclose(half[2], double[2], rtol=tolerance, atol=tolerance)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_they_print_as_pytorchs(case: str) -> None:
    torch = pytest.importorskip("torch")
    name, options, *_ = CASES[case]
    assert repr(made(distgrad, name, options, "sum")) == repr(made(torch, name, options, "sum"))
