"""Gated and shrinking activations."""

from __future__ import annotations

from typing import Any

from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._choosing import chosen
from .._declare import axis, in_float32, method, noun, raw
from .._limits import between
from .._pieces import in_pieces
from ..elementwise import sigmoid
from ..selection import _where
from .activation import _stepwise

__all__ = ["glu", "hardshrink", "softshrink"]


def _floats(x: Tensor, name: str) -> None:
    if x._data.dtype.kind not in "fV":
        raise NotImplementedError(f"\"{name}\" not implemented for '{noun(x)}'")


@checked
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b), a and b being the halves of the input along ``dim`` (Dauphin et al. 2017, arXiv:1612.08083).

    RuntimeError: an odd size.

    >>> F.glu(torch.tensor([2.0, 4.0, 0.0, 0.0]))
    tensor([1., 2.])
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    d = axis(dim, input.ndim)
    n = input.shape[d]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {d} is size {n}")
    _floats(input, "glu_cpu")
    return _glu(input, d)


def _halves(x: Any, d: int) -> tuple[Any, Any]:
    n, before = x.shape[d] // 2, (slice(None),) * d
    return x[(*before, slice(n))], x[(*before, slice(n, None))]


@primitive(grad_name="GluBackward0")
@in_float32
def _glu(xp, x, d):
    a, b = _halves(x, d)
    return a / (1 + xp.exp(-b))


@primitive(grad_name="CatBackward0")
def _joined(xp, a, b, d):
    return xp.concatenate((a, b), axis=d)


_joined.defvjp(lambda g, ans, a, b, d: _halves(g, d)[0], lambda g, ans, a, b, d: _halves(g, d)[1], saves=("", ""))


def _glu_vjp(g, ans, x, d):
    a, b = _halves(x, d)
    s = sigmoid(b)
    gated = g * s
    return _joined(gated, gated * a * (1 - s), d)


_glu.defvjp(_glu_vjp, saves="x")


@primitive(grad_name="HardshrinkBackward0")
@in_float32
@in_pieces
def _hardshrink(xp, x, lambd):
    return chosen(xp, (x >= -lambd) & (x <= lambd), 0.0, x)


_hardshrink.defvjp(
    in_pieces(lambda g, ans, x, lambd: _stepwise(_where(0.0, g, raw((x >= -lambd) & (x <= lambd))), x)), saves="x"
)


@primitive(grad_name="SoftshrinkBackward0")
@in_float32
@in_pieces
def _softshrink(xp, x, lambd):
    return x - between(xp, x, -lambd, lambd)


_softshrink.defvjp(
    in_pieces(lambda g, ans, x, lambd: _stepwise(_where(0.0, g, raw((x >= -lambd) & (x <= lambd))), x)), saves="x"
)


@method("hardshrink")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 where ``input`` is between -``lambd`` and ``lambd``, else ``input``.

    >>> F.hardshrink(torch.tensor([-1.0, 0.5, 2.0]))
    tensor([-1.,  0.,  2.])
    """
    _floats(input, "hardshrink_cpu")
    return _hardshrink(input, lambd)


@checked
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``input`` brought nearer to 0 by ``lambd``, but not past it.

    RuntimeError: a negative ``lambd``.

    >>> F.softshrink(torch.tensor([-1.0, 0.5, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])
    """
    _floats(input, "softshrink_check")
    most = 3.40282e38
    if not lambd >= 0:
        raise RuntimeError(f"lambda must be in range [0, {most:g}] for input dtype {noun(input)}, but found {lambd:g}")
    return _softshrink(input, lambd)
