"""Values and gradients worked out by hand, and what operations do beyond their table row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.autograd import primitive

F = nn.functional


@pytest.mark.parametrize(
    ("function", "x", "value", "gradient"),
    [
        (lambda x: x * x * x, 2.0, 8.0, 12.0),
        (lambda x: 1 / x, 4.0, 0.25, -0.0625),
        (lambda x: x**0.5, 4.0, 2.0, 0.25),
        (lambda x: 2**x, 3.0, 8.0, 8 * math.log(2)),
        (lambda x: x.exp(), 0.0, 1.0, 1.0),
        (lambda x: x.log(), 2.0, math.log(2), 0.5),
        (lambda x: x.sqrt(), 9.0, 3.0, 1 / 6),
        (lambda x: x.sin(), 0.0, 0.0, 1.0),
        (lambda x: x.cos(), math.pi / 2, 0.0, -1.0),
        (lambda x: x.tanh(), 0.0, 0.0, 1.0),
        (lambda x: x.sigmoid(), 0.0, 0.5, 0.25),
        (lambda x: x.abs(), -3.0, 3.0, -1.0),
        (lambda x: x.abs(), 0.0, 0.0, 0.0),
        (lambda x: x.relu(), 0.0, 0.0, 0.0),
        (lambda x: x.clamp(0, 1), 1.0, 1.0, 1.0),
        (lambda x: distgrad.maximum(x, distgrad.ones((), dtype=x.dtype)), 1.0, 1.0, 0.5),
        (lambda x: distgrad.stack([x, x, x]).prod(), 0.0, 0.0, 0.0),
        (lambda x: F.softplus(x), 0.0, math.log(2), 0.5),
        (lambda x: F.gelu(x), 0.0, 0.0, 0.5),
        (lambda x: distgrad.stack([x, -x]).softmax(0)[0], 0.0, 0.5, 0.5),
        (lambda x: distgrad.stack([x, x]).logsumexp(0), 1.0, 1 + math.log(2), 1.0),
        (lambda x: distgrad.stack([x, x * 0]).norm(), 3.0, 3.0, 1.0),
        (lambda x: distgrad.stack([x, -x]).std(), 1.0, math.sqrt(2), math.sqrt(2)),
        (lambda x: x[None, None] @ x[None, None], 3.0, 9.0, 6.0),
        (lambda x: x.expand(5).sum(), 2.0, 10.0, 5.0),
        (lambda x: x.expand(5).mean(), 2.0, 2.0, 1.0),
        (lambda x: F.mse_loss(x.expand(2), distgrad.tensor([1.0, 2.0]).double()), 3.0, 2.5, 3.0),
    ],
)
def test_values_and_gradients(function: Any, x: float, value: float, gradient: float) -> None:
    leaf = distgrad.tensor(x, dtype=distgrad.float64, requires_grad=True)
    out = function(leaf)
    out.sum().backward()
    assert out.item() == pytest.approx(value, abs=1e-15)
    assert leaf.grad.item() == pytest.approx(gradient, abs=1e-15)


def test_cross_entropy_of_two_classes_is_the_logistic_loss() -> None:
    x = distgrad.tensor([[1.0, -1.0], [0.0, 0.0]], dtype=distgrad.float64, requires_grad=True)
    loss = F.cross_entropy(x, distgrad.tensor([1, 0]), reduction="sum")
    assert loss.item() == pytest.approx(math.log1p(math.exp(2)) + math.log(2))
    loss.backward()
    p = 1 / (1 + math.exp(-2))
    np.testing.assert_allclose(x.grad.numpy(), [[p, -p], [-0.5, 0.5]], rtol=1e-14)


def test_an_index_named_twice_gets_both_gradients() -> None:
    x = distgrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x[[0, 0, 2]] * distgrad.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [11.0, 0.0, 100.0]


def test_complex_gradients_point_uphill() -> None:
    """PyTorch's convention: of a real loss the gradient is d/da + i d/db at a + ib, so z - lr grad descends."""
    z = distgrad.tensor(3 + 4j, dtype=distgrad.complex128, requires_grad=True)
    (z * z.conj()).real.backward()
    assert z.grad.item() == 6 + 8j
    z.grad = None
    z.abs().backward()
    assert z.grad.item() == pytest.approx(0.6 + 0.8j)


def test_dropout_scales_what_it_keeps_and_its_gradient() -> None:
    distgrad.manual_seed(0)
    x = distgrad.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.25)
    y.sum().backward()
    kept = y.detach() != 0
    assert 650 < int(kept.sum()) < 850
    assert sorted(set(y.tolist())) == pytest.approx([0.0, 4 / 3])
    assert distgrad.equal(x.grad, y.detach())
    assert distgrad.autograd.gradcheck(seeded_dropout, (distgrad.randn(8, dtype=distgrad.float64, requires_grad=True),))


def seeded_dropout(x: Any) -> Any:
    distgrad.manual_seed(3)
    return F.dropout(x, 0.5)


def test_named_results() -> None:
    found = distgrad.tensor([[1.0, 5.0], [7.0, 2.0]]).max(1)
    assert (found.values.tolist(), found.indices.tolist()) == ([5.0, 7.0], [1, 0])
    assert type(found).__name__ == "max"


def test_movement_between_devices_is_differentiable(device_double) -> None:
    x = distgrad.tensor([1.0, 2.0], requires_grad=True)
    y = (x.to("cuda:0") * 3).cpu() * x
    y.sum().backward()
    assert x.grad.device.type == "cpu"
    assert x.grad.tolist() == [6.0, 12.0]
    with pytest.raises(RuntimeError, match="same device, but found at least two devices, cuda:0 and cpu"):
        x + distgrad.ones(2, device="cuda:0")
    assert (distgrad.ones(2, device="cuda:0") + distgrad.tensor(1.0)).tolist() == [2.0, 2.0]  # a number in a CPU tensor


def test_ordinary_arrays_go_through_operations_as_arrays_in_a_backward_pass_alone() -> None:
    """What gradient rules rely on: called on raw arrays a primitive returns raw arrays."""
    x = np.arange(4.0).reshape(2, 2)
    results: list[Any] = []

    def rule(g: Any, ans: Any, t: Any) -> Any:
        results.extend([distgrad.exp(x), distgrad.mul(x, 2.0), distgrad.matmul(x, x), distgrad.where(x > 1, x, 0.0)])
        return g

    @primitive()
    def watched(xp: Any, t: Any) -> Any:
        return t.copy()

    watched.defvjp(rule)
    watched(distgrad.ones(2, requires_grad=True)).sum().backward()
    assert [type(result) for result in results] == [np.ndarray] * 4
    for call in (lambda: distgrad.exp(x), lambda: distgrad.mul(x, 2.0), lambda: distgrad.matmul(x, x)):
        with pytest.raises(TypeError, match=r"argument 'input' \(position 1\) must be Tensor, not numpy.ndarray"):
            call()


def test_silu_of_complex_numbers_and_batch_norm_of_nothing() -> None:
    z = distgrad.tensor([1 + 2j, -0.5j])
    values = z.numpy()
    np.testing.assert_allclose(distgrad.nn.functional.silu(z).numpy(), values / (1 + np.exp(-values)), rtol=1e-6)
    with pytest.raises(RuntimeError, match="silu does not support automatic differentiation"):
        distgrad.nn.functional.silu(z.requires_grad_())
    nothing = distgrad.zeros(0, requires_grad=True)
    assert distgrad.nn.functional.batch_norm(nothing, distgrad.zeros(0), distgrad.ones(0), training=True).shape == (0,)
