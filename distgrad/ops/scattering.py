"""Writing and adding to the elements that index tensors name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from .._arguments import checked, kind_of
from ..autograd import Tensor, primitive
from ..autograd.recording import tensors_in, watched
from ..autograd.tensor import TENSORS
from ..autograd.views import write
from ._declare import Number, Operand, attach, axis, method, ndim_of, raw
from ._index import Steps, clean, is_basic
from ._numbers import fitting
from .indexing import _check_within, _getitem, _grid, _put, _read
from .shape import broadcast_shapes, broadcast_to

__all__ = [
    "index_add", "index_copy", "index_fill", "index_put", "masked_scatter", "put", "scatter", "scatter_add", "take",
]  # fmt: skip


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


def add_at(xp: Any, out: Any, index: Any, value: Any) -> None:
    """``out[index] += value`` where every occurrence counts."""
    if index.__class__ is Steps:
        out, index = out[index.basic], index.picks
    if is_basic(index):
        out[index] += value
        return
    ufunc = xp.add if out.dtype.kind != "b" else xp.logical_or
    ufunc.at(out, index, value)


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


# --- scatter: an index for each element ------------------------------------------------------------------------------


def _same_type(name: str, x: Any, source: Any) -> None:
    if x.dtype != source.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")


def _longs(name: str, at: Any) -> None:
    if at.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")


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
        of = f" and to be no larger than src {list(raw(source).shape)}" if tensor else ""
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
        ufunc.at(out, index, value)
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


# --- index_…: an index for each slice --------------------------------------------------------------------------------


def _vector(name: str, index: Any) -> Any:
    at = raw(index)
    if at.ndim > 1:
        raise IndexError(f"{name}(): Index should have dimension 1 or 0 (got {at.ndim})")
    if at.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
    return at.reshape(-1)


def slices(name: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> tuple[Any, Any] | None:
    """The index of the slices along ``dim`` that the vector ``index`` names, and ``source`` in their shape; None for
    nothing."""
    x, at, y = raw(input), _vector(name, index), raw(source)
    d = axis(dim, x.ndim)
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) "
            f"{input.dtype.tensor_type[:-6]} and (source) {source.dtype.tensor_type[:-6]}"
        )
    n = y.shape[d] if y.ndim and d < y.ndim else 1
    if at.size != n and not (x.ndim == 0 or y.ndim == 0):
        raise RuntimeError(
            f"{name}(): Number of indices ({at.size}) should be equal to source.size(dim): ({n}), for dim: {d}"
        )
    want = (*x.shape[:d], at.size, *x.shape[d + 1 :]) if x.ndim else (at.size,)
    if (y.ndim == 0 and at.size != 1) or (y.ndim and x.ndim and y.shape != want) or y.size != int(np.prod(want)):
        raise RuntimeError(
            f"{name}(): source of shape {list(y.shape)} does not fit self of shape {list(x.shape)} and "
            f"{at.size} indices for dimension {d}"
        )
    if not at.size:
        return None
    _check_within(at, x.shape[d] if x.ndim else 1, d, IndexError)
    if x.ndim == 0:
        return (), source.reshape(())
    return (*(slice(None),) * d, at), source.reshape(want) if y.shape != want else source


@writes
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Plan | None:
    """``input`` with the slices of ``source``, ``alpha`` times, added to those along ``dim`` that the vector ``index``
    names.  RuntimeError for shapes and dtypes that do not fit, IndexError for an index that there is not.

    >>> torch.index_add(torch.zeros(3), 0, torch.tensor([0, 2, 0]), torch.ones(3))
    tensor([2., 0., 1.])
    """
    found = slices("index_add", input, dim, index, source)
    if found is None:
        return None
    kind = raw(input).dtype.kind
    if kind in "iu" and isinstance(alpha, float):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return Plan(_increased, found[1] if alpha == 1 else found[1] * alpha, found[0], "IndexAddBackward0", index)


@writes
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Plan | None:
    """``input`` with the slices of ``source`` in the place of those along ``dim`` that the vector ``index`` names.

    >>> torch.index_copy(torch.zeros(3), 0, torch.tensor([0, 2]), torch.ones(2))
    tensor([1., 0., 1.])
    """
    found = slices("index_copy", input, dim, index, source)
    return None if found is None else Plan(_written, found[1], found[0], "IndexCopyBackward0", index)


@writes
def index_fill(input: Tensor, dim: int, index: Tensor, value: Operand) -> Plan | None:
    """``input`` with ``value``, a number or a tensor of no dimensions, in the slices along ``dim`` that the vector
    ``index`` names.  IndexError for an index that there is not; a negative one counts from the end.

    >>> torch.index_fill(torch.zeros(3), 0, torch.tensor([0, 2]), 1.0)
    tensor([1., 0., 1.])
    """
    x, at = raw(input), raw(index)
    d = axis(dim, x.ndim)
    if at.dtype not in (np.int64, np.int32):
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if at.ndim > 1:
        raise IndexError("Index has to be a vector/scalar")
    tensor = value.__class__ in TENSORS
    if tensor and ndim_of(value):
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{ndim_of(value)} dimension(s)."
        )
    if not tensor:
        value = _number(value, x)
    if not at.size:
        return None
    at, n = at.reshape(-1), x.shape[d] if x.ndim else 1
    with backend.where_it_lies(at):
        least, most = int(at.min()), int(at.max())
        if least < -n or most >= n:
            bad = least if least < -n else most
            raise IndexError(f"index {bad} is out of bounds for dimension {d} with size {n}")
        at = backend.array_module(at).unique(at % n)  # of an index given twice the value's gradient counts once
    place = (*(slice(None),) * d, at) if x.ndim else ()
    return Plan(_written, value, place, f"IndexFillBackward{int(tensor)}", index)


@writes
def index_put(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Plan | None:
    """``input`` with ``input[indices] = values``, or, to ``accumulate``, with them added, every occurrence by itself.

    >>> torch.index_put(torch.zeros(3), (torch.tensor([0, 0]),), torch.tensor(1.0), accumulate=True)
    tensor([2., 0., 0.])
    """
    if not isinstance(indices, tuple | list):
        raise TypeError(
            f"index_put(): argument 'indices' (position 2) must be tuple of Tensors, not {kind_of(indices)}"
        )
    x, y = raw(input), raw(values)
    if x.dtype != y.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{input.dtype.tensor_type[:-6]} for the destination and {values.dtype.tensor_type[:-6]} for the source."
        )
    index = clean(tuple([slice(None) if i is None else i for i in indices]), x.shape)
    target = _read(x, index).shape
    if y.shape != target and broadcast_shapes(y.shape, target) != target:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(y.shape)} cannot be broadcast to indexing result of shape "
            f"{list(target)}"
        )
    return Plan(_increased if accumulate else _written, values, index, "IndexPutBackward0", *tensors_in(list(indices)))


# --- flat indices, masks ---------------------------------------------------------------------------------------------


def _flat(x: Any, index: Any) -> Any:
    """The indices ``index`` of the flattened ``x``, checked, and from 0 on."""
    at, n = raw(index), x.size
    if at.dtype not in (np.int64, np.int32):
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype.tensor_type[:-6]}")
    if not at.size:
        return at
    with backend.where_it_lies(at):
        least, most = int(at.min()), int(at.max())
        if least < -n or most >= n:
            bad = most if most >= n else least
            raise IndexError(f"out of range: tried to access index {bad} on a tensor of {n} elements.")
        return backend.array_module(at).where(at < 0, at + n, at)


@method("take")
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened ``input`` that ``index`` (int64) names, in its shape.

    IndexError for an index that there is not; a negative one counts from the end.

    >>> torch.take(torch.tensor([[4, 3], [5, 6]]), torch.tensor([0, 3]))
    tensor([4, 6])
    """
    at = _flat(raw(input), index)
    return watched(_getitem(input.reshape(-1), (at,)), index)


@writes
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Plan | None:
    """``input`` with the elements of ``source`` at the places of its flattened form that ``index`` (int64) names, or,
    to ``accumulate``, added there.

    >>> torch.put(torch.zeros(2, 2), torch.tensor([1, 2]), torch.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [6., 0.]])
    """
    x, y = raw(input), raw(source)
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {input.dtype} and "
            f"source.dtype = {source.dtype}"
        )
    if raw(index).size != y.size:
        raise RuntimeError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{y.size}, index.numel() = {raw(index).size}"
        )
    at = _flat(x, index)
    if not at.size:
        return None
    with backend.where_it_lies(at):
        place = tuple(backend.array_module(at).unravel_index(at, x.shape)) if x.ndim else ()
    value = source.reshape(at.shape if x.ndim or at.size > 1 else ())
    return Plan(_increased if accumulate else _written, value, place, "PutBackward0", index)


@method("masked_scatter")
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """``input`` with the elements of ``source``, one after another, where ``mask`` (bool, broadcast) is true.

    RuntimeError for too few of them, or another dtype.

    >>> torch.masked_scatter(torch.zeros(3), torch.tensor([True, False, True]), torch.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    shape = broadcast_shapes(input.shape, mask.shape)
    what = _masked(input, mask, source, shape)
    return watched(what.prim(broadcast_to(input, shape), *what.args), *what.tensors)


def _masked(input: Tensor, mask: Tensor, source: Tensor, shape: Any) -> Plan:
    x, where, y = raw(input), raw(mask), raw(source)
    if x.dtype != y.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got"
            f"{input.dtype.tensor_type[:-6]} and {source.dtype.tensor_type[:-6]}"
        )
    if where.dtype != np.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    xp = backend.array_module(where)
    with backend.where_it_lies(where):
        where = xp.broadcast_to(where, tuple(shape))
        n = int(where.sum())
    if n > y.size:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    value = source.reshape(-1)
    return Plan(_written, value[:n] if n < y.size else value, (where,), "MaskedScatterBackward0", mask)


def _masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """In-place version of :func:`masked_scatter`."""
    what = _masked(self, mask, source, self.shape)
    return write(what.prim.primitive, self, what.args, {}, what.tensors)


attach("masked_scatter_", _masked_scatter_)
