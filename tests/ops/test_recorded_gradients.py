"""The first gradient is the same whether or not it is recorded, of every operation, at ordinary and exceptional points.

With ``create_graph=True`` rules run on tensors, and fused operations differentiate their references: another way to the
same numbers.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import distgrad
from tests.ops.exceptional import Case, cases

# PyTorch, too, gives 0 for a product with two zeros but multiplies the others, which may be infinite, where it records.
OTHERWISE = ("prod  |", "prod twice |")
# A negative norm is the quotient of powers, each of which bfloat16 rounds.
ROUNDED = ("norm -1 1 | rows", "norm -2 1 | rows")
CASES = [c for c in cases() if not c.name.startswith(OTHERWISE)]


def gradients(case: Case, kind: Any, recorded: bool) -> Any:
    """The gradients of the case's floating-point inputs, brought to the dtype ``kind`` if one is given."""
    given = [distgrad.tensor(a) for a in case.inputs]
    if kind is not None:
        given = [x.to(kind) if x.dtype.is_floating_point else x for x in given]
    for x in given:
        if x.dtype.is_floating_point or x.dtype.is_complex:
            x.requires_grad_()
    try:
        made = case.call(distgrad, *given)
    except (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError, OverflowError, AttributeError):
        return None
    outs = [] if isinstance(made, bool) else [made] if hasattr(made, "dtype") else list(made)
    outs = [o for o in outs if o.requires_grad]
    wanted = [x for x in given if x.requires_grad]
    if not outs:
        return None
    weights = [
        distgrad.tensor(((np.arange(o.numel()) % 7 + 1) / 4).reshape(tuple(o.shape)).astype(np.float32)).to(o.dtype)
        for o in outs
    ]
    return distgrad.autograd.grad(outs, wanted, weights, create_graph=recorded, allow_unused=True)


def told_apart(case: Case, kind: Any) -> str | None:
    """What differs between the two gradients, or None."""
    try:
        plain = gradients(case, kind, False)
    except (RuntimeError, NotImplementedError):
        return None  # no gradient at all
    if plain is None:
        return None
    try:
        again = gradients(case, kind, True)
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    for a, b in zip(plain, again, strict=True):
        if a is None or b is None:
            if a is not b and not (np.asarray((a if b is None else b).detach().numpy()) == 0).all():
                return "one is None"
            continue
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{a.dtype} {a.shape}, recorded {b.dtype} {b.shape}"
        wide = distgrad.complex128 if a.dtype.is_complex else distgrad.float64
        u, v = a.detach().to(wide).numpy(), b.detach().to(wide).numpy()
        loose = {"float16": 4e-3, "bfloat16": 3e-2}.get(str(a.dtype).removeprefix("torch."), 1e-5)
        if not np.allclose(u, v, loose, 1e-7 if a.dtype.itemsize > 2 else 1e-3, equal_nan=True):
            return f"{u.tolist()}, recorded {v.tolist()}"
    return None


@pytest.mark.parametrize("kind", ["", "float16", "bfloat16"])
@pytest.mark.filterwarnings("ignore")
def test_a_recorded_gradient_is_the_gradient(kind: str) -> None:
    found = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for case in CASES:
            if kind == "bfloat16" and case.name in ROUNDED:
                continue
            what = told_apart(case, getattr(distgrad, kind) if kind else None)
            if what is not None:
                found.append(f"{case.name}: {what}")
    assert found == []


def test_losses_recorded_at_their_poles() -> None:
    """By hand: (p - y) / max(p (1 - p), 1e-12), and the clipped differences."""
    t = distgrad
    p, y = t.tensor([0.0, 1.0, 0.0, 0.5], requires_grad=True), t.tensor([0.0, 0.25, 1.0, 0.25])
    (g,) = t.autograd.grad(t.nn.functional.binary_cross_entropy(p, y, reduction="sum"), p, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), [0, 7.5e11, -1e12, 1], rtol=1e-6)
    (again,) = t.autograd.grad(g[3], p)
    np.testing.assert_allclose(again.numpy(), [0, 0, 0, (0.25 - 0.25 + 0.25) / 0.0625], rtol=1e-6)
    x, y = t.tensor([0.0, 1.0, 0.5], requires_grad=True), t.tensor([np.inf, -np.inf, 0.25])
    for loss, slope, bend in (("huber_loss", 0.25, 1.0), ("smooth_l1_loss", 0.25, 1.0)):
        (g,) = t.autograd.grad(getattr(t.nn.functional, loss)(x, y, reduction="sum"), x, create_graph=True)
        assert g.tolist() == [-1.0, 1.0, slope]
        assert t.autograd.grad(g.sum(), x)[0].tolist() == [0.0, 0.0, bend]


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_second_gradients_in_half_precisions(kind: str) -> None:
    """Softmax's second derivative of (1, 0, 0) at equal logits, 2/27 for itself."""
    t = distgrad
    x = t.zeros(3, dtype=getattr(t, kind), requires_grad=True)
    (g,) = t.autograd.grad(t.nn.functional.softmax(x, -1)[0], x, create_graph=True)
    (again,) = t.autograd.grad(g[0], x)
    assert again.dtype == g.dtype == x.dtype
    np.testing.assert_allclose(again.float().numpy(), [2 / 27, -1 / 27, -1 / 27], rtol=0.05)


def test_second_gradients_at_kinks() -> None:
    """Of exponential units 0 at 0, alpha slope² exp(slope x) below; of softplus 0 above the threshold."""
    t, f = distgrad, distgrad.nn.functional
    below = float(np.exp(-1.0))
    for call, points, expected in (
        (f.elu, [0.0, -1.0, 2.0], [0.0, below, 0.0]),
        (lambda x: f.elu(x, 2.0), [0.0, -1.0, 2.0], [0.0, 2 * below, 0.0]),
        (lambda x: f.celu(x, 0.5), [0.0, -0.5, 2.0], [0.0, 2 * below, 0.0]),
        (f.selu, [0.0, -1.0, 2.0], [0.0, 1.6732632423543772 * 1.0507009873554805 * below, 0.0]),
        (lambda x: f.softplus(x, 2.0, 3.0), [0.0, 1.5, 1.6], [0.5, 0.0, 0.0]),
        (lambda x: f.softplus(x, 0.5, 3.0), [0.0, 6.1], [0.125, 0.0]),
    ):
        x = t.tensor(points, dtype=t.float64, requires_grad=True)
        (g,) = t.autograd.grad(call(x).sum(), x, create_graph=True)
        np.testing.assert_allclose(t.autograd.grad(g.sum(), x)[0].numpy(), expected, rtol=1e-12)


def test_a_negative_number_to_a_complex_power_has_a_gradient() -> None:
    """conj(x^z log x), log x = log 2 + i pi for x = -2: of z = 1 + i, the real part's."""
    t = distgrad
    x = t.tensor([-2.0], dtype=t.float64, requires_grad=True)
    z = t.tensor([1 + 1j], dtype=t.complex128, requires_grad=True)
    power = np.exp((1 + 1j) * (np.log(2) + 1j * np.pi))
    gx, gz = t.autograd.grad((x**z).real.sum(), (x, z))
    np.testing.assert_allclose(gz.numpy(), np.conj([power * (np.log(2) + 1j * np.pi)]))
    np.testing.assert_allclose(gx.numpy(), [((1 + 1j) * power / -2).real])


def test_logic_in_place_is_of_any_dtype_and_records_nothing() -> None:
    t = distgrad
    y = t.tensor([0, 2, 0])
    assert y.logical_or_(t.tensor([0.5, 0.0, 0.0])) is y
    assert (y.tolist(), y.dtype) == ([1, 1, 0], t.int64)
    assert y.logical_xor_(t.tensor([1j, 0, 1])).tolist() == [0, 1, 1]
    assert y.logical_and_(t.tensor([True, True, False])).tolist() == [0, 1, 0]
    assert y.logical_not_().tolist() == [1, 0, 1]
    z = t.zeros(1)
    assert not z.logical_or_(t.ones(1, requires_grad=True)).requires_grad


def test_signs_of_zeros() -> None:
    t = distgrad
    for kind in (t.bfloat16, t.float16, t.float32, t.float64):
        for name in ("sign", "sgn"):
            signs = getattr(t.tensor([-0.0, 0.0], dtype=kind), name)()
            assert not np.signbit(signs.double().numpy()).any()


def test_maps_to_and_from_nothing_have_gradients() -> None:
    t, f = distgrad, distgrad.nn.functional
    for x, w in (((2, 3, 0), (2, 0)), ((2, 5, 3), (0, 3)), ((2, 3), (0, 3)), ((2, 0), (4, 0)), ((0, 2, 3), (4, 3))):
        x, w = t.ones(*x, requires_grad=True), t.ones(*w, requires_grad=True)
        f.linear(x, w).sum().backward()
        assert (x.grad.shape, w.grad.shape) == (x.shape, w.shape)
    w = t.zeros(2, 0, requires_grad=True)
    f.embedding(t.tensor([0, 0]), w).sum().backward()
    assert w.grad.shape == (2, 0)


def test_prelu_has_no_mixed_derivative_at_its_kink() -> None:
    t = distgrad
    x = t.tensor([0.0, -1.0, 2.0], dtype=t.float64, requires_grad=True)
    w = t.tensor([0.25], dtype=t.float64, requires_grad=True)
    gx, gw = t.autograd.grad(t.nn.functional.prelu(x, w).sum(), (x, w), create_graph=True)
    assert (gx.tolist(), gw.tolist()) == ([0.25, 0.25, 1.0], [-1.0])
    assert t.autograd.grad(gw.sum(), x, retain_graph=True)[0].tolist() == [0.0, 1.0, 0.0]
    assert t.autograd.grad(gx.sum(), w)[0].tolist() == [1.0]


def test_an_empty_tensor_joined_wants_its_gradient() -> None:
    t = distgrad
    x = t.tensor([], requires_grad=True)
    y = t.cat([x, t.ones(2, 2), x], 1)
    y.sum().backward()
    assert (y.shape, x.grad.shape) == ((2, 2), (0,))
