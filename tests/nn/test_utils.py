"""Clipping and flattening of gradients and parameters: by hand, beside PyTorch, in flat storage, on devices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn, storage
from distgrad.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

rng = np.random.default_rng(11)
GRADS = [rng.standard_normal(shape) for shape in ((3, 5), (7,), (), (2, 2, 2), (33,))]
NORMS = [2.0, 1, 3.5, math.inf, -math.inf, 0, 0.5, -1.0]


def params_of(t: Any, grads: Any = GRADS, dtype: str = "float64", flat: bool = False, without: Any = ()) -> list[Any]:
    """Parameters with these gradients; those numbered in ``without`` have none."""
    params = [t.nn.Parameter(t.zeros(g.shape, dtype=getattr(t, dtype))) for g in grads]
    if flat:
        storage.flatten(params)
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        if i not in without:
            (p * t.tensor(g).to(p.dtype)).sum().backward()
    return params


def test_by_hand() -> None:
    p, q = params_of(distgrad, [np.array([3.0, 0.0]), np.array([[4.0]])])
    assert get_total_norm([p.grad, q.grad]).item() == 5.0
    total = clip_grad_norm_([p, q], 1.0)
    assert total.item() == 5.0
    assert total.shape == ()
    assert p.grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-6)
    assert q.grad.tolist()[0] == pytest.approx([0.8], rel=1e-6)
    before = p.grad.tolist()
    assert clip_grad_norm_(p, 100.0).item() == pytest.approx(0.6)
    assert p.grad.tolist() == before
    clip_grad_value_([p, q], 0.7)
    assert q.grad.tolist() == [[0.7]]
    clip_grads_with_norm_(p, 1.0, distgrad.tensor(2.0 - 1e-6).double())
    assert p.grad.tolist() == pytest.approx([before[0] / 2, 0.0])


@pytest.mark.torch
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("norm_type", NORMS)
def test_norms_and_gradients_are_pytorchs(norm_type: float, flat: bool) -> None:
    torch = pytest.importorskip("torch")
    for without in ((), (1, 3)):
        ours, theirs = params_of(distgrad, flat=flat, without=without), params_of(torch, without=without)
        for limit in (0.3, 1e6):
            a, b = clip_grad_norm_(ours, limit, norm_type), torch.nn.utils.clip_grad_norm_(theirs, limit, norm_type)
            assert (str(a.dtype), tuple(a.shape)) == (str(b.dtype), tuple(b.shape))
            assert a.item() == pytest.approx(b.item(), rel=1e-12)
        for p, q in zip(ours, theirs, strict=True):
            assert (p.grad is None) == (q.grad is None)
            if p.grad is not None:
                np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("norm_type", NORMS)
def test_flat_storage_changes_nothing_but_rounding(norm_type: float) -> None:
    scattered, flat = params_of(distgrad), params_of(distgrad, flat=True)
    a, b = clip_grad_norm_(scattered, 0.3, norm_type), clip_grad_norm_(iter(flat), 0.3, norm_type)
    assert a.item() == pytest.approx(b.item(), rel=1e-12)
    for p, q in zip(scattered, flat, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)
    assert all(q.grad is q._node.slot for q in flat)  # scaled where they lie


def test_only_the_parameters_given_are_scaled() -> None:
    params = params_of(distgrad, flat=True)
    expected = math.sqrt(sum(float((GRADS[i] ** 2).sum()) for i in (0, 2, 3)))
    chosen = [params[i] for i in (3, 0, 2)]  # any order, with gaps
    assert clip_grad_norm_(chosen, 0.1).item() == pytest.approx(expected)
    assert get_total_norm([p.grad for p in chosen]).item() == pytest.approx(0.1, rel=1e-5)
    for i in (1, 4):
        assert (params[i].grad.numpy() == GRADS[i]).all()


def test_a_parameter_given_twice_counts_twice() -> None:
    (p,) = params_of(distgrad, [np.array([3.0, 4.0])], flat=True)
    assert clip_grad_norm_([p, p], 1e9).item() == pytest.approx(math.sqrt(50))


def test_a_norm_that_is_none() -> None:
    for bad in (math.nan, math.inf):
        params = params_of(distgrad, flat=True)
        before = params[4].grad.tolist()
        params[1].grad[0] = bad
        with pytest.raises(RuntimeError, match="total norm of order 2.0 for gradients from `parameters` is non-finite"):
            clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
        assert params[4].grad.tolist() == before
        assert str(clip_grad_norm_(params, 1.0).item()) == str(bad)
        grad = params[4].grad.tolist()
        assert (grad == [0.0 * x for x in before]) if bad == math.inf else all(math.isnan(x) for x in grad)
        # what lies between the parameters is still zero: the next step's norm is a number
        for p, g in zip(params, GRADS, strict=True):
            p.grad.copy_(distgrad.tensor(g))
        assert clip_grad_norm_(params, 1.0).item() == pytest.approx(math.sqrt(sum(float((g**2).sum()) for g in GRADS)))


def test_values_near_the_limits_of_float32() -> None:
    for scale in (1e-25, 1e25):
        params = params_of(distgrad, [np.array([3.0, 4.0]) * scale], "float32", flat=True)
        assert clip_grad_norm_(params, 1.0).item() == pytest.approx(5 * scale, rel=1e-6)
    params = params_of(distgrad, [np.array([300.0] * 100)], "float16")
    assert clip_grad_norm_(params, 1.0).item() == 3000.0
    assert clip_grad_norm_(params_of(distgrad, [np.zeros(3)]), 1.0).item() == 0.0


@pytest.mark.torch
def test_mixed_dtypes_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for t in (distgrad, torch):
        dtypes = ("float16", "float32", "float64", "bfloat16", "float32")
        params = [params_of(t, [g], d)[0] for g, d in zip(GRADS, dtypes, strict=True)]
        total = t.nn.utils.clip_grad_norm_(params, 0.5, foreach=False)
        found.append((str(total.dtype), total.item(), [p.grad.double().numpy() for p in params]))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-3)
    for a, b in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2)


@pytest.mark.torch
@pytest.mark.parametrize("flat", [False, True])
def test_values_are_pytorchs(flat: bool) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = params_of(distgrad, flat=flat), params_of(torch)
    for limit in (0.4, -0.1):
        clip_grad_value_(ours, limit)
        torch.nn.utils.clip_grad_value_(theirs, limit)
        for p, q in zip(ours, theirs, strict=True):
            assert (p.grad.numpy() == q.grad.numpy()).all()


def test_nothing_to_clip() -> None:
    p = nn.Parameter(distgrad.ones(2))
    assert clip_grad_norm_([p], 1.0).item() == 0.0
    assert clip_grad_norm_([], 1.0).dtype is distgrad.float32
    clip_grad_value_(p, 1.0)
    with pytest.warns(UserWarning, match="is an empty generator, no gradient clipping will occur"):
        clip_grad_norm_((q for q in []), 1.0)


def test_a_write_to_a_saved_gradient_is_noticed() -> None:
    (p,) = params_of(distgrad, [np.array([3.0, 4.0])], flat=True)
    x = distgrad.ones(2).double().requires_grad_()
    out = (x * p.grad).sum()
    clip_grad_norm_([p], 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_sparse_gradients_are_clipped_by_their_elements() -> None:
    w = nn.Parameter(distgrad.zeros(5, 1))
    nn.functional.embedding(distgrad.tensor([1, 1, 1, 3, 3, 3, 3]), w, sparse=True).sum().backward()
    assert get_total_norm(w.grad).item() == 5.0
    assert clip_grad_norm_(w, 1.0).item() == 5.0
    assert w.grad.is_sparse
    assert w.grad.to_dense()[:, 0].tolist() == pytest.approx([0.0, 0.6, 0.0, 0.8, 0.0], rel=1e-6)
    clip_grad_value_(w, 0.7)
    assert w.grad.to_dense()[:, 0].tolist() == pytest.approx([0.0, 0.6, 0.0, 0.7, 0.0], rel=1e-6)


def test_on_devices(device_double: Any) -> None:
    for flat in (False, True):
        params = params_of(distgrad, dtype="float32")
        there = [nn.Parameter(p.detach().to("cuda:0")) for p in params[:3]]
        if flat:
            storage.flatten(there)
        for p, q in zip(there, params, strict=False):
            (p * q.grad.to("cuda:0")).sum().backward()
        mixed = [*there, *params_of(distgrad, dtype="float32")[3:]]  # on two devices
        for norm_type in (2.0, math.inf, 3, 0, -1):
            expected, found = clip_grad_norm_(params, 1.0, norm_type), clip_grad_norm_(mixed, 1.0, norm_type)
            assert str(found.device) == "cuda:0"
            assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        clip_grad_value_(mixed, 0.05)
        clip_grad_value_(params, 0.05)
        for p, q in zip(mixed, params, strict=True):
            np.testing.assert_allclose(p.grad.cpu().numpy(), q.grad.numpy(), rtol=1e-5)


def test_parameters_as_a_vector() -> None:
    layer = nn.Linear(3, 2)
    vector = parameters_to_vector(layer.parameters())
    assert vector.tolist() == [*layer.weight.reshape(-1).tolist(), *layer.bias.tolist()]
    (vector * distgrad.arange(8.0)).sum().backward()
    assert layer.bias.grad.tolist() == [6.0, 7.0]
    new = distgrad.arange(8.0)
    vector_to_parameters(new, layer.parameters())
    assert layer.weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert layer.bias.requires_grad
    new[7] = 9.0  # its memory is the parameters', as in PyTorch
    assert layer.bias.tolist() == [6.0, 9.0]
    with pytest.raises(TypeError, match="expected torch.Tensor, but got: list"):
        vector_to_parameters([1.0], layer.parameters())  # type: ignore[arg-type]


def test_a_vector_in_training() -> None:
    layer = nn.Linear(2, 1, bias=False)
    optimizer = distgrad.optim.SGD(layer.parameters(), lr=1.0)
    vector_to_parameters(distgrad.tensor([1.0, 2.0]), layer.parameters())
    layer(distgrad.tensor([[1.0, 1.0]])).sum().backward()
    optimizer.step()
    assert layer.weight.tolist() == [[0.0, 1.0]]


def test_a_vector_of_two_devices_is_refused(device_double: Any) -> None:
    params = [nn.Parameter(distgrad.ones(1)), nn.Parameter(distgrad.ones(1, device="cuda:0"))]
    for run in (lambda: parameters_to_vector(params), lambda: vector_to_parameters(distgrad.ones(2), params)):
        with pytest.raises(TypeError, match="Found two parameters on different devices, cpu and cuda:0"):
            run()


@pytest.mark.parametrize(
    ("grads", "expected"),
    [([[3.0, 4.0]], 1.0), ([[0.0, 0.0]], 0.0), ([[3.0, 0.0], [0.0, 0.0], [1.0, 2.0]], 2.0), ([[math.nan, 1.0]], 1.0)],
)
def test_by_the_0_norm_each_parameter_that_has_a_gradient_counts_once(grads: Any, expected: float) -> None:
    params = params_of(distgrad, [np.array(g) for g in grads])
    assert clip_grad_norm_(params, 10.0, 0).item() == expected
    assert get_total_norm([p.grad for p in params], 0).item() == expected
