"""Arrays of the device ``meta``: a shape and a dtype, and no elements.

An array there is NumPy's view of one element with the strides that all elements would have.  Nothing reads it: what
would is computed for its shape and dtype alone, or refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.lib.stride_tricks import as_strided

__all__ = ["MetaArray", "MetaModule", "meta_array"]


def meta_array(shape: Any, dtype: Any) -> MetaArray:
    """An array of elements row by row."""
    kind = np.dtype(dtype)
    sizes = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple([int(n) for n in shape])
    strides, step = [], kind.itemsize
    for n in reversed(sizes):
        strides.append(step)
        step *= max(n, 1)
    return MetaArray(as_strided(np.zeros(1, kind), sizes, strides[::-1], writeable=False))


class MetaArray(NDArrayOperatorsMixin):
    """A shape, a dtype and strides, with the methods of ``numpy.ndarray`` that read no element."""

    __slots__ = ("_ghost", "base")
    base: Any
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ghost: Any, of: MetaArray | None = None) -> None:
        self._ghost = ghost
        self.base = None if of is None else of if of.base is None else of.base  # whose memory a view would share

    shape = property(lambda self: self._ghost.shape)
    dtype = property(lambda self: self._ghost.dtype)
    ndim = property(lambda self: self._ghost.ndim)
    size = property(lambda self: self._ghost.size)
    strides = property(lambda self: self._ghost.strides)
    itemsize = property(lambda self: self._ghost.itemsize)
    nbytes = property(lambda self: self._ghost.nbytes)
    flags = property(lambda self: self._ghost.flags)
    T = property(lambda self: MetaArray(self._ghost.T, self))

    @property
    def real(self) -> MetaArray:
        return self if self.dtype.kind != "c" else meta_array(self.shape, self._ghost[:0].real.dtype)

    def __len__(self) -> int:
        return len(self._ghost)

    def __repr__(self) -> str:
        return f"MetaArray({self.shape}, {self.dtype})"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    def item(self) -> Any:
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    __bool__ = __int__ = __float__ = __complex__ = __index__ = tolist = item

    def astype(self, dtype: Any, *args: Any, copy: bool = True, **kwargs: Any) -> MetaArray:
        return self if not copy and self.dtype == dtype else meta_array(self.shape, dtype)

    def copy(self, order: str = "C") -> MetaArray:
        return meta_array(self.shape, self.dtype)

    def fill(self, value: Any) -> None:
        """Nothing: there is nothing to fill."""

    def reshape(self, *shape: Any, **kwargs: Any) -> MetaArray:
        sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else list(shape)
        if -1 in sizes:
            rest = math.prod(n for n in sizes if n != -1)
            sizes[sizes.index(-1)] = self.size // rest if rest else 0
        if math.prod(sizes) != self.size:
            raise ValueError(f"cannot reshape array of size {self.size} into shape {tuple(sizes)}")
        made = meta_array(sizes, self.dtype)
        return MetaArray(made._ghost, self) if self.flags.c_contiguous else made

    def ravel(self) -> MetaArray:
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> MetaArray:
        return MetaArray(self._ghost.transpose(*axes), self)

    def swapaxes(self, a: int, b: int) -> MetaArray:
        return MetaArray(self._ghost.swapaxes(a, b), self)

    def squeeze(self, axis: Any = None) -> MetaArray:
        return MetaArray(self._ghost.squeeze(axis), self)

    def __getitem__(self, index: Any) -> MetaArray:
        parts = index if isinstance(index, tuple) else (index,)
        if not all(p is None or p is Ellipsis or isinstance(p, (int, np.integer, slice)) for p in parts):
            raise NotImplementedError("an index that is a tensor or an array is not taken on the device meta")
        found = self._ghost[index]
        return MetaArray(found, self) if isinstance(found, np.ndarray) else meta_array((), self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        np.broadcast_shapes(self[index].shape, np.shape(getattr(value, "_ghost", value)))

    def view(self, dtype: Any = None) -> MetaArray:
        return MetaArray(self._ghost if dtype is None else self._ghost.view(dtype), self)

    def dot(self, other: Any) -> Any:
        return _inferred(np.matmul, (self, other), None)

    def _reduced(self, axis: Any, keepdims: bool, dtype: Any) -> MetaArray:
        over = range(self.ndim) if axis is None else [axis] if isinstance(axis, (int, np.integer)) else axis
        gone = {int(a) % max(self.ndim, 1) for a in over}
        sizes = [1 if i in gone else n for i, n in enumerate(self.shape) if keepdims or i not in gone]
        return meta_array(sizes, dtype)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> MetaArray:
        return self._reduced(axis, keepdims, dtype or np.zeros(1, self.dtype).sum().dtype)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> MetaArray:
        return self._reduced(axis, keepdims, self.dtype)

    min = max

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> MetaArray:
        return self._reduced(axis, keepdims, dtype or np.zeros(1, self.dtype).mean().dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method != "__call__":
            raise NotImplementedError(f"{ufunc.__name__}.{method} is not computed on the device meta")
        return _inferred(ufunc, inputs, out)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise NotImplementedError(f"{func.__name__} is not computed on the device meta")


def _small(x: Any, shape: tuple[int, ...]) -> Any:
    return np.ones(shape, x.dtype) if isinstance(x, MetaArray) else x


def _inferred(ufunc: Any, inputs: Any, out: Any) -> Any:
    """What ``ufunc`` gives, of which the dtype is found with single elements."""
    for x in inputs:
        if isinstance(x, np.ndarray) and x.ndim:
            raise RuntimeError("Tensor on device cpu is not on the expected device meta!")
    if ufunc.signature is not None:
        if ufunc is not np.matmul:
            raise NotImplementedError(f"{ufunc.__name__} is not computed on the device meta")
        shape = _product(*[x.shape for x in inputs])
        found = np.matmul(*[_small(x, (1, 1)) for x in inputs])
    else:
        shape = np.broadcast_shapes(*[np.shape(getattr(x, "_ghost", x)) for x in inputs])
        with np.errstate(all="ignore"):
            found = ufunc(*[_small(x, (1,)) for x in inputs])
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if isinstance(found, tuple):
        return tuple(meta_array(shape, f.dtype) for f in found)
    return meta_array(shape, found.dtype)


def _product(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a matrix product."""
    left, right = (a if len(a) > 1 else (1, *a)), (b if len(b) > 1 else (*b, 1))
    if left[-1] != right[-2]:
        raise ValueError(f"matmul: the inner sizes of {a} and {b} differ")
    lead = np.broadcast_shapes(left[:-2], right[:-2])
    return (*lead, *(left[-2:-1] if len(a) > 1 else ()), *(right[-1:] if len(b) > 1 else ()))


class MetaModule:
    """NumPy's functions for arrays of the device: those that make one, elementwise ones, and ``matmul``."""

    def empty(self, shape: Any, dtype: Any = float, order: str = "C") -> MetaArray:
        return meta_array(shape, dtype)

    zeros = ones = empty

    def full(self, shape: Any, fill_value: Any, dtype: Any = None) -> MetaArray:
        return meta_array(shape, dtype or np.asarray(fill_value).dtype)

    def empty_like(self, x: Any, dtype: Any = None, order: str = "K", shape: Any = None) -> MetaArray:
        return meta_array(x.shape if shape is None else shape, dtype or x.dtype)

    zeros_like = ones_like = empty_like

    def full_like(self, x: Any, fill_value: Any, dtype: Any = None) -> MetaArray:
        return meta_array(x.shape, dtype or x.dtype)

    def asarray(self, x: Any, dtype: Any = None) -> MetaArray:
        given = x if isinstance(x, MetaArray) else np.asarray(x)
        return meta_array(given.shape, dtype or given.dtype)

    array = ascontiguousarray = asarray

    def where(self, condition: Any, a: Any, b: Any) -> MetaArray:
        shape = np.broadcast_shapes(*[np.shape(getattr(x, "_ghost", x)) for x in (condition, a, b)])
        return meta_array(shape, np.where(True, _small(a, ()), _small(b, ())).dtype)

    def broadcast_to(self, x: Any, shape: Any) -> MetaArray:
        return MetaArray(np.broadcast_to(x._ghost, shape), x)

    def sum(self, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, **kwargs: Any) -> MetaArray:
        return x.sum(axis, dtype, None, keepdims)

    def mean(self, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, **kwargs: Any) -> MetaArray:
        return x.mean(axis, dtype, None, keepdims)

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, np.ufunc) or not callable(found) or isinstance(found, type):
            return found

        def refused(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError(f"{name} is not computed on the device meta")

        return refused
