"""Large arrays, which take other ways than small ones: pieces, rows, blocks, bits, flat places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.nn import functional as F
from distgrad.ops import _float32
from distgrad.ops._choosing import chosen
from distgrad.ops._limits import at_least, at_most, between

MANY = 2**17 + 4321  # above every threshold, and no multiple of a piece
FEW = 400  # below every threshold
EXCEPTIONAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 88.72, 88.8, 89.3, -88.8, -103.9, 1e-45, 3e38, -3e38]

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{name: getattr(F, name) for name in (
        "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish",
        "relu", "relu6", "selu", "silu", "softplus", "softshrink",
    )},
    **{name: getattr(distgrad, name) for name in (
        "acos", "asin", "asinh", "atan", "atanh", "cosh", "exp2", "expm1", "log10", "log1p", "log2", "nan_to_num",
        "rsqrt", "sgn", "sigmoid", "sign", "sinh", "sqrt", "tan", "tanh",
    )},
    "threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "clamp": lambda x: distgrad.clamp(x, -0.5, 0.5),
    "clamp_min": lambda x: distgrad.clamp_min(x, 0.5),
    "clamp_max": lambda x: distgrad.clamp_max(x, 0.5),
    "logit": lambda x: distgrad.logit(x, 1e-3),
    "prelu": lambda x: F.prelu(x, distgrad.tensor([0.25], dtype=x.dtype)),
    "where": lambda x: distgrad.where(x > 0, x, x * 3),
    "where, a number": lambda x: distgrad.where(x > 0.5, 2.5, x),
    "where, zero": lambda x: distgrad.where(x > 0.5, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 0.3, 7.0),
    "fmod": lambda x: distgrad.fmod(x, 0.3),
    "remainder": lambda x: distgrad.remainder(x, -0.3),
    "lerp": lambda x: distgrad.lerp(x, x * 2, 0.3),
    "addcmul": lambda x: distgrad.addcmul(x, x, x, value=0.5),
    "addcdiv": lambda x: distgrad.addcdiv(x, x, x + 2, value=0.5),
    "logaddexp": lambda x: distgrad.logaddexp(x, x * 2),
    "logaddexp2": lambda x: distgrad.logaddexp2(x, x * 2),
    "huber_loss": lambda x: F.huber_loss(x, x * 3, reduction="none", delta=0.4),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x * 3, reduction="none", beta=0.4),
    "bce_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, (x > 0).to(x.dtype), reduction="none"),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, x.detach().sign(), reduction="none"),
}  # fmt: skip


def _numbers(n: int, dtype: str = "float32") -> Any:
    x = np.random.default_rng(0).uniform(-0.95, 0.95, n)
    return x.astype(dtype)


def _with_gradient(call: Callable[[Any], Any], array: Any) -> tuple[Any, Any]:
    x = distgrad.from_numpy(array.copy()).requires_grad_()
    out = call(x)
    out.backward(distgrad.linspace(1, 2, 7, dtype=x.dtype).repeat(len(array) // 7 + 1)[: len(array)])
    return out.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_whole_is_what_its_parts_are(name: str, dtype: str) -> None:
    """Elementwise functions of many elements give what they give of a few at a time, gradients too."""
    array = _numbers(MANY, dtype)
    whole = _with_gradient(ELEMENTWISE[name], array)
    step = 7 * (FEW // 7)  # so that the gradients given are the same
    starts = [0, 2**14 - 3, 2**15 - 100, 2**16 - 50, 2**17 - 60, MANY - step]
    for start in [s // 7 * 7 for s in starts]:
        part = _with_gradient(ELEMENTWISE[name], array[start : start + step])
        for a, b in zip(whole, part, strict=True):
            rtol = 2e-6 if dtype == "float32" else 1e-13
            np.testing.assert_allclose(a[start : start + step], b, rtol=rtol, atol=rtol / 20)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("x", [np.nan, 0.0, -0.0, 2.5, None])
@pytest.mark.parametrize("y", [np.inf, 0.0, None])
def test_choosing_by_bits_is_where(x: float | None, y: float | None, dtype: str) -> None:
    with np.errstate(over="ignore"):
        values = np.array(EXCEPTIONAL).astype(dtype)
    given = [np.resize(np.roll(values, i), MANY) if v is None else v for i, v in ((0, x), (5, y))]
    if x is not None and y is not None:
        given[0] = np.array([x], dtype)
    mask = np.random.default_rng(1).random(MANY) > 0.5
    found, expected = chosen(np, mask, *given), np.where(mask, *given)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
@pytest.mark.parametrize("n", [10, 600, 2**14, 2**14 + 1, MANY])
def test_limits_are_numpys(n: int, dtype: str) -> None:
    x = np.resize(np.array([-2, 0, 1, 3, 5], dtype), n)
    if dtype.startswith("f"):
        x[3] = np.nan
    for found, expected in (
        (at_least(np, x, 1), np.maximum(x, 1)),
        (at_most(np, x, 1), np.minimum(x, 1)),
        (between(np, x, -1, 3), np.minimum(np.maximum(x, -1), 3)),
        (between(np, x.reshape(2, -1).T if n % 2 == 0 else x, -1, 3),
         np.minimum(np.maximum(x.reshape(2, -1).T if n % 2 == 0 else x, -1), 3)),
    ):  # fmt: skip
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize(
    ("name", "reference", "most"),
    [("expm1", np.expm1, 5), ("log1p", np.log1p, 5), ("sinh", np.sinh, 8), ("cosh", np.cosh, 6),
     ("arctanh", np.arctanh, 5), ("softplus", lambda v: np.logaddexp(v, 0), 6),
     ("log1p_of_exp_below", lambda v: np.log1p(np.exp(-np.abs(v))), 6)],
)  # fmt: skip
def test_float32_is_near_float64(name: str, reference: Any, most: float) -> None:
    """Within so many units in the last place, over all magnitudes; infinities, NaN and signs of 0 as they should be."""
    rng = np.random.default_rng(0)
    sizes = [1e-40, 1e-20, 1e-6, 1e-3, 0.1, 1, 10, 40]
    x = np.concatenate([rng.standard_normal(20_000) * s for s in sizes] + [EXCEPTIONAL]).astype(np.float32)
    with np.errstate(all="ignore"):
        found, exact = getattr(_float32, name)(np, x), reference(x.astype(np.float64))
        expected = exact.astype(np.float32)
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(found[~finite], expected[~finite])
        assert np.isfinite(found[finite]).all()
        unit = np.spacing(np.maximum(np.abs(expected[finite]), np.float32(1e-38))).astype(np.float64)
        assert (np.abs(found[finite].astype(np.float64) - exact[finite]) / unit).max() <= most
        zero = expected == 0
        assert (np.signbit(found[zero]) == np.signbit(expected[zero])).all()


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e7, 1e-20, 1e30])
@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_remainders_have_numpys_bits(name: str, scale: float) -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.standard_normal(40_000) * scale).astype(np.float32), rng.standard_normal(40_000).astype(np.float32)
    x[:1000], y[:1000] = np.round(x[:1000]), np.round(y[:1000] * 3) + np.float32(0.5)
    x[:16] = EXCEPTIONAL
    y[16:32] = EXCEPTIONAL
    with np.errstate(all="ignore"):
        for other in (y, 3, 2.5, -0.7, 0.1):
            found = getattr(_float32, name)(np, x, other)
            expected = getattr(np, name)(x, other if isinstance(other, np.ndarray) else np.float32(other))
            same = (found.view(np.int32) == expected.view(np.int32)) | (np.isnan(found) & np.isnan(expected))
            assert same.all()


def _addressed() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    x, values = (rng.integers(-8, 8, (300, 500)).astype(np.float32) for _ in range(2))
    return x, values, rng.integers(0, 300, (300, 500))


@pytest.mark.parametrize("dim", [0, 1])
def test_gathering_and_scattering(dim: int) -> None:
    """Whole numbers, whose sums do not depend on the order."""
    x, values, at = _addressed()
    t, v, index = distgrad.from_numpy(x), distgrad.from_numpy(values), distgrad.from_numpy(at)
    places = (at, np.arange(500)[None]) if dim == 0 else (np.arange(300)[:, None], at)
    added, largest = x.copy(), x.copy()
    np.add.at(added, places, values)
    np.maximum.at(largest, places, values)
    np.testing.assert_array_equal(t.gather(dim, index).numpy(), x[places])
    np.testing.assert_array_equal(t.scatter_add(dim, index, v).numpy(), added)
    np.testing.assert_array_equal(t.scatter_reduce(dim, index, v, "amax").numpy(), largest)
    np.testing.assert_array_equal(t.scatter(dim, index, 3.0).numpy() == 3, (x == 3) | _hit(x.shape, places))
    leaf = t.clone().requires_grad_()
    leaf.gather(dim, index).backward(v)
    assert leaf.grad is not None
    np.testing.assert_array_equal(leaf.grad.numpy(), added - x)


def _hit(shape: tuple[int, ...], places: Any) -> Any:
    hit = np.zeros(shape, bool)
    hit[places] = True
    return hit


@pytest.mark.parametrize("dim", [0, 1])
def test_slices_by_number(dim: int) -> None:
    x, values, _ = _addressed()
    rows = np.random.default_rng(4).integers(0, x.shape[dim], x.shape[dim])
    t, v, index = distgrad.from_numpy(x), distgrad.from_numpy(values), distgrad.from_numpy(rows)
    added = x.copy()
    np.add.at(added, (rows,) if dim == 0 else (slice(None), rows), values)
    np.testing.assert_array_equal(t.index_add(dim, index, v).numpy(), added)
    for read in (lambda a: a.index_select(dim, index), lambda a: a[index - x.shape[0]] if dim == 0 else a[:, index]):
        leaf = t.clone().requires_grad_()
        read(leaf).backward(v)
        assert leaf.grad is not None
        np.testing.assert_array_equal(leaf.grad.numpy(), added - x)


@pytest.mark.parametrize("dim", [0, 1])
def test_the_kth_of_many(dim: int) -> None:
    x = np.random.default_rng(5).integers(-50, 50, (300, 500)).astype(np.float32)
    x[7] = np.nan
    order = np.argsort(x, axis=dim, kind="stable")
    for k in (1, 2, 150, 299, 300):
        values, indices = distgrad.kthvalue(distgrad.from_numpy(x), k, dim)
        expected = np.take(order, k - 1, dim)
        np.testing.assert_array_equal(indices.numpy(), expected)
        picked = np.take_along_axis(x, np.expand_dims(expected, dim), dim).squeeze(dim)
        np.testing.assert_array_equal(values.numpy(), picked)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_probabilities_of_many_rows(name: str) -> None:
    function = getattr(F, name)
    rows = _numbers(649 * 301).reshape(649, 301)  # of which the last piece is one row

    def found(a: Any) -> tuple[Any, Any]:
        x = distgrad.from_numpy(a.copy()).requires_grad_()
        out = function(x, 1)
        (out * out).sum().backward()
        return out.detach().numpy(), x.grad.numpy()  # type: ignore[union-attr]

    whole = found(rows)
    for at in (0, 107, 108, 109, 350, 648):
        for a, b in zip(whole, found(rows[at : at + 1]), strict=True):
            np.testing.assert_allclose(a[at : at + 1], b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("n", [1000, 1001, 1003])
def test_few_long_windows(n: int) -> None:
    x = np.random.default_rng(6).integers(-50, 50, (2, 3, n)).astype(np.float64)
    x[1, 2, 5] = np.nan
    bounds = [(i * n // 4, -(-(i + 1) * n // 4)) for i in range(4)]
    t = distgrad.from_numpy(x)
    means = np.stack([x[..., a:b].mean(-1) for a, b in bounds], -1)
    np.testing.assert_allclose(F.adaptive_avg_pool1d(t, 4).numpy(), means)
    leaf = distgrad.from_numpy(np.nan_to_num(x)).requires_grad_()
    F.adaptive_avg_pool1d(leaf, 4).sum().backward()
    expected = np.zeros(n)
    for a, b in bounds:
        expected[a:b] += 1 / (b - a)
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad.numpy(), np.broadcast_to(expected, x.shape))
    values, places = F.adaptive_max_pool1d(t, 4, return_indices=True)
    np.testing.assert_array_equal(values.numpy(), np.stack([x[..., a:b].max(-1) for a, b in bounds], -1))
    np.testing.assert_array_equal(places.numpy(), np.stack([a + x[..., a:b].argmax(-1) for a, b in bounds], -1))


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (1, 4), (4, 1), (5, 6), (6, 5)])
def test_triangles(rows: int, columns: int) -> None:
    for offset in (-9, -2, -1, 0, 1, 2, 9):
        for ours, theirs in ((distgrad.tril_indices, np.tril_indices), (distgrad.triu_indices, np.triu_indices)):
            expected = np.stack(theirs(rows, offset, columns))
            np.testing.assert_array_equal(ours(rows, columns, offset).numpy(), expected)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 2**14, 2**15 + 1, MANY])
def test_evenly_spaced(steps: int) -> None:
    found = distgrad.linspace(-3, 5, steps, dtype=distgrad.float64).numpy()
    np.testing.assert_allclose(found, np.linspace(-3, 5, steps), atol=1e-12)
    if steps > 1:
        assert found[-1] == 5
