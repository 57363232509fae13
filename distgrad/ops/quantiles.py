"""Quantiles, and sums and means of the numbers that are not NaN."""

from __future__ import annotations

from typing import Any

from .. import backend, return_types
from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.tensor import TENSORS
from ._choosing import chosen
from ._declare import Dims, DType, attach, axes, axis, method, ndim_of, raw, unknown
from .creation import tensor
from .extremes import shared_evenly
from .indexing import gather
from .ordering import sort
from .reduction import _in_type, _spread, _sum, sum
from .selection import where
from .shape import filled

__all__ = ["aminmax", "nanmean", "nanquantile", "nansum", "quantile"]


@primitive(grad_name="AminmaxBackward0")
def _aminmax(xp, x, dims, keepdim):
    """The smallest and the largest over ``dims``."""
    return xp.min(x, axis=dims, keepdims=keepdim), xp.max(x, axis=dims, keepdims=keepdim)


_shared = shared_evenly(False)


def _aminmax_vjp(g, ans, x, dims, keepdim):
    low, high = [getattr(raw(x), name)(axis=dims, keepdims=keepdim) for name in ("min", "max")]
    return _shared(g[0], low, x, dims, keepdim) + _shared(g[1], high, x, dims, keepdim)


_aminmax.defvjp(_aminmax_vjp, saves="x")


@checked
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the largest element, of all or along ``dim``: a named tuple (min, max).

    Equals share the gradient evenly.

    >>> torch.aminmax(torch.tensor([2.0, 1.0, 3.0]))
    torch.return_types.aminmax(
    min=tensor(1.),
    max=tensor(3.))
    """
    x = raw(input)
    if x.dtype.kind == "c":
        raise unknown("aminmax_cpu", x)
    if dim is None and not x.size:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    if dim is not None and x.ndim and not x.shape[axis(dim, x.ndim)]:
        raise IndexError(f"aminmax: Expected reduction dim {axis(dim, x.ndim)} to have non-zero size.")
    return return_types.aminmax(  # type: ignore[attr-defined]
        _aminmax(input, None if dim is None else axes(dim, x.ndim), keepdim)
    )


attach("aminmax", aminmax)


@primitive(grad_name="NansumBackward0")
def _nansum(xp, x, dims, keepdim):
    return _sum_forward(xp, chosen(xp, x == x, x, 0.0), dims, keepdim)


_sum_forward = _sum.primitive.forward
_nansum.defvjp(
    lambda g, ans, x, dims, keepdim: filled(_spread(g, x.shape, dims, keepdim), x.shape) * (x == x),
    saves="x",
)


@method("nansum")
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The sum of the elements that are not NaN, of all or over dimension(s) ``dim``.

    >>> torch.nansum(torch.tensor([1.0, torch.nan, 2.0]))
    tensor(3.)
    """
    if raw(input).dtype.kind == "c":
        raise RuntimeError("nansum on CPU does not support complex inputs")
    if dtype is not None:
        input = _in_type(input, dtype)
    if raw(input).dtype.kind in "biu":
        return sum(input, dim, keepdim)
    return _nansum(input, axes(dim, ndim_of(input)), keepdim)


@method("nanmean")
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor:
    """The mean of the elements that are not NaN, of all or over dimension(s) ``dim``.

    >>> torch.nanmean(torch.tensor([1.0, torch.nan, 2.0]))
    tensor(1.5000)
    """
    if raw(input).dtype.kind in "biu":
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype.tensor_type[:-6]}"
        )
    if dtype is not None:
        input = _in_type(input, dtype)
    return nansum(input, dim, keepdim) / sum(~input.detach().isnan(), dim, keepdim)


_WAYS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool
) -> Tensor:
    x = raw(input)
    if interpolation not in _WAYS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if q.__class__ not in TENSORS:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = tensor(q, dtype=input.dtype, device=input.device)
    if ndim_of(q) > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype != input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    with backend.where_it_lies(x):
        if q.device.type == "cpu" and not bool(((raw(q) >= 0) & (raw(q) <= 1)).all()):
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if not x.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    d = None if dim is None else axis(dim, x.ndim)
    kept = [1] * x.ndim if d is None else [1 if k == d else n for k, n in enumerate(x.shape)]
    out_shape = tuple(kept) if keepdim else tuple([n for k, n in enumerate(kept) if d is not None and k != d])
    flat = input.reshape(-1) if d is None or x.ndim == 0 else input.movedim(d, -1)
    found = _between(sort(flat, -1).values, q.reshape(-1), interpolation, ignore_nan)
    found = found.reshape(*(out_shape if d is None or not keepdim else _dropped(kept, d)), -1)
    found = found.movedim(-1, 0)
    if keepdim and d is not None and x.ndim:
        found = found.unsqueeze(d + 1)
    return found.squeeze(0) if ndim_of(q) == 0 else found


def _dropped(shape: list[int], d: int) -> tuple[int, ...]:
    return tuple([n for k, n in enumerate(shape) if k != d])


def _between(ordered: Tensor, q: Tensor, interpolation: str, ignore_nan: bool) -> Tensor:
    """The quantiles ``q``, a vector, of the last dimension of ``ordered``, which they replace."""
    n = ordered.shape[-1]
    nan = ordered.detach().isnan()
    if ignore_nan:
        ranks = q * ((~nan).sum(-1, keepdim=True) - 1).clamp(min=0)
    else:
        ranks = where(nan[..., -1:], n - 1.0, q * (n - 1))
    below = ranks.detach()
    if interpolation == "higher":
        below = below.ceil()
    elif interpolation == "nearest":
        below = below.round()
    else:
        below = below.floor()
    low = gather(ordered, -1, below.long())
    if interpolation not in ("linear", "midpoint"):
        return low
    high = gather(ordered, -1, ranks.detach().ceil().long())
    weight = ranks - below if interpolation == "linear" else 0.5
    return low.lerp(high, weight)


@method("quantile")
def quantile(
    input: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The quantile(s) ``q`` in [0, 1], a number or a vector, of all elements or along ``dim``; NaN where there is one.

    A vector ``q`` gives the first dimension of the result.  ``interpolation``: what to take between two elements:
    ``"linear"``, ``"lower"``, ``"higher"``, ``"midpoint"`` or ``"nearest"``.  float32 and float64 only.

    >>> torch.quantile(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 0.75]))
    tensor([2., 3.])
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@method("nanquantile")
def nanquantile(
    input: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """:func:`quantile` of the elements that are not NaN.

    >>> torch.nanquantile(torch.tensor([1.0, torch.nan, 2.0]), 0.5)
    tensor(1.5000)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
