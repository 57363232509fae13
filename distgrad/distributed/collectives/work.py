"""A collective under way, as PyTorch shows it, and the path of an array to and from a communicator.

A communicator takes contiguous host arrays.  Whatever else a tensor holds, a strided view or an array on a device, is
copied into such an array and back; only a communicator that declares ``device_pointers`` is given device arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.distributed.communication.communicator import Communicator, yield_core
from distgrad.distributed.communication.errors import DistTimeoutError
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.launching.advice import advise

__all__ = ["Work", "broadcast_array", "gather_array", "incoming", "outgoing", "start_all_reduce", "transferable"]

_said_staging = False


class Work:
    """A collective that was started; :meth:`wait` before a tensor of it is used.

    Args:
        request: what to wait for; None where the operation is complete.
        finish: called once, when the request is complete, before :meth:`wait` returns.
        result: the tensors that are then complete, for :meth:`get_future`.

    >>> t = torch.tensor([2.0])
    >>> work = dist.all_reduce(t, async_op=True)
    >>> work.wait()
    True
    >>> t
    tensor([2.])
    """

    __slots__ = ("_error", "_finish", "_request", "_result", "_source")

    def __init__(
        self,
        request: Request | None,
        finish: Callable[[], None] | None = None,
        source: Callable[[], int] | None = None,
        result: list[Tensor] | None = None,
    ) -> None:
        self._result = result
        self._request, self._finish, self._source = request, finish, source
        self._error: BaseException | None = None

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Return True when the tensors hold the result.

        Args:
            timeout: how long to wait; None is the process group's time-out.

        Raises:
            DistTimeoutError: it took longer.
            DistError: it cannot complete any more; waiting again raises the same error.
        """
        if self._error is not None:
            raise self._error
        request = self._request
        if request is not None:
            try:
                if timeout is None:
                    request.Wait()
                else:
                    _poll(request, timeout.total_seconds())
                self._complete()
            except DistTimeoutError:
                raise  # it may still complete
            except BaseException as error:
                self._error, self._request = error, None
                raise
        return True

    def is_completed(self) -> bool:
        """Whether the operation has ended, well or not; lets it progress."""
        if self._request is not None:
            try:
                if self._request.Test():
                    self._complete()
            except Exception as error:
                self._error, self._request = error, None
        return self._request is None

    def is_success(self) -> bool:
        """Whether the operation has ended well."""
        return self.is_completed() and self._error is None

    def exception(self) -> BaseException | None:
        """What the operation failed with; None while it runs and when it has ended well."""
        return self._error

    def synchronize(self) -> None:
        """:meth:`wait`, which PyTorch leaves to the device's stream; arrays that travel through the host have none."""
        self.wait()

    def get_future(self) -> Future[list[Tensor]]:
        """The promise of the tensors (a list of one), as communication hooks return; of reductions and broadcasts.

        Raises RuntimeError for another operation.
        """
        tensors = self._result
        if tensors is None:
            raise RuntimeError("get_future() is of all_reduce, reduce and broadcast only; wait() for the others")

        def obtain() -> list[Tensor]:
            self.wait()
            return tensors

        return Future(obtain, self.is_completed)

    def source_rank(self) -> int:
        """The global rank that a receive's message came from; to be asked once it is complete."""
        if self._source is None:
            raise RuntimeError("source_rank() is of receives only")
        return self._source()

    def _complete(self) -> None:
        self._request = None
        if self._finish is not None:
            finish, self._finish = self._finish, None
            finish()


def _poll(request: Request, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not request.Test():
        if time.monotonic() > deadline:
            raise DistTimeoutError(f"waited {seconds:g} s for {request}, which is not complete")
        yield_core()


def transferable(comm: Communicator, array: backend.Array) -> tuple[backend.Array, Callable[[], None] | None]:
    """A contiguous array that ``comm`` can take, and a function that copies it back (None: it is ``array`` itself)."""
    on_host = isinstance(array, np.ndarray)
    if on_host or comm.device_pointers:
        if not on_host:
            backend.synchronize()  # the communicator does not know the stream that fills the array
        if array.flags.c_contiguous:
            return array, None
        buffer = backend.array_module(array).ascontiguousarray(array)
    else:
        _say_staging(comm, array)
        buffer = np.asarray(backend.to_host(array), order="C")  # ascontiguousarray makes a number a vector
    return buffer, lambda: _copy_back(array, buffer)


def outgoing(comm: Communicator, array: backend.Array) -> backend.Array:
    """A contiguous array with the values of ``array`` that ``comm`` can take; it is only read."""
    return transferable(comm, array)[0]


def incoming(comm: Communicator, array: backend.Array) -> tuple[backend.Array, Callable[[], None] | None]:
    """Like :func:`transferable`, for an array that is only written: its values are not copied."""
    on_host = isinstance(array, np.ndarray)
    if on_host or comm.device_pointers:
        if array.flags.c_contiguous:
            return array, None
        buffer = backend.array_module(array).empty(array.shape, array.dtype)
    else:
        _say_staging(comm, array)
        buffer = np.empty(array.shape, array.dtype)
    return buffer, lambda: _copy_back(array, buffer)


def _copy_back(array: backend.Array, buffer: backend.Array) -> None:
    array[...] = buffer if type(buffer) is type(array) else backend.to_device(buffer, backend.device_of(array))


def _say_staging(comm: Communicator, array: backend.Array) -> None:
    global _said_staging
    if not _said_staging and comm.rank == 0:
        _said_staging = True
        advise(
            f"{type(comm).__name__} takes no device pointers: arrays on {backend.device_of(array)} travel through "
            "host memory",
            stacklevel=6,
        )


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


def gather_array(comm: Communicator, mine: backend.Array, out: backend.Array, bounds: Sequence[int]) -> None:
    """Write rank ``r``'s raw array ``mine`` into elements ``bounds[r]`` to ``bounds[r + 1] - 1`` of ``out``, 1-d."""
    buffer, copy_back = incoming(comm, out)
    parts = [buffer[bounds[r] : bounds[r + 1]] for r in range(comm.size)]
    comm.Iallgatherv(parts[comm.rank] if copy_back is None else outgoing(comm, mine), parts).Wait()
    if copy_back is not None:
        copy_back()
