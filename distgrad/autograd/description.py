"""What a tensor is: shape, type, place and layout of its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend, dtypes
from . import coo
from .graph import settle
from .memory_format import contiguous_format, is_laid

if TYPE_CHECKING:
    from .tensor import Tensor


class Size(tuple[int, ...]):
    """A shape: a tuple that knows how many elements it means.

    >>> torch.ones(2, 3).shape, torch.ones(2, 3).shape.numel()
    (torch.Size([2, 3]), 6)
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        n = 1
        for d in self:
            n *= d
        return n

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __add__(self, other: Any) -> Size:
        return Size(tuple(self) + tuple(other))

    def __getitem__(self, index: Any) -> Any:
        got = tuple.__getitem__(self, index)
        return Size(got) if isinstance(index, slice) else got


class Described:
    """What :class:`Tensor` inherits: its shape, element type, device and layout.  Nothing here writes to it."""

    __slots__ = ()
    _data: Any
    to: Any

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return Size(self._data.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of dimension ``dim``."""
        if dim is None:
            return Size(self._data.shape)
        n = self._data.ndim
        if not -n <= dim < max(n, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(n, 1)}, {max(n, 1) - 1}], but got {dim})"
            )
        return self._data.shape[dim]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._data.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._data.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return int(self._data.size)

    nelement = numel

    @property
    def dtype(self) -> dtypes.dtype:
        """The element type."""
        return dtypes.FROM_NUMPY[self._data.dtype]

    @property
    def device(self) -> backend.device:
        """Where the data lies."""
        return backend.device_of(self._data)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_meta(self) -> bool:
        """Whether it lies on the device ``meta``, so that it has a shape and a dtype, and no elements."""
        return self._data.__class__ is backend.MetaArray

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def get_device(self) -> int:
        """The index of the device, -1 on the CPU."""
        index = self.device.index
        return -1 if index is None else index

    @property
    def itemsize(self) -> int:
        return int(self._data.itemsize)

    def element_size(self) -> int:
        """Bytes an element."""
        return int(self._data.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return int(self._data.nbytes)

    def stride(self, dim: int | None = None) -> Any:
        """Distance, in elements, between neighbours along each dimension (or along ``dim``)."""
        strides = tuple(s // self._data.itemsize for s in self._data.strides)
        if dim is None:
            return strides
        if isinstance(dim, bool) or not hasattr(dim, "__index__"):
            raise TypeError(f"stride(): argument 'dim' (position 1) must be int, not {type(dim).__name__}")
        return strides[dim]

    def is_contiguous(self, memory_format: Any = contiguous_format) -> bool:
        """Whether the elements lie in memory in row-major order, or another one, without gaps."""
        if memory_format is not contiguous_format:
            return is_laid(self._data, memory_format)
        settle(self)
        return bool(self._data.flags.c_contiguous)

    def data_ptr(self) -> int:
        """Address of the first element."""
        settle(self)
        data = self._data
        return int(data.ctypes.data if isinstance(data, np.ndarray) else data.data.ptr)

    @property
    def is_sparse(self) -> bool:
        """Whether it is values at indices (:mod:`distgrad.autograd.sparse`) and not an array."""
        return False

    @property
    def layout(self) -> coo.layout:
        """How the elements lie in memory."""
        return coo.strided

    def to_dense(self, dtype: dtypes.dtype | None = None) -> Tensor:
        """The elements as an ordinary tensor: itself."""
        mine: Any = self
        return mine if dtype is None else self.to(dtype)

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        return self.dtype.is_signed
