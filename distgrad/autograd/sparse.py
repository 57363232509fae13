"""Sparse tensors, of which gradients of ``nn.Embedding(sparse=True)`` are the case that matters: rows of a matrix.

They hold, print, add and scale; they record nothing.  Every other operation refuses one (NotImplementedError), so that
nothing is made dense unasked: ``to_dense()`` does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes, printing
from . import coo
from .coo import Coo
from .graph import RemovableHandle
from .tensor import TENSORS, Tensor, new

__all__ = ["SparseTensor", "sparse_coo_tensor", "tensor_of", "to_sparse"]


def tensor_of(g: Any) -> Tensor:
    """The unrecorded tensor over a gradient: an array, a NumPy scalar or a :class:`Coo`."""
    if g.__class__ is Coo:
        return SparseTensor._of(g)
    return Tensor._wrap(np.asarray(g) if isinstance(g, np.generic) else g, None)


def _refused(what: str) -> NotImplementedError:
    return NotImplementedError(f"Could not run '{what}' with arguments from the 'Sparse' backend; use to_dense() first")


class SparseTensor(Tensor):
    """A tensor whose elements are zero but for values at indices: what ``grad.is_sparse`` is true of."""

    _data: Coo

    @staticmethod
    def _of(data: Coo) -> SparseTensor:
        t: SparseTensor = new(SparseTensor)
        t._data = data
        t._node = t._vc = t._view = None
        return t

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def is_sparse(self) -> bool:
        return True

    @property
    def layout(self) -> coo.layout:
        return coo.sparse_coo

    @property
    def device(self) -> backend.device:
        return backend.device_of(self._data.values)

    def sparse_dim(self) -> int:
        """How many of the first dimensions the indices name."""
        return len(self._data.indices)

    def dense_dim(self) -> int:
        """How many dimensions a value has."""
        return self._data.values.ndim - 1

    def _nnz(self) -> int:
        return self._data.indices.shape[1]

    def is_coalesced(self) -> bool:
        """Whether the indices are known to be sorted and different."""
        return self._data.coalesced

    def coalesce(self) -> SparseTensor:
        """The same with each index once, values at equal indices added up; itself if it is so already."""
        return self if self._data.coalesced else SparseTensor._of(self._data.coalesce())

    def indices(self) -> Tensor:
        """(sparse_dim, nnz), int64; RuntimeError unless coalesced."""
        return self._coalesced("indices")._indices()

    def values(self) -> Tensor:
        """(nnz, *shape[sparse_dim:]); RuntimeError unless coalesced."""
        return self._coalesced("values")._values()

    def _coalesced(self, what: str) -> SparseTensor:
        if not self._data.coalesced:
            raise RuntimeError(f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first")
        return self

    def _indices(self) -> Tensor:
        return Tensor._wrap(self._data.indices, None)

    def _values(self) -> Tensor:
        return Tensor._wrap(self._data.values, None)

    def to_dense(self, dtype: dtypes.dtype | None = None) -> Tensor:
        """The same elements as an ordinary tensor."""
        dense = Tensor._wrap(self._data.dense(), None)
        return dense if dtype is None else dense.to(dtype)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        raise _refused("is_contiguous")

    def stride(self, dim: int | None = None) -> Any:
        raise _refused("stride")

    def data_ptr(self) -> int:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def item(self) -> Any:
        return self.to_dense().item()

    def tolist(self) -> Any:
        raise RuntimeError("a sparse tensor has no nested list; use to_dense() first")

    def numpy(self, *, force: bool = False) -> np.ndarray:
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")

    def __bool__(self) -> bool:
        return bool(self.to_dense())

    def __repr__(self) -> str:
        device = self.device
        return printing.format_sparse(
            backend.to_host(self._data.indices),
            backend.to_host(self._data.values),
            self._data.shape,
            self.dtype,
            device=None if device.type == "cpu" else str(device),
        )

    # --- autograd: it records nothing -------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._require_grad(value)

    def _require_grad(self, value: bool) -> None:
        if value:
            raise NotImplementedError("a sparse tensor cannot require a gradient; use to_dense() first")

    @property
    def data(self) -> Any:
        return SparseTensor._of(self._data)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not value.is_sparse:
            raise TypeError("the data of a sparse tensor is a sparse tensor")
        self._data = value._data

    def detach(self) -> SparseTensor:
        return SparseTensor._of(self._data)

    def detach_(self) -> SparseTensor:
        return self

    def register_hook(self, hook: Any) -> RemovableHandle:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")

    def clone(self) -> SparseTensor:
        return SparseTensor._of(self._data.copy())

    # --- moving -----------------------------------------------------------------------------------------------------

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """As :meth:`Tensor.to`: another dtype, device, or both; itself where nothing changes."""
        data = self._data
        values = Tensor._wrap(data.values, None)
        moved = values.to(*args, **kwargs)
        if moved is values:
            return self
        indices = backend.to_device(data.indices, moved.device)
        return SparseTensor._of(Coo(indices, moved._data, data.shape, data.coalesced))

    def cpu(self) -> SparseTensor:
        return self.to("cpu")

    def cuda(self, device: Any = None) -> SparseTensor:
        return self.to("cuda" if device is None else device)

    def half(self) -> SparseTensor:
        return self.to(dtypes.float16)

    def float(self) -> SparseTensor:
        return self.to(dtypes.float32)

    def double(self) -> SparseTensor:
        return self.to(dtypes.float64)

    # --- arithmetic -------------------------------------------------------------------------------------------------

    def _scaled(self, values: Any) -> SparseTensor:
        """The same indices with other values; zero stays zero."""
        data = self._data
        return SparseTensor._of(Coo(data.indices, values, data.shape, data.coalesced))

    def __add__(self, other: Any) -> Tensor:
        if other.__class__ not in TENSORS:
            return NotImplemented
        if other._data.shape != self._data.shape:
            raise RuntimeError(
                f"add: expected 'self' and 'other' to have same size, but self has size {list(self.shape)} while other "
                f"has size {list(other.shape)}"
            )
        if other.is_sparse:
            return SparseTensor._of(self._data + other._data)
        return Tensor.__add__(other, self.to_dense())

    def __radd__(self, other: Any) -> Tensor:
        return self.__add__(other)

    def __sub__(self, other: Any) -> Tensor:
        return self + -other

    def __rsub__(self, other: Any) -> Tensor:
        return -self + other

    def __neg__(self) -> SparseTensor:
        return self._scaled(-self._data.values)

    def __mul__(self, other: Any) -> SparseTensor:
        return self._scaled((Tensor._wrap(self._data.values, None) * _number(other, "mul"))._data)

    def __rmul__(self, other: Any) -> SparseTensor:
        return self * other

    def __truediv__(self, other: Any) -> SparseTensor:
        return self._scaled((Tensor._wrap(self._data.values, None) / _number(other, "div"))._data)

    def mul_(self, other: Any) -> SparseTensor:
        """Scale the values in place."""
        with backend.where_it_lies(self._data.values):
            self._data.values[...] = (self * other)._data.values
        self._bump()
        return self

    def div_(self, other: Any) -> SparseTensor:
        """Divide the values in place."""
        with backend.where_it_lies(self._data.values):
            self._data.values[...] = (self / other)._data.values
        self._bump()
        return self

    __imul__, __itruediv__ = mul_, div_
    mul, div = __mul__, __truediv__

    def add_(self, other: Tensor) -> SparseTensor:
        """Add another sparse tensor in place; RuntimeError for a dense one."""
        if not other.is_sparse:
            raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        self._data = (self + other)._data
        self._bump()
        return self

    __iadd__, add = add_, __add__

    def zero_(self) -> SparseTensor:
        """Forget all values, in place."""
        data = self._data
        self._data = Coo(data.indices[:, :0], data.values[:0], data.shape, data.coalesced)
        self._bump()
        return self

    def sum(self) -> Tensor:
        """The sum of all elements."""
        return Tensor._wrap(self._data.values, None).sum()

    def norm(self, p: Any = "fro") -> Tensor:
        """The ``p``-norm of all elements."""
        return Tensor._wrap(self._data.coalesce().values, None).norm(p)

    def __getitem__(self, index: Any) -> Any:
        raise _refused("select")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise _refused("copy_")


def _number(other: Any, name: str) -> Any:
    """``other``, if a sparse tensor can be scaled by it: a number or a tensor of no dimensions."""
    if isinstance(other, (bool, int, float, np.generic)) or (other.__class__ in TENSORS and other.ndim == 0):
        return other
    raise _refused(name)


def to_sparse(self: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """The same elements as a coalesced sparse tensor, of which nothing is recorded.

    Args:
        sparse_dim: how many of the first dimensions the indices name (default all): of a matrix, 1 keeps whole rows.
    """
    data = self._data
    k = data.ndim if sparse_dim is None else sparse_dim
    if not 0 < k <= data.ndim:
        raise RuntimeError(f"sparse_dim argument must be in >0 and <= {data.ndim}, got {k}")
    with backend.where_it_lies(data):
        xp = backend.array_module(data)
        there = data != 0
        if k < data.ndim:
            there = there.any(axis=tuple(range(k, data.ndim)))
        found = xp.nonzero(there)
        return SparseTensor._of(Coo(xp.stack(found).astype(np.int64), data[found], data.shape, True))


Tensor.to_sparse = to_sparse  # type: ignore[attr-defined]


def sparse_coo_tensor(
    indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A tensor with ``values`` at ``indices`` and zero elsewhere; values at equal indices add up.

    Args:
        indices: (k, n), integers: where the n values lie along each of the first k dimensions.
        values: (n, *dense).
        size: of the whole, k + values.ndim - 1 sizes; by default the largest index + 1 along each of the k.
        is_coalesced: True where the indices are known to be sorted and different.

    Raises:
        RuntimeError: sizes that don't fit, an index out of bounds.

    >>> torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.tensor([1.0, 3.0]), (4,)).to_dense()
    tensor([1., 0., 3., 0.])
    """
    where = backend.resolve(device) if device is not None else None
    v = values._data if values.__class__ in TENSORS else _array(values)
    where = backend.device_of(v) if where is None else where
    v = backend.to_device(v if dtype is None else v.astype(dtype.np), where)
    host = backend.to_host(indices._data) if indices.__class__ in TENSORS else np.asarray(indices)
    if host.dtype.kind not in "iu" and host.size:
        raise TypeError(f"indices must be an int64 tensor, got {host.dtype}")
    host = host.astype(np.int64, copy=False)
    if host.ndim != 2 or v.ndim == 0 or host.shape[1] != v.shape[0]:
        raise RuntimeError(
            f"indices must be (sparse_dim, nnz) and values (nnz, ...); got {list(host.shape)} and {list(v.shape)}"
        )
    k = len(host)
    shape = (*(int(n) + 1 for n in host.max(1, initial=-1)), *v.shape[1:]) if size is None else tuple(map(int, size))
    if len(shape) != k + v.ndim - 1 or shape[k:] != v.shape[1:]:
        raise RuntimeError(f"values of size {list(v.shape)} at {k} indices each do not fit size {list(shape)}")
    for d in range(k):
        wrong = host[d][(host[d] < 0) | (host[d] >= shape[d])]
        if len(wrong):
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {d}, size is {shape[d]} but found index {int(wrong[0])}"
            )
    return SparseTensor._of(Coo(backend.to_device(host, where), v, shape, bool(is_coalesced)))


def _array(values: Any) -> np.ndarray:
    found = np.asarray(values)
    return found.astype(dtypes.get_default_dtype().np) if found.dtype == np.float64 or not found.size else found
