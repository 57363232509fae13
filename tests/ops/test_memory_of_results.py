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


PARTS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "torch.real": (dg.real, 3 + 10),
    "real": (lambda z: z.real, 3 + 10),
    "torch.imag": (dg.imag, 1 + 30),
    "imag": (lambda z: z.imag, 1 + 30),
    "real of a view": (lambda z: z[:2].real, 3 + 10),
    "a view of imag": (lambda z: z.imag[:], 1 + 30),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_write_to_a_part_of_complex_numbers_is_recorded(name: str) -> None:
    """Re z + 5 Im z, z = (1 + 2i) x with one part tripled."""
    part, slope = PARTS[name]
    x = dg.tensor([1.0, 2.0], dtype=dg.float64, requires_grad=True)
    z = x * (1 + 2j)
    part(z).mul_(3)
    assert z._version == 1
    (z.real.sum() + 5 * z.imag.sum()).backward()
    assert x.grad.tolist() == [slope, slope]


@pytest.mark.parametrize("name", PARTS)
def test_a_write_to_a_part_makes_saved_numbers_stale(name: str) -> None:
    x = dg.tensor([1.0, 2.0], dtype=dg.float64, requires_grad=True)
    z = x * (1 + 2j)
    square = z * z
    PARTS[name][0](z).mul_(3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.real.sum().backward()


def test_second_derivatives_go_through_a_part_that_was_written() -> None:
    """Re z = a³ after the write: 6 a."""
    a = dg.tensor([2.0, 3.0], dtype=dg.float64, requires_grad=True)
    z = a * (1 + 2j)
    z.real.mul_(a * a)
    (slope,) = dg.autograd.grad(z.real.sum(), a, create_graph=True)
    assert dg.autograd.grad(slope.sum(), a)[0].tolist() == [12.0, 18.0]


def test_parts_are_set() -> None:
    a = dg.tensor([1.0, 2.0], dtype=dg.float64, requires_grad=True)
    z = a * (1 + 0j)
    z.imag = a * 3
    assert z.tolist() == [1 + 3j, 2 + 6j]
    z.imag.sum().backward()
    assert a.grad.tolist() == [3.0, 3.0]
    x = dg.zeros(2)
    x.real = dg.ones(2)
    assert x.tolist() == [1.0, 1.0]


def test_the_real_part_of_real_numbers_is_they_themselves() -> None:
    x = dg.ones(2, requires_grad=True)
    b = x * 1
    assert dg.real(b) is b
    dg.real(b).mul_(2)
    b.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
