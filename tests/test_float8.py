"""Numbers of eight bits: what they hold, how wider ones are rounded, what is refused."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import dtypes

NAMES = [d.name for d in dtypes.FLOAT8]
HALVES = np.arange(65536, dtype=np.uint16)


def value(name: str, code: int) -> float:
    """What the eight bits ``code`` mean, from the formats' definitions."""
    if name == "float8_e8m0fnu":
        return math.nan if code == 255 else 2.0 ** (code - 127)
    fraction = 3 if "e4m3" in name else 2
    bias = {"float8_e4m3fn": 7, "float8_e5m2": 15, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 16}[name]
    sign = -1.0 if code & 0x80 else 1.0
    exponent, rest = (code & 0x7F) >> fraction, code & ((1 << fraction) - 1)
    if name.endswith("uz"):
        if code == 0x80:
            return math.nan
    elif name == "float8_e4m3fn":
        if code & 0x7F == 0x7F:
            return math.nan
    elif exponent == 31:
        return math.nan if rest else sign * math.inf
    if exponent == 0:
        return sign * rest * 2.0 ** (1 - bias - fraction)
    return sign * (1 + rest / (1 << fraction)) * 2.0 ** (exponent - bias)


def codes(t: distgrad.Tensor) -> np.ndarray:
    return t.view(distgrad.uint8).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_every_code_means_what_the_format_says(name: str) -> None:
    kind = getattr(distgrad, name)
    wanted = np.array([value(name, code) for code in range(256)])
    t = distgrad.arange(256, dtype=distgrad.uint8).view(kind)
    np.testing.assert_array_equal(t.double().numpy(), wanted)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(t.float().numpy(), wanted.astype(np.float32))
        np.testing.assert_array_equal(t.half().numpy(), wanted.astype(np.float16))
    np.testing.assert_array_equal(np.array(t.tolist()), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_wider_numbers_become_the_nearest_ties_to_even(name: str) -> None:
    """Every float16, against all numbers that the type has: no table but their values."""
    halves = HALVES.view(np.float16).astype(np.float64)
    finite = np.array([value(name, code) for code in range(256)])
    code_of = np.flatnonzero(np.isfinite(finite))
    finite = finite[code_of]
    order = np.lexsort((np.signbit(finite), finite))
    finite, code_of = finite[order], code_of[order]
    made = codes(distgrad.from_numpy(HALVES.view(np.float16).copy()).to(getattr(distgrad, name)))
    largest = finite.max()
    if name == "float8_e8m0fnu":
        halves = abs(halves)
    step = largest - np.partition(finite, -2)[-2]
    inside = abs(halves) < largest + step / 2
    back = np.array([value(name, int(c)) for c in made])
    near = np.searchsorted(finite, halves[inside]).clip(1, len(finite) - 1)
    low, high = finite[near - 1], finite[near]
    with np.errstate(invalid="ignore"):
        to_low, to_high = halves[inside] - low, high - halves[inside]
    found = back[inside]
    np.testing.assert_array_equal(abs(found - halves[inside]), np.minimum(abs(to_low), abs(to_high)))
    ties = (to_low == to_high) & (low != high)
    if name == "float8_e8m0fnu":
        assert (found[ties] == high[ties]).all()  # the upper one
    else:
        assert (made[inside][ties] % 2 == 0).all()
    beyond = ~inside & ~np.isnan(halves)
    if name == "float8_e4m3fn":
        np.testing.assert_array_equal(back[beyond], np.sign(halves[beyond]) * 448)
    elif name == "float8_e5m2":
        np.testing.assert_array_equal(back[beyond], np.sign(halves[beyond]) * np.inf)
    else:
        assert np.isnan(back[beyond]).all()
    assert np.isnan(back[np.isnan(halves)]).all()


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_casts_are_pytorchs_bit_for_bit(name: str) -> None:
    import torch

    theirs, ours = getattr(torch, name), getattr(distgrad, name)

    def same(a: Any, b: Any) -> None:
        np.testing.assert_array_equal(b.to(ours).view(distgrad.uint8).numpy(), a.to(theirs).view(torch.uint8).numpy())

    same(torch.from_numpy(HALVES.view(np.float16)), distgrad.from_numpy(HALVES.view(np.float16)))
    same(torch.from_numpy(HALVES).view(torch.bfloat16), distgrad.from_numpy(HALVES).view(distgrad.bfloat16))
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    usual = (rng.standard_normal(200_000) * 10.0 ** rng.uniform(-12, 8, 200_000)).astype(np.float32)
    for x in (bits, usual, usual.astype(np.float64), rng.integers(-1000, 1000, 5000), rng.integers(0, 2, 9) > 0):
        same(torch.from_numpy(x), distgrad.from_numpy(x))
    octets = np.arange(256, dtype=np.uint8)
    for other in [*NAMES, "float16", "bfloat16", "float32", "float64", "bool"]:
        a = torch.from_numpy(octets).view(theirs).to(getattr(torch, other))
        b = distgrad.from_numpy(octets).view(ours).to(getattr(distgrad, other))
        if other == "bool":
            np.testing.assert_array_equal(b.numpy(), a.numpy())
        else:
            np.testing.assert_array_equal(b.double().numpy(), a.double().numpy())


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_limits_and_properties_are_pytorchs(name: str) -> None:
    import torch

    a, b = getattr(torch, name), getattr(distgrad, name)
    assert repr(distgrad.finfo(b)) == repr(torch.finfo(a))
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert getattr(distgrad.finfo(b), field) == getattr(torch.finfo(a), field)
    for field in ("itemsize", "is_floating_point", "is_signed", "is_complex"):
        assert getattr(a, field) == getattr(b, field)
    for numbers in ([1.0, 2.0, -3.5], [[1.5, 2], [300, 0.015]], 1e9, [float("nan")]):
        assert repr(torch.tensor(numbers, dtype=a)) == repr(distgrad.tensor(numbers, dtype=b))
    assert torch.zeros(2, dtype=a).type() == distgrad.zeros(2, dtype=b).type()


def test_limits() -> None:
    found = {d.name: (distgrad.finfo(d).max, distgrad.finfo(d).tiny) for d in dtypes.FLOAT8}
    assert found == {
        "float8_e4m3fn": (448.0, 2.0**-6), "float8_e5m2": (57344.0, 2.0**-14), "float8_e4m3fnuz": (240.0, 2.0**-7),
        "float8_e5m2fnuz": (57344.0, 2.0**-15), "float8_e8m0fnu": (2.0**127, 2.0**-127),
    }  # fmt: skip
    assert all(d.itemsize == 1 and d.is_floating_point for d in dtypes.FLOAT8)
    assert [d.is_signed for d in dtypes.FLOAT8] == [True, True, True, True, False]


def test_all_ways_of_writing_a_number_round_alike() -> None:
    kind = distgrad.float8_e4m3fn
    x = distgrad.zeros(4, dtype=kind)
    x[0] = 1000.0
    x[1] = distgrad.tensor(-1000.0)
    x[2:] = distgrad.tensor([3.3, math.inf])
    assert x.tolist() == [448.0, -448.0, 3.25, 448.0]
    assert x.fill_(1e39).tolist() == [448.0] * 4
    assert x.copy_(distgrad.tensor([1e9, 17.0, 0.1, -0.0])).tolist() == [448.0, 16.0, 0.1015625, -0.0]
    assert distgrad.full((1,), 500.0, dtype=kind).item() == 448.0
    assert distgrad.tensor([500.0, 1], dtype=kind).tolist() == [448.0, 1.0]
    assert distgrad.tensor(np.array([500.0]), dtype=kind).item() == 448.0
    assert distgrad.zeros_like(x).sum(dtype=distgrad.float32).item() == 0.0
    assert distgrad.tensor([500], dtype=distgrad.int32).to(kind).item() == 448.0


def test_what_moves_numbers_works() -> None:
    x = distgrad.tensor([[1.0, 2.0], [-3.5, 0.0]], dtype=distgrad.float8_e5m2)
    assert distgrad.cat([x, x]).tolist() == [[1.0, 2.0], [-3.5, 0.0]] * 2
    assert distgrad.stack([x, x]).shape == (2, 2, 2)
    assert x.t().contiguous().reshape(-1).tolist() == [1.0, -3.5, 2.0, 0.0]
    assert x[x.float() > 0].tolist() == [1.0, 2.0]
    assert x.index_select(0, distgrad.tensor([1])).tolist() == [[-3.5, 0.0]]
    assert (x == x.clone()).all()
    assert x.equal(copy.deepcopy(x))
    assert x.eq(1.0).sum() == 1
    assert distgrad.where(x == 0, x, x).dtype is distgrad.float8_e5m2
    assert distgrad.isnan(x).sum() == 0
    assert x.bool().tolist() == [[True, True], [True, False]]
    assert x.long().tolist() == [[1, 2], [-3, 0]]


def test_gradients_pass_through_conversions() -> None:
    x = distgrad.tensor([1.0, 2.2], requires_grad=True)
    y = x.to(distgrad.float8_e4m3fn)
    assert y.requires_grad
    assert y.grad_fn.name() == "ToCopyBackward0"
    (y.float() * distgrad.tensor([2.0, 3.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("name", NAMES)
def test_what_computes_is_refused(name: str) -> None:
    kind = getattr(distgrad, name)
    x = distgrad.ones(3, dtype=kind)
    square = distgrad.ones(2, 2, dtype=kind)
    for compute in (
        lambda: x + x, lambda: x - 1, lambda: 2.0 * x, lambda: x / x, lambda: -x, lambda: x.exp(), lambda: x.sum(),
        lambda: x.mean(), lambda: x.cumsum(0), lambda: x @ x, lambda: square @ square, lambda: x.softmax(0),
        lambda: x.sort(), lambda: x.max(), lambda: x.relu(), lambda: x.add_(1), lambda: x.mul_(x), lambda: x < x,
        lambda: x.pow(2), lambda: x.masked_fill(distgrad.ones(3).bool(), 0.0), lambda: x.round(), lambda: x.prod(),
        lambda: distgrad.nn.functional.linear(square, square), lambda: distgrad.arange(3, dtype=kind),
        lambda: distgrad.rand(3, dtype=kind), lambda: distgrad.randn(3, dtype=kind), lambda: x.uniform_(),
        lambda: distgrad.linspace(0, 1, 3, dtype=kind), lambda: x.norm(), lambda: x.clamp(0, 1),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match="not implemented for 'Float8"):
            compute()
    for mix in (lambda: x + distgrad.ones(3), lambda: distgrad.promote_types(kind, distgrad.float32)):
        with pytest.raises(RuntimeError, match="Promotion for Float8 Types is not supported"):
            mix()
    with pytest.raises(TypeError, match="couldn't find storage object"):
        distgrad.set_default_dtype(kind)
    with pytest.raises(RuntimeError, match="Unknown Complex ScalarType"):
        kind.to_complex()
    assert (distgrad.tensor([1.0, 2.0]) + distgrad.tensor(1.0, dtype=kind)).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name: str) -> None:
    x = distgrad.tensor([1.0, 2.0, 4.0, 0.5], dtype=getattr(distgrad, name))
    file = io.BytesIO()
    distgrad.save({"x": x, "kind": x.dtype, "part": x[::2]}, file)
    file.seek(0)
    found = distgrad.load(file)
    assert found["kind"] is x.dtype
    assert found["x"].dtype is x.dtype
    np.testing.assert_array_equal(codes(found["x"]), codes(x))
    assert found["part"].tolist() == x[::2].tolist()


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES[:4])
def test_files_are_read_by_safetensors(name: str, tmp_path: Any) -> None:
    import torch
    from safetensors.torch import load_file

    x = distgrad.tensor([1.0, -2.0, 4.0], dtype=getattr(distgrad, name))
    distgrad.save({"x": x}, tmp_path / "a.safetensors")
    found = next(iter(load_file(tmp_path / "a.safetensors").values()))
    assert found.dtype is getattr(torch, name)
    assert found.float().tolist() == [1.0, -2.0, 4.0]
