"""In-place forms that are made from others: the same values and gradients, in the same tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad.ops import in_place

ONE = {"acosh": 1.5}  # what is added so that an input lies in the function's domain
MORE: dict[str, tuple[Any, ...]] = {
    "addbmm": (dg.ones(1, 2, 2, dtype=dg.float64), dg.full((1, 2, 3), 0.5, dtype=dg.float64)),
    "addr": (dg.ones(2, dtype=dg.float64), dg.full((3,), 0.5, dtype=dg.float64)),
    "addmm": (dg.ones(2, 2, dtype=dg.float64), dg.full((2, 3), 0.5, dtype=dg.float64)),
    "clamp_max": (0.5,),
    "clamp_min": (0.5,),
    "cumsum": (1,),
}
for _name in ("atan2", "eq", "floor_divide", "ge", "gt", "le", "lt", "ne", "xlogy"):
    MORE[_name] = (dg.full((2, 3), 0.4, dtype=dg.float64),)
_MADE = {*in_place._WRITTEN, *in_place._COPIED, *in_place._OTHERWISE}
NAMES = sorted(_MADE - {"addmv", "baddbmm", "floor_divide"} | {"cumsum", "tril", "triu"})


def made(name: str) -> tuple[Any, Any]:
    leaf = dg.tensor(np.linspace(0.1, 0.8, 6).reshape(2, 3), requires_grad=True)
    return leaf, leaf * 1 + ONE.get(in_place._OTHERWISE.get(name, name), 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_values_and_gradients(name: str) -> None:
    more = MORE.get(in_place._OTHERWISE.get(name, name), ())
    leaf, x = made(name)
    want = getattr(x, name)(*more)
    own, y = made(name)
    assert getattr(y, name + "_")(*more) is y
    assert y.dtype is dg.float64
    np.testing.assert_array_equal(y.detach().numpy(), want.detach().numpy().astype(float))
    weight = dg.arange(6.0, dtype=dg.float64).reshape(2, 3)
    (y * weight).sum().backward()
    if want.requires_grad:
        (want * weight).sum().backward()
        np.testing.assert_array_equal(own.grad.numpy(), leaf.grad.numpy())
    else:
        assert not own.grad.any()


def test_of_three_matrices() -> None:
    x = dg.ones(2)
    assert x.addmv_(dg.ones(2, 3), dg.ones(3)).tolist() == [4.0, 4.0]
    y = dg.ones(1, 2, 2)
    assert y.baddbmm_(dg.ones(1, 2, 3), dg.ones(1, 3, 2), alpha=2).tolist() == [[[7.0, 7.0], [7.0, 7.0]]]
    z = dg.tensor([5, -5])
    assert z.floor_divide_(2).tolist() == [2, -3]


def test_another_shape_over_the_same_memory() -> None:
    x = dg.zeros(2, 3)
    whole = x[:]
    assert x.unsqueeze_(0) is x
    assert x.shape == (1, 2, 3)
    x[0, 1, 2] = 5
    x.squeeze_().transpose_(0, 1)
    assert x.tolist() == [[0.0, 0.0], [0.0, 0.0], [0.0, 5.0]]
    assert whole.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]]
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.unsqueeze_(5)
    assert x.shape == (3, 2)


def test_gradients_through_a_tensor_turned_and_written() -> None:
    leaf, x = made("t")
    x.t_().mul_(3.0)
    part = x[1:]
    part.t_().mul_(2.0)
    (x * x).sum().backward()
    factors = np.array([3.0, 6.0, 6.0])
    np.testing.assert_allclose(leaf.grad.numpy(), 2 * leaf.detach().numpy() * factors**2)


def test_what_has_no_history_any_more_is_an_error() -> None:
    leaf, x = made("t")
    row = x[0]
    x.t_()
    with pytest.raises(RuntimeError, match="another shape in place"):
        row.mul_(2.0)
    other = dg.ones(2, 3, dtype=dg.float64)
    total = (leaf * other).sum()
    other.t_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.t_()


def test_methods_as_functions() -> None:
    x = dg.tensor([0.25, 0.5])
    assert dg.sqrt_(x) is x
    np.testing.assert_allclose(x.numpy(), np.sqrt([0.25, 0.5]), rtol=1e-6)
    assert dg.is_floating_point(x)
    assert dg.arccos(input=x).shape == (2,)
    assert dg.conv1d(dg.ones(1, 1, 3), dg.ones(1, 1, 2)).tolist() == [[[2.0, 2.0]]]
    with pytest.raises(TypeError, match="argument 'input' .* must be Tensor, not float"):
        dg.sqrt_(2.0)
    with pytest.raises(AttributeError, match="no_such_"):
        _ = dg.no_such_
