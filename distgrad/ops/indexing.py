"""Reading and writing parts of a tensor by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor, primitive
from ..autograd.nodes import tensors_in, watched
from ..autograd.tensor import TENSORS
from ._declare import Operand, axis, method, ndim_of, raw

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


def _is_basic(index: Any) -> bool:
    for i in index if index.__class__ is tuple else (index,):
        if not isinstance(i, _BASIC) or isinstance(i, bool):
            return False
    return True


def _clean(index: Any) -> Any:
    """``index`` as NumPy takes it: tensors as arrays, lists of numbers as arrays, integer tensors as integers."""
    if index.__class__ is tuple:
        return tuple([_clean(i) for i in index])
    if index.__class__ in TENSORS:
        array = index._data
        if array.dtype.kind not in "biu":
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if array.ndim == 0 and array.dtype.kind in "iu":
            return int(array)
        return array.view(np.bool_) if array.dtype == np.uint8 else array
    if index.__class__ is slice:
        if index.step is not None and index.step <= 0:
            raise ValueError("step must be greater than zero")
        return index
    if isinstance(index, list):
        return np.asarray([raw(i) if i.__class__ in TENSORS else i for i in index], dtype=None if index else np.int64)
    if isinstance(index, float):
        raise TypeError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
            "float)"
        )
    return index


def _name(node: Any) -> str:
    index = node.args[1]
    if not _is_basic(index):
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
    try:
        return x[index]
    except IndexError as e:
        raise IndexError(_explain(x, index, e)) from None
    except (TypeError, ValueError):
        _check_indices(x, index)
        raise


def _check_indices(x: Any, index: Any) -> None:
    """RuntimeError where an index array lies neither on the CPU nor beside ``x``."""
    here = backend.device_of(x)
    for i in index if index.__class__ is tuple else (index,):
        if backend.is_array(i) and backend.device_of(i) not in (here, backend.CPU):
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({here}), "
                f"got one on {backend.device_of(i)}"
            )


def _explain(x: Any, index: Any, error: IndexError) -> str:
    parts = index if index.__class__ is tuple else (index,)
    if sum(i is not None and i is not Ellipsis for i in parts) > x.ndim:
        if x.ndim == 0:
            if any(isinstance(i, slice) for i in parts):
                return "slice() cannot be applied to a 0-dim tensor."
            if any(backend.is_array(i) for i in parts):
                return "too many indices for tensor of dimension 0"
            return (
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python to convert a 0-dim tensor to a number"
            )
        return f"too many indices for tensor of dimension {x.ndim}"
    if Ellipsis not in [p for p in parts if p is Ellipsis or isinstance(p, (int, slice))]:
        for d, i in enumerate([p for p in parts if p is not None]):
            if isinstance(i, (int, np.integer)) and not -x.shape[d] <= i < x.shape[d]:
                return f"index {i} is out of bounds for dimension {d} with size {x.shape[d]}"
    return str(error).replace("axis", "dimension")


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
    out = xp.zeros(shape, x.dtype)
    if _is_basic(index):
        out[index] = x
    else:
        xp.add.at(out, index, x)
    return out


_getitem.defvjp(lambda g, ans, x, index: _scattered(g, tuple(x.shape), index))
_scattered.defvjp(lambda g, ans, x, shape, index: g[index])


@method("__getitem__")
def getitem(self: Tensor, index: Any) -> Tensor:
    """``self[index]``: integers, slices, None and Ellipsis give views; tensors, lists and bool masks give copies."""
    if index.__class__ is int or (index.__class__ is slice and index.step is None):
        return _getitem(self, index)
    return watched(_getitem(self, _clean(index)), *tensors_in(index))


@primitive(meta="value", promote=None, grad_name="CopySlices")
def _setitem(xp, x, value, index):
    x = x.copy()
    x[index] = value
    return x


def _erase(g, ans, x, value, index):
    return _setitem(g, 0.0, index)


_setitem.defvjp(_erase, lambda g, ans, x, value, index: g[index])


@method("__contains__")
def contains(self: Tensor, element: Operand) -> bool:
    """Whether one of the elements equals ``element``."""
    with backend.where_it_lies(self._data):
        return bool((self._data == raw(element)).any())


@method("select")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice number ``index`` along ``dim``; a view."""
    return _getitem(input, (slice(None),) * axis(dim, ndim_of(input)) + (int(index),))


@method("narrow")
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` slices along ``dim`` from ``start`` on; a view."""
    n = raw(input).shape[axis(dim, ndim_of(input))]
    start = int(start) + (n if start < 0 else 0)
    if length < 0 or start < 0 or start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return _getitem(input, (slice(None),) * axis(dim, ndim_of(input)) + (slice(start, start + length),))


@method("index_select")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``input`` along ``dim`` that the vector ``index`` names; a copy."""
    return watched(_getitem(input, (slice(None),) * axis(dim, ndim_of(input)) + (raw(index),)), index)


@method("masked_select")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` (broadcast) is true, in one dimension."""
    xp = backend.array_module(raw(input))
    shape = np.broadcast_shapes(raw(input).shape, raw(mask).shape)  # of shapes, not of arrays
    return watched(_getitem(input.expand(shape), xp.broadcast_to(raw(mask), shape)), mask)


@method("nonzero")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """The indices (int64) of non-zero elements: a matrix with one row each, or a tuple with one vector a dimension."""
    x = raw(input)
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        found = xp.nonzero(x) if x.ndim else xp.nonzero(x.reshape(1))
        if as_tuple:
            return tuple(Tensor._wrap(i, None) for i in found)
        return Tensor._wrap(xp.stack(found, axis=1) if x.ndim else xp.zeros((len(found[0]), 0), np.int64), None)


@primitive(meta="x", grad_name="GatherBackward0")
def _gather(xp, x, index, dim):
    return xp.take_along_axis(x, index, dim)


def _grid(index: Any, dim: int) -> tuple[Any, ...]:
    """Index arrays that address ``[..., index, ...]`` along ``dim`` and each position along the others."""
    xp = backend.array_module(index)
    axes = [xp.arange(n).reshape([-1 if k == i else 1 for k in range(index.ndim)]) for i, n in enumerate(index.shape)]
    return tuple([index if k == dim else axes[k] for k in range(index.ndim)])


_gather.defvjp(lambda g, ans, x, index, dim: _scattered(g, tuple(x.shape), _grid(index, dim)))


@method("gather")
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """``out[i][j] = input[index[i][j]][j]`` (for ``dim`` 0): one element of ``input`` for each of ``index``."""
    x, at = raw(input), raw(index)
    d = axis(dim, x.ndim)
    if at.ndim != x.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if at.dtype != np.int64 and at.dtype != np.int32:
        raise RuntimeError("gather(): Expected dtype int64 for index")
    for k in range(x.ndim):
        if k != d and at.shape[k] > x.shape[k]:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(at.shape)} to be no larger than self "
                f"{list(x.shape)} apart from dimension {d}"
            )
    if at.size:
        with backend.where_it_lies(at):
            least, most = int(at.min()), int(at.max())
        if most >= x.shape[d] or least < 0:
            bad = most if most >= x.shape[d] else least
            raise RuntimeError(f"index {bad} is out of bounds for dimension {d} with size {x.shape[d]}")
    return watched(_gathered(input, at, d), index)


@primitive(meta="x", grad_name="GatherBackward0")
def _gathered(xp, x, index, dim):
    return x[_grid(index, dim)]


_gathered.defvjp(lambda g, ans, x, index, dim: _scattered(g, tuple(x.shape), _grid(index, dim)))


@method("take_along_dim")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Elements of ``input`` at ``indices`` along ``dim``, broadcasting the other dimensions."""
    if dim is None:
        return _gather(input.reshape(-1), _copied(indices).reshape(-1), 0)
    return _gather(input, _copied(indices), axis(dim, ndim_of(input)))


def _copied(index: Any) -> Any:
    """The array of ``index``, in memory of its own: PyTorch lets the tensor be written to afterwards."""
    with backend.where_it_lies(raw(index)):
        return raw(index).copy()
