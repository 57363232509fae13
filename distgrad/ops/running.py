"""What runs along a dimension: products, extremes and logarithms of sums so far, and differences of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, return_types
from ..autograd import Tensor, primitive
from ..autograd.recording import watched
from ..autograd.views import write
from ._declare import DType, axis, in_float32, method, ndim_of, raw, unknown, wide
from .elementwise import exp, log
from .indexing import _grid, _scattered
from .joining import _stack, cat
from .ordering import scan
from .rearranging import _flip
from .reduction import _cumsum, _in_type
from .selection import _where, logical_xor

__all__ = ["cummax", "cummin", "cumprod", "diff", "logcumsumexp"]


def _backwards(x: Any, dim: int) -> Any:
    """The sum of each element and all that follow it along ``dim``."""
    return _flip(_cumsum(_flip(x, (dim,)), dim), (dim,))


@primitive(grad_name="CumprodBackward0")
@in_float32
def _cumprod(xp, x, dim):
    kind = np.int64 if x.dtype.kind in "biu" else x.dtype
    return xp.cumprod(x, axis=dim, dtype=kind) if x.ndim else x.astype(kind)


def _cumprod_vjp(g, ans, x, dim):
    """The products over the element, where none is 0; else, element by element, the products in which it is 1."""
    if not x.shape:
        return g
    n = x.shape[dim]
    with backend.where_it_lies(raw(x)):
        none = not bool((raw(x) == 0).any())
        at = backend.array_module(raw(x)).arange(n).reshape([-1 if k == dim else 1 for k in range(len(x.shape))])
    if none:
        return _backwards(g * ans.conj(), dim) / x.conj()
    lead = (slice(None),) * dim
    parts = []
    for k in range(n):
        rest = (*lead, slice(k, None))
        with backend.where_it_lies(at):
            here = at == k
        others = _cumprod(_where(1.0, x, here), dim)[rest]
        parts.append((g[rest] * others.conj()).sum(dim))
    return _stack(*parts, dim=dim)


_cumprod.defvjp(_cumprod_vjp, saves="ans x")


@method("cumprod")
def cumprod(input: Tensor, dim: int, *, dtype: DType = None) -> Tensor:
    """Running product along ``dim``; of bools and integers in int64.

    >>> torch.cumprod(torch.tensor([1, 2, 3]), dim=0)
    tensor([1, 2, 6])
    """
    if dtype is not None:
        return cumprod(_in_type(input, dtype), dim).to(dtype)
    return _cumprod(input, axis(dim, ndim_of(input)))


@primitive(meta="x", grad_name=lambda node: node.args[3] if node.args is not None else "CummaxBackward0")
def _so_far(xp, x, index, dim, name):
    """The elements at ``index`` along ``dim``, some of them several times."""
    return xp.take_along_axis(x, index, dim)


_so_far.defvjp(
    lambda g, ans, x, index, dim, name: _scattered(g, tuple(x.shape), _grid(index, dim)),
    saves="x",
)


@method("cumprod_")
def cumprod_(self: Tensor, dim: int, *, dtype: DType = None) -> Tensor:
    """In-place version of :func:`cumprod`."""
    return write(_cumprod.primitive, self, (axis(dim, ndim_of(self)),), {})


def _extreme_so_far(name: str, ufunc: str) -> Any:
    def reduce(input: Tensor, dim: int) -> Any:
        x, d = raw(input), axis(dim, ndim_of(input))
        if x.dtype.kind == "c":
            raise unknown(f"{name}_cpu", x)
        xp = backend.array_module(x)
        with backend.where_it_lies(x):
            index = _latest(xp, wide(x), d, getattr(xp, ufunc)) if x.ndim and x.size else xp.zeros(x.shape, np.int64)
        indices = Tensor._wrap(index, None)
        node = name.capitalize() + "Backward0"
        values = watched(_so_far(input, index, d, node), indices) if x.ndim else input.clone()
        return getattr(return_types, name)((values, indices))

    word = "largest" if name == "cummax" else "smallest"
    reduce.__name__ = reduce.__qualname__ = name
    shown = ("1., 3., 3.", "0, 1, 1") if name == "cummax" else ("1., 1., 1.", "0, 0, 0")
    reduce.__doc__ = (
        f"The {word} element so far along ``dim``, and the index of the last one of it: (values, indices).\n\n"
        "    NaN stays from where it is first met.\n\n"
        f"    >>> torch.{name}(torch.tensor([1.0, 3.0, 2.0]), dim=0)\n    torch.return_types.{name}(\n"
        f"    values=tensor([{shown[0]}]),\n    indices=tensor([{shown[1]}]))\n    "
    )
    return method(name)(reduce)


def _latest(xp: Any, x: Any, dim: int, ufunc: Any) -> Any:
    """The index of the last element that equals the extreme so far."""
    best = scan(xp, ufunc, x, dim)
    here = x == best
    if x.dtype.kind == "f":
        here = here | xp.isnan(x)
    places = xp.arange(x.shape[dim]).reshape([-1 if k == dim else 1 for k in range(x.ndim)])
    return scan(xp, xp.maximum, xp.where(here, places, 0), dim).astype(np.int64, copy=False)


cummax, cummin = _extreme_so_far("cummax", "maximum"), _extreme_so_far("cummin", "minimum")


def _added(xp: Any, x: Any, y: Any) -> Any:
    """``log(exp(x) + exp(y))`` of complex arrays."""
    least, most = xp.where(x.real < y.real, x, y), xp.where(x.real < y.real, y, x)
    found = most + xp.log1p(xp.exp(least - most))
    even = ~xp.isfinite(least.real) & (least.real == most.real)
    found = xp.where(even, xp.where(least.real < 0, most, xp.log(xp.exp(least) + xp.exp(most))), found)
    return xp.where(xp.isnan(x) | xp.isnan(y), complex(np.nan, np.nan), found).astype(x.dtype)


@primitive(grad_name="LogcumsumexpBackward0")
@in_float32
def _logcumsumexp(xp, x, dim):
    if not x.ndim or not x.size:
        return x.copy()
    if x.dtype.kind != "c":
        return scan(xp, xp.logaddexp, x, dim)
    lead = (slice(None),) * dim
    parts = [x[(*lead, slice(0, 1))]]
    for k in range(1, x.shape[dim]):
        parts.append(_added(xp, parts[-1], x[(*lead, slice(k, k + 1))]))
    return xp.concatenate(parts, axis=dim)


def _logcumsumexp_vjp(g, ans, x, dim):
    """``exp(x) * sum(g * exp(-ans))`` of what follows, its sum taken in logarithms, of both signs apart."""

    def summed(logs: Any) -> Any:
        return exp(_flip(_logcumsumexp(_flip(logs - ans, (dim,)), dim), (dim,)) + x)

    if not x.shape:
        return g
    kind = raw(ans).dtype
    if kind.kind == "c":
        return summed(log(g.conj())).conj()
    least = float(np.finfo(np.float32 if kind.itemsize < 8 else np.float64).min) / 4
    above, below = raw(g) > 0, raw(g) < 0
    parts = [_where(log(_where(part, 1.0, mask)), least, mask) for part, mask in ((g, above), (-g, below))]
    return summed(parts[0]) - summed(parts[1])


_logcumsumexp.defvjp(_logcumsumexp_vjp, saves="ans x")


@method("logcumsumexp")
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """The logarithm of the running sum of exponentials along ``dim``, without overflow; of floating-point and complex
    tensors.

    >>> torch.logcumsumexp(torch.zeros(3), dim=0)
    tensor([0.0000, 0.6931, 1.0986])
    """
    if raw(input).dtype.kind in "biu":
        raise unknown("logcumsumexp_out_cpu", raw(input))
    return _logcumsumexp(input, axis(dim, ndim_of(input)))


@method("diff")
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The ``n``-th differences of neighbours along ``dim``, of bools whether they differ; ``prepend`` and ``append``
    are put before and behind first.

    >>> torch.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if ndim_of(input) == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = axis(dim, ndim_of(input))
    around = [t for t in (prepend, input, append) if t is not None]
    for t in around:
        if ndim_of(t) != ndim_of(input):
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        for k, (have, want) in enumerate(zip(raw(t).shape, raw(input).shape, strict=True)):
            if k != d and have != want:
                raise RuntimeError(
                    "diff expects the shape of tensor to prepend or append to match that of input except along the "
                    f"differencing dimension; input.size({k}) = {want}, but got tensor.size({k}) = {have}"
                )
    if n == 0:
        return input.clone()
    x = cat(around, d) if len(around) > 1 else input
    lead = (slice(None),) * d
    for _ in range(min(n, raw(x).shape[d])):
        after, before = x[(*lead, slice(1, None))], x[(*lead, slice(0, -1))]
        x = logical_xor(after, before) if raw(x).dtype.kind == "b" else after - before
    return x
