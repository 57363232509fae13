"""Reading and writing parts of a tensor by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor, primitive
from ..autograd.recording import tensors_in, watched
from ..autograd.tensor import TENSORS
from ._adding import Grid, grid, read_at, summed, write_at
from ._declare import Operand, axis, method, ndim_of, noun, raw
from ._index import Steps, clean, explain, is_basic
from ._numbers import fitting
from .shape import _expanded, broadcast_shapes

__all__ = ["gather", "index_select", "masked_select", "narrow", "nonzero", "select", "take_along_dim"]

_NUMBERS = frozenset({int, float, complex})


def _name(node: Any) -> str:
    index = node.args[1]
    if not is_basic(index):
        return "IndexBackward0"
    last = index[-1] if index.__class__ is tuple and index else index
    return (
        "SelectBackward0"
        if isinstance(last, (int, np.integer))
        else "SliceBackward0"
        if isinstance(last, slice)
        else "AliasBackward0"
    )


def _read(x: Any, index: Any) -> Any:
    if index.__class__ is Grid:
        return read_at(backend.array_module(x), x, index)
    try:
        return x[index] if index.__class__ is not Steps else x[index.basic][index.picks]
    except IndexError as e:
        raise explain(index, x.shape, e) from None
    except (TypeError, ValueError):
        _check_indices(x, index)
        raise


def _put(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value`` on arrays; leading dimensions of size 1 of ``value`` do not count."""
    if index.__class__ is Steps:
        x, index = x[index.basic], index.picks
    if value.__class__ in _NUMBERS:
        value = fitting(value, x.dtype)
    if index.__class__ is Grid:
        write_at(backend.array_module(x), x, index, value)
        return
    shape: Any = getattr(value, "shape", ())
    if len(shape) and shape[0] == 1:
        value = value.reshape(_stripped(shape))
    try:
        x[index] = value
    except (ValueError, TypeError):
        if not backend.is_array(value):
            raise
        _check_indices(x, index)
        target = _read(x, index).shape
        if is_basic(index):
            _expanded(target, tuple(value.shape))
        try:
            value = backend.array_module(value).broadcast_to(value, target)
        except ValueError:
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of "
                f"shape {list(target)}"
            ) from None
        x[index] = value  # a mask, to which NumPy assigns but one dimension


def _stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without its leading ones."""
    return shape[next((i for i, n in enumerate(shape) if n != 1), len(shape)) :]


def _check_indices(x: Any, index: Any) -> None:
    """RuntimeError where an index array lies neither on the CPU nor beside ``x``."""
    here = backend.device_of(x)
    for i in index.picks if index.__class__ is Steps else index if index.__class__ is tuple else (index,):
        if backend.is_array(i) and backend.device_of(i) not in (here, backend.CPU):
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({here}), "
                f"got one on {backend.device_of(i)}"
            )


@primitive(meta="x", view=True, grad_name=_name)
def _getitem(xp, x, index):
    out = _read(x, index)
    return (
        out
        if out.__class__ is np.ndarray or not isinstance(out, np.generic)
        else x[(*index, ...) if index.__class__ is tuple else (index, ...)]
    )


@primitive(grad_name="IndexPutBackward0")
def _scattered(xp, x, shape, index):
    """Zeros of ``shape`` with ``x`` added at ``index``."""
    if is_basic(index):
        out = xp.zeros(shape, x.dtype)
        out[index] = x
        return out
    return summed(xp, shape, index, x)


_getitem.defvjp(lambda g, ans, x, index: _scattered(g, tuple(x.shape), index), saves="x")
_scattered.defvjp(lambda g, ans, x, shape, index: _getitem(g, index), saves="")


@method("__getitem__", check=False)
def getitem(self: Tensor, index: Any) -> Tensor:
    """``self[index]``: integers, slices, None and Ellipsis give views; tensors, lists and bool masks give copies."""
    if index.__class__ is int or (index.__class__ is slice and index.step is None):
        return _getitem(self, index)
    return watched(_getitem(self, clean(index, self._data.shape)), *tensors_in(index))


@primitive(meta="value", promote=None, grad_name="CopySlices")
def _setitem(xp, x, value, index):
    x = xp.array(x)
    _put(x, index, value)
    return x


def _erase(g, ans, x, value, index):
    return _setitem(g, 0.0, index)


_setitem.defvjp(_erase, lambda g, ans, x, value, index: _getitem(g, index), saves="")


@method("__contains__")
def contains(self: Tensor, element: Operand) -> bool:
    """Whether one of the elements equals ``element``."""
    with backend.where_it_lies(self._data):
        return bool((self._data == raw(element)).any())


@method("select")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice number ``index`` along ``dim``; a view.

    >>> torch.select(torch.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])
    """
    return _getitem(input, (slice(None),) * axis(dim, ndim_of(input)) + (int(index),))


@method("narrow")
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """``length`` slices along ``dim`` from ``start`` on; a view.

    >>> torch.narrow(torch.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    if ndim_of(input) == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    n = raw(input).shape[axis(dim, ndim_of(input))]
    if start.__class__ in TENSORS and (raw(start).ndim or raw(start).dtype.kind not in "iu"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    start = int(start)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start += n if start < 0 else 0
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return _getitem(input, (slice(None),) * axis(dim, ndim_of(input)) + (slice(start, start + length),))


def _check_within(at: Any, n: int, d: int, error: type[Exception] = RuntimeError) -> None:
    """Raise where one of the indices ``at`` of dimension ``d`` is none of 0 … ``n`` - 1."""
    if at.size:
        with backend.where_it_lies(at):
            least, most = int(at.min()), int(at.max())
        if most >= n or least < 0:
            bad = most if most >= n else least
            raise error(f"index {bad} is out of bounds for dimension {d} with size {n}")


@method("index_select")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``input`` along ``dim`` that the vector ``index`` (int64 or int32) names; a copy.

    Raises:
        RuntimeError: indices of another type.
        IndexError: an index outside 0 … n-1, negative ones too; an index that is no vector.

    >>> torch.index_select(torch.tensor([10, 20, 30]), 0, torch.tensor([2, 0]))
    tensor([30, 10])
    """
    if index.__class__ not in TENSORS:
        raise TypeError(f"index_select(): argument 'index' (position 3) must be Tensor, not {type(index).__name__}")
    at, d = raw(index), axis(dim, ndim_of(input))
    if at.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if at.dtype not in (np.int64, np.int32):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    at = at.reshape(-1)
    if ndim_of(input) == 0:
        if at.size != 1:
            raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {at.size} value(s)")
        _check_within(at, 1, 0, IndexError)
        return input.clone()
    _check_within(at, raw(input).shape[d], d, IndexError)
    return watched(_getitem(input, (slice(None),) * d + (at,)), index)


@method("masked_select")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (bool, broadcast) is true, in one dimension.

    >>> torch.masked_select(torch.tensor([1.0, 2.0]), torch.tensor([False, True]))
    tensor([2.])
    """
    x, where = raw(input), raw(mask)
    if where.dtype != np.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast_shapes(where.shape, x.shape)
    spread = backend.array_module(x).broadcast_to(where, shape)
    return watched(_getitem(input.expand(shape), (spread,)), mask).reshape(-1)


@method("nonzero")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """The indices (int64) of non-zero elements: a matrix with one row each, or a tuple with one vector a dimension.

    >>> torch.nonzero(torch.tensor([0, 3, 0, 5]))
    tensor([[1],
            [3]])
    """
    x = raw(input)
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        found = xp.nonzero(x) if x.ndim else xp.nonzero(x.reshape(1))
        if as_tuple:
            return tuple(Tensor._wrap(i, None) for i in found)
        return Tensor._wrap(xp.stack(found, axis=1) if x.ndim else xp.zeros((len(found[0]), 0), np.int64), None)


def _grid(index: Any, dim: int) -> Grid:
    """Index arrays that address ``[..., index, ...]`` along ``dim`` and each position along the others."""
    return grid(backend.array_module(index), index, dim)


@method("gather")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """``out[i][j] = input[index[i][j]][j]`` (for ``dim`` 0): one element of ``input`` for each of ``index``.

    >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[0], [1]]))
    tensor([[1],
            [4]])
    """
    x, at = raw(input), raw(index)
    d = axis(dim, x.ndim)
    if at.size == 0 and at.dtype.kind in "iu" and at.dtype not in (np.int64, np.int32):
        return input.reshape(-1)[:0].reshape(at.shape)
    if x.ndim == 0 or at.ndim == 0:  # one element is a vector of one
        if x.ndim > 1 or at.ndim > 1:
            raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
        return gather(input.reshape(-1), 0, index.reshape(-1)).reshape(at.shape)
    if at.size == 0 and at.dtype in (np.int64, np.int32):
        return _gathered(input, at, d) if at.ndim == x.ndim else input.reshape(-1)[:0].reshape(at.shape)
    if at.ndim != x.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if at.dtype != np.int64 and at.dtype != np.int32:
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    for k in range(x.ndim):
        if k != d and at.shape[k] > x.shape[k]:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(at.shape)} to be no larger than self "
                f"{list(x.shape)} apart from dimension {d}"
            )
    _check_within(at, x.shape[d], d)
    return watched(_gathered(input, at, d), index)


@primitive(meta="x", grad_name="GatherBackward0")
def _gathered(xp, x, index, dim):
    return read_at(xp, x, _grid(index, dim))


_gathered.defvjp(lambda g, ans, x, index, dim: _scattered(g, tuple(x.shape), _grid(index, dim)), saves="x")


@method("take_along_dim")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Elements of ``input`` at ``indices`` (int64) along ``dim``, broadcasting the other dimensions; without ``dim`` of
    the flattened tensors.  A negative index counts from the end.

    >>> torch.take_along_dim(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1], [0]]), dim=1)
    tensor([[2],
            [3]])
    """
    at = raw(indices)
    if at.dtype != np.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {noun(indices)}")
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    x, d = raw(input), axis(dim, ndim_of(input))
    if x.ndim != at.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{x.ndim} dimensions for input, and {at.ndim} dimensions for indices"
        )
    n = x.shape[d]
    xp = backend.array_module(at)
    with backend.where_it_lies(at):
        negative = at.size and int(at.min()) < 0
        at = xp.where(at < 0, at + n, at) if negative else at.copy()  # its own, whatever is written to the indices
    _check_within(at, n, d)
    others = broadcast_shapes(*[[1 if k == d else m for k, m in enumerate(shape)] for shape in (x.shape, at.shape)])
    wide = [*others]
    wide[d] = at.shape[d]
    return _gathered(input.expand([n if k == d else m for k, m in enumerate(others)]), xp.broadcast_to(at, wide), d)
