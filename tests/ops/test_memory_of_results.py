"""Which results share the memory of what they are made from: views do, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad as dg
from distgrad import nn

F = nn.functional

COPIES: dict[str, Callable[[Any], Any]] = {
    "to, by position": lambda x: x.to(dg.float64, False, True),
    "to a device, by position": lambda x: x.to("cpu", dg.float64, False, True),
    "to another's kind, by position": lambda x: x.to(x, False, True),
    "to, by name": lambda x: x.to(dg.float64, copy=True),
    "ravel of a column": lambda x: x[:, 0].ravel(),
    "ravel of a transpose": lambda x: x.T.ravel(),
    "no turn": lambda x: dg.rot90(x, 0),
    "four turns": lambda x: dg.rot90(x, 4),
    "pixels shuffled by one": lambda x: F.pixel_shuffle(x[None], 1),
    "pixels apart by one": lambda x: F.pixel_unshuffle(x[None], 1),
    "flip of nothing": lambda x: x.flip(()),
    "roll by nothing": lambda x: x.roll(0),
    "sum of a number": lambda x: x[0, 0].sum(),
    "largest of a number": lambda x: x[0, 0].amax(),
    "pad by nothing": lambda x: F.pad(x, (0, 0)),
}
VIEWS: dict[str, Callable[[Any], Any]] = {
    "to": lambda x: x.to(dg.float64, False, False),
    "ravel": lambda x: x.ravel(),
    "ravel of a row": lambda x: x[1].ravel(),
    "ravel of a number": lambda x: x[1, 1].ravel(),
    "flatten of a column": lambda x: x[:, 0].flatten(),
    "windows": lambda x: x.unfold(0, 2, 1),
}


@pytest.mark.parametrize("name", [*COPIES, *VIEWS])
def test_a_write_is_seen_through_views_alone(name: str) -> None:
    x = dg.zeros(2, 2, dtype=dg.float64)
    ({**COPIES, **VIEWS})[name](x).fill_(1)
    assert (float(x.sum()) > 0) == (name in VIEWS)


@pytest.mark.parametrize("name", [*COPIES, *VIEWS])
def test_a_write_after_it_reaches_gradients_rightly(name: str) -> None:
    """Twice the result, and the tensor as it is after: d/dx of (2 y)·1 + b·1, b keeping what was not overwritten."""
    x = dg.ones(2, 2, dtype=dg.float64, requires_grad=True)
    b = x * 3
    made = ({**COPIES, **VIEWS})[name](b)
    made.mul_(2)
    b.sum().backward()
    written = 0 if name in COPIES else made.numel()
    assert float(x.grad.sum()) == 3 * (4 + written)


def test_bytes_resize_linearly() -> None:
    x = dg.tensor([[0, 100], [200, 40]], dtype=dg.uint8)[None, None]
    out = F.interpolate(x, size=(1, 1), mode="bilinear")
    assert out.dtype is dg.uint8
    assert out.item() == 85
