"""Writing and adding to the elements that index tensors name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.recording import watched
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._adding import add_at, combine
from ._declare import Number, Operand, attach, axis, raw
from ._index import is_basic
from ._numbers import fitting
from .indexing import _check_within, _getitem, _grid, _put

__all__ = ["scatter", "scatter_add"]


def _node(default: str) -> Callable[[Any], str]:
    """The name of a node that its last option gives; a freed node does not know any more."""
    return lambda node: node.args[3] if node.args is not None else default


@primitive(meta="value", grad_name=_node("ScatterBackward0"))
def _written(xp, x, value, index, name):
    """``x`` with ``value`` at ``index``."""
    out = xp.array(x)
    _put(out, index, value)
    return out


_written.defvjp(
    lambda g, ans, x, value, index, name: _written(g, 0.0, index, name),
    lambda g, ans, x, value, index, name: _getitem(g, index),
    saves="",
)


@primitive(meta="value", grad_name=_node("ScatterAddBackward0"))
def _increased(xp, x, value, index, name):
    """``x`` with ``value`` added at ``index``: wherever that names an element several times, so often."""
    out = xp.array(x)
    add_at(xp, out, index, value)
    return out


_increased.defvjp(
    lambda g, ans, x, value, index, name: g,
    lambda g, ans, x, value, index, name: _getitem(g, index),
    saves="",
)


class Plan:
    """A write: the primitive, its arguments beside the tensor that is written, and the index tensors among them."""

    def __init__(self, prim: Any, value: Any, index: Any, name: str, *tensors: Any) -> None:
        self.prim, self.args, self.tensors = prim, (value, index, name), tensors


def writes(plan: Callable[..., Plan | None]) -> Any:
    """From ``plan``, which says what is to be written (None: nothing): the function of its name, and the methods that
    return what that does and that do it in place."""
    plan = checked(plan)
    name = plan.__name__

    @functools.wraps(plan)
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        what = plan(input, *args, **kwargs)
        return watched(what.prim(input, *what.args), *what.tensors) if what is not None else input.clone()

    def inplace(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        what = plan(self, *args, **kwargs)
        return write(what.prim.primitive, self, what.args, {}, what.tensors) if what is not None else self

    function.__annotations__ = {**plan.__annotations__, "return": "Tensor"}
    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"In-place version of :func:`{name}`."
    attach(name, function)
    attach(name + "_", inplace)
    return function


def _same_type(name: str, x: Any, source: Any) -> None:
    if x.dtype != source.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")


def _longs(name: str, at: Any) -> None:
    if at.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def addressed(name: str, input: Any, dim: int, index: Tensor, source: Any) -> tuple[Any, Any] | None:
    """The index that addresses ``input[..., index, ...]`` along ``dim``, and what of ``source`` goes there; None for
    nothing.  RuntimeError for shapes and indices that do not fit."""
    x, at = raw(input), raw(index)
    d = axis(dim, x.ndim)
    tensor = source.__class__ in TENSORS
    if tensor:
        _same_type(name, x, raw(source))
    _longs(name, at)
    if not at.size:
        return None
    if (x.ndim or 1) != (at.ndim or 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if tensor and (raw(source).ndim or 1) != (at.ndim or 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    shape = at.shape or (1,)
    have = x.shape or (1,)
    given = (raw(source).shape or (1,)) if tensor else shape
    if any(n > m for k, (n, m) in enumerate(zip(shape, have, strict=True)) if k != d) or any(
        n > m for n, m in zip(shape, given, strict=True)
    ):
        of = f" and to be no larger size than src {list(raw(source).shape)}" if tensor else ""
        raise RuntimeError(
            f"Expected index {list(at.shape)} to be no larger than self {list(x.shape)} apart from dimension {d}{of}"
        )
    _check_within(at, have[d], d)
    if tensor and raw(source).shape != at.shape:
        source = source.reshape(given)[tuple([slice(0, n) for n in shape])]
    if x.ndim == 0:
        return (), source.reshape(()) if tensor else source
    with backend.where_it_lies(at):
        return _grid(at.reshape(shape), d), source.reshape(shape) if tensor else source


def _number(value: Any, x: Any) -> Any:
    """A number, or a tensor of no dimensions, to be written to ``x``."""
    if value.__class__ in TENSORS:
        value = value.item()
    return fitting(value.item() if isinstance(value, np.generic) else value, x.dtype)


@writes
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Operand | None = None, *, value: Number | None = None,
    reduce: str | None = None,
) -> Plan | None:  # fmt: skip
    """``out[index[i][j]][j] = src[i][j]`` (for ``dim`` 0): ``input`` with the elements of ``src``, or one number, put
    where ``index`` (int64) says.

    With ``reduce`` ``"add"`` or ``"multiply"`` they are added to, or multiplied with, what is there; of this there is
    no gradient, as in PyTorch.  Of several for one place the last counts.  RuntimeError for shapes that
    do not fit, an index out of bounds, and another dtype of ``src``.

    >>> torch.scatter(torch.zeros(2, 3), 1, torch.tensor([[0], [2]]), 1.0)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    source = value if src is None else src
    if source is None:
        raise TypeError('scatter() missing 1 required positional arguments: "src"')
    if source.__class__ not in TENSORS:
        source = _number(source, raw(input))
    found = addressed("scatter", input, dim, index, source)
    if found is None:
        return None
    at, source = found
    if reduce is None:
        tensor = source.__class__ in TENSORS
        return Plan(_written, source, at, "ScatterBackward0" if tensor else "ScatterBackward1", index)
    if reduce in ("add", "multiply"):
        return Plan(_combined, source, at, reduce, index)
    raise RuntimeError("reduce argument must be either add or multiply.")


@primitive(meta="value", grad_name="NotImplemented")
def _combined(xp, x, value, index, name):
    """``x`` with ``value`` added to or multiplied with (``name``) what is at ``index``."""
    out = xp.array(x)
    combine_at(xp, name, out, index, value)
    return out


def _no_rule(g, ans, x, value, index, name):
    raise RuntimeError("derivative for aten::scatter is not implemented: use scatter_add or scatter_reduce")


_combined.defvjp(_no_rule, _no_rule, saves="")


def combine_at(xp: Any, name: str, out: Any, index: Any, value: Any) -> None:
    """``out[index] = ufunc(out[index], value)``, where every occurrence counts, ``name`` being the ufunc's."""
    ufunc = getattr(xp, name)
    if is_basic(index):
        out[index] = ufunc(out[index], value)
        return
    if xp is np:
        combine(ufunc, out, index, value)
        return
    # CuPy knows this of few functions: here the first occurrences of all places are written, then the second ones, …
    places = xp.arange(out.size).reshape(out.shape)[index].reshape(-1)
    values = xp.broadcast_to(xp.asarray(value, out.dtype), out[index].shape).reshape(-1)
    order = xp.argsort(places)
    ordered = places[order]
    counted = xp.arange(ordered.size)
    which = counted - xp.searchsorted(ordered, ordered, side="left")
    flat = out.reshape(-1)
    for k in range(int(which.max()) + 1 if which.size else 0):
        chosen = order[which == k]
        flat[places[chosen]] = ufunc(flat[places[chosen]], values[chosen])
    out[...] = flat.reshape(out.shape)


@writes
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Plan | None:
    """``out[index[i][j]][j] += src[i][j]`` (for ``dim`` 0): ``input`` with the elements of ``src`` added where
    ``index`` (int64) says.

    >>> torch.scatter_add(torch.zeros(3), 0, torch.tensor([0, 2, 0]), torch.ones(3))
    tensor([2., 0., 1.])
    """
    found = addressed("scatter", input, dim, index, src)
    return None if found is None else Plan(_increased, found[1], found[0], "ScatterAddBackward0", index)
