"""PyTorch's collectives on tensors, in place, and the path of an array to and from a communicator.

A communicator takes contiguous host arrays.  Whatever else a tensor holds, a strided view or an array on a device, is
copied into such an array and back; only a communicator that declares ``device_pointers`` is given device arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.distributed.communicator import Communicator, Request
from distgrad.distributed.process_group import ProcessGroup, get_group
from distgrad.distributed.reduction import ReduceOp

__all__ = [
    "Work", "all_gather", "all_reduce", "broadcast", "broadcast_array", "reduce", "start_all_reduce", "transferable",
]  # fmt: skip

_said_staging = False


class Work:
    """A collective that was started; :meth:`wait` before the tensor is used."""

    __slots__ = ("_finish", "_request")

    def __init__(self, request: Request | None, finish: Callable[[], None] | None = None) -> None:
        self._request, self._finish = request, finish

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Return True when the tensor holds the result; the time-out is the process group's."""
        if self._request is not None:
            self._request.Wait()
            self._complete()
        return True

    def is_completed(self) -> bool:
        """Whether the tensor holds the result already; lets the operation progress."""
        if self._request is not None and self._request.Test():
            self._complete()
        return self._request is None

    def _complete(self) -> None:
        self._request = None
        if self._finish is not None:
            self._finish()


def transferable(comm: Communicator, array: backend.Array) -> tuple[backend.Array, Callable[[], None] | None]:
    """A contiguous array that ``comm`` can take, and a function that copies it back (None: it is ``array`` itself)."""
    global _said_staging
    on_host = isinstance(array, np.ndarray)
    if on_host or comm.device_pointers:
        if not on_host:
            backend.synchronize()  # the communicator does not know the stream that fills the array
        if array.flags.c_contiguous:
            return array, None
        buffer = backend.array_module(array).ascontiguousarray(array)
    else:
        if not _said_staging and comm.rank == 0:
            _said_staging = True
            warnings.warn(
                f"{type(comm).__name__} takes no device pointers: arrays on {backend.device_of(array)} travel through "
                "host memory",
                RuntimeWarning,
                stacklevel=4,
            )
        buffer = np.ascontiguousarray(backend.to_host(array))

    def copy_back() -> None:
        array[...] = buffer if on_host else backend.to_device(buffer, backend.device_of(array))

    return buffer, copy_back


def start_all_reduce(comm: Communicator, array: backend.Array, op: ReduceOp) -> Work:
    """Start reducing the raw ``array``, in place, wherever it lies."""
    buffer, copy_back = transferable(comm, array)
    return Work(comm.Iallreduce(buffer, op), copy_back)


def broadcast_array(comm: Communicator, array: backend.Array, root: int = 0) -> None:
    """Overwrite the raw ``array`` with rank ``root``'s, wherever it lies."""
    buffer, copy_back = transferable(comm, array)
    comm.Bcast(buffer, root)
    if copy_back is not None and comm.rank != root:
        copy_back()


def _raw(tensor: Any, name: str = "tensor") -> backend.Array:
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` to be a Tensor, got {type(tensor).__name__}"
        )
    return tensor._data


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Replace ``tensor`` on every rank by ``op`` over the ranks' tensors, which have equal shapes and dtypes.

    Operands are taken in rank order, so all ranks get the same bits; float16 and bfloat16 are summed in float32.

    Returns:
        None, or with ``async_op`` a :class:`Work` to wait for.
    """
    array, comm = _raw(tensor), get_group(group).comm
    buffer, copy_back = transferable(comm, array)
    request = comm.Iallreduce(buffer, op)

    def finish() -> None:
        if copy_back is not None:
            copy_back()
        tensor._bump()

    work = Work(request, finish)
    if async_op:
        return work
    work.wait()
    return None


def broadcast(tensor: Tensor, src: int = 0, group: ProcessGroup | None = None, async_op: bool = False) -> Work | None:
    """Overwrite ``tensor`` on every rank with the one of rank ``src``.  Complete on return, ``async_op`` or not."""
    broadcast_array(get_group(group).comm, _raw(tensor), src)
    tensor._bump()
    return Work(None) if async_op else None


def reduce(
    tensor: Tensor,
    dst: int = 0,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """:func:`all_reduce` whose result rank ``dst`` alone gets.  Complete on return, ``async_op`` or not."""
    array, comm = _raw(tensor), get_group(group).comm
    if not 0 <= dst < comm.size:
        raise ValueError(f"dst={dst} does not exist: ranks are 0 to {comm.size - 1}")
    buffer, copy_back = transferable(comm, array)
    comm.Reduce(buffer, op, dst)
    if comm.rank == dst:
        if copy_back is not None:
            copy_back()
        tensor._bump()
    return Work(None) if async_op else None


def all_gather(
    tensor_list: Sequence[Tensor], tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Write rank ``r``'s ``tensor`` into ``tensor_list[r]``.  Complete on return, ``async_op`` or not.

    Args:
        tensor_list: one tensor a rank, each with ``tensor``'s shape and dtype.
    """
    array, comm = _raw(tensor), get_group(group).comm
    if len(tensor_list) != comm.size:
        raise ValueError(f"tensor_list needs one tensor for each of the {comm.size} ranks, got {len(tensor_list)}")
    for i, target in enumerate(tensor_list):
        raw = _raw(target, f"tensor_list[{i}]")
        if raw.shape != array.shape or raw.dtype != array.dtype:
            raise ValueError(
                f"tensor_list[{i}] has shape {tuple(raw.shape)} and dtype {target.dtype}, "
                f"the gathered tensor {tuple(array.shape)} and {tensor.dtype}; they must be equal"
            )
    buffer, _ = transferable(comm, array)
    table = backend.array_module(buffer).empty((comm.size, *buffer.shape), buffer.dtype)
    comm.Allgather(buffer, table)
    for row, target in zip(table, tensor_list, strict=True):
        raw = target._data
        raw[...] = backend.to_device(row, backend.device_of(raw))
        target._bump()
    return Work(None) if async_op else None
