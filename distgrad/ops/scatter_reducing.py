"""Elements brought together where index tensors say: their sum, product, mean, largest or smallest."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor, primitive
from ..autograd.recording import watched
from ._adding import add_at
from ._declare import attach, method, raw, wide
from .creation import ones_like, zeros_like
from .division import div
from .index_writes import slices
from .indexing import _getitem, _read
from .scattering import _increased, _written, addressed, combine_at
from .selection import _where

__all__ = ["index_reduce", "scatter_reduce"]

_UFUNCS = {"prod": "multiply", "amax": "maximum", "amin": "minimum"}


def _neutral(kind: Any, reduce: str) -> Any:
    """What does not change a sum, product or extreme of numbers of type ``kind``."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if kind.kind == "b":
        return reduce == "amin"
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return limits.min if reduce == "amax" else limits.max
    return -np.inf if reduce == "amax" else np.inf


def _put_together(xp: Any, x: Any, source: Any, index: Any, reduce: str) -> Any:
    out = xp.array(wide(x))
    source = wide(source)
    combine_at(xp, _UFUNCS[reduce], out, index, source)
    return out.astype(x.dtype, copy=False)


@primitive(grad_name=lambda node: node.args[4] if node.args is not None else "ScatterReduceBackward0")
def _extreme_of(xp, x, source, index, reduce, name):
    """The largest or smallest of each element of ``x`` and all of ``source`` that ``index`` sends there."""
    return _put_together(xp, x, source, index, reduce)


def _share(g: Any, ans: Any, x: Any, source: Any, index: Any) -> Any:
    """The gradient of each element of the result, divided among all that equal it."""
    xp = backend.array_module(raw(ans))
    with backend.where_it_lies(raw(ans)):
        same = (raw(x) == raw(ans)).astype(raw(ans).dtype)
        equal = (raw(source) == _read(raw(ans), index)).astype(raw(ans).dtype)
        count = xp.array(same)  # NumPy may have made a scalar
        add_at(xp, count, index, equal)
    return g / (count if not isinstance(g, Tensor) else Tensor._wrap(count, None))


_extreme_of.defvjp(
    lambda g, ans, x, source, index, reduce, name: _where(_share(g, ans, x, source, index), 0.0, raw(x) == raw(ans)),
    lambda g, ans, x, source, index, reduce, name: _where(
        _getitem(_share(g, ans, x, source, index), index), 0.0, raw(source) == _read(raw(ans), index)
    ),
    saves="ans x source",
)


@primitive(grad_name=lambda node: node.args[3] if node.args is not None else "ScatterReduceBackward0")
def _product_of(xp, x, source, index, name):
    """Each element of ``x`` times all of ``source`` that ``index`` sends there."""
    return _put_together(xp, x, source, index, "prod")


def _product_vjp_x(g, ans, x, source, index, name):
    ones = _where(1.0, x, raw(x) == raw(x))  # where an element is 0, the product of the others
    return g * _product_of(ones, source, index, name).conj()


def _product_vjp_source(g, ans, x, source, index, name):
    """The product divided by the element; of a single 0 for its place the product of the others; of several 0."""
    xp = backend.array_module(raw(source))
    with backend.where_it_lies(raw(source)):
        zero = raw(source) == 0
        zeros = xp.zeros(raw(ans).shape, np.int64)
        add_at(xp, zeros, index, zero.astype(np.int64))
        single = zero & (_read(zeros, index) == 1)
    if not bool(zero.any()):
        return _getitem(g * ans.conj(), index) / source.conj()
    others = _product_of(x, _where(1.0, source, single), index, name)
    alone = _getitem(g * others.conj(), index)
    shared = _getitem(g * ans.conj(), index) / _where(1.0, source, zero).conj()
    return _where(alone, shared, single)


_product_of.defvjp(_product_vjp_x, _product_vjp_source, saves=("x source", "ans x source"))


def _reduced(name: str, x: Tensor, index: Any, source: Any, reduce: str, include_self: bool) -> Tensor:
    """``x`` with ``source`` reduced into it at ``index``, an index of arrays."""
    node = name.title().replace("_", "") + "Backward0"
    kind = raw(x).dtype
    before = x
    if not include_self:
        x = _written(x, _neutral(kind, reduce), index, node)
    if reduce == "sum":
        return _increased(x, source, index, node)
    if reduce == "prod":
        return _product_of(x, source, index, node)
    if reduce in ("amax", "amin"):
        return _extreme_of(x, source, index, reduce, node)
    total = _increased(x, source, index, node)
    with backend.where_it_lies(raw(x)):
        count = (ones_like if include_self else zeros_like)(before.detach())
        count = _increased(count, ones_like(source.detach()), index, node)
        count._data[count._data == 0] = 1
    return total / count if kind.kind in "fcV" else div(total, count, rounding_mode="floor")


@method("scatter_reduce")
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The elements of ``src`` brought together where ``index`` (int64) says along ``dim``, with what ``input`` has
    there, or without it: their ``reduce``: ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.

    Equals share the gradient of an extreme evenly.  RuntimeError for shapes, indices and dtypes that do not fit.

    >>> torch.scatter_reduce(torch.zeros(2), 0, torch.tensor([0, 1, 0]), torch.tensor([1.0, 2.0, 3.0]), "amax")
    tensor([3., 2.])
    """
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    found = addressed("scatter", input, dim, index, src)
    if found is None:
        return input.clone()
    return watched(_reduced("scatter_reduce", input, *found, reduce, include_self), index)


@method("index_reduce")
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The slices of ``source`` brought together in those along ``dim`` that the vector ``index`` names: their
    ``reduce``: ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``; otherwise as :func:`scatter_reduce`.

    >>> x = torch.tensor([1.0, 1.0])
    >>> torch.index_reduce(x, 0, torch.tensor([0, 0]), torch.tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    found = slices("index_reduce", input, dim, index, source)
    if found is None:
        return input.clone()
    return watched(_reduced("index_reduce", input, *found, reduce, include_self), index)


def _in_place(function: Any) -> None:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.copy_(function(self.clone(), *args, **kwargs))

    method.__name__ = method.__qualname__ = function.__name__ + "_"
    method.__doc__ = f"In-place version of :func:`{function.__name__}`."
    attach(method.__name__, method)


_in_place(scatter_reduce)
_in_place(index_reduce)
