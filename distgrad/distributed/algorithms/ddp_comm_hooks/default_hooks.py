"""Gradients all-reduced as they are, or in 16 bits: half the bytes."""

from __future__ import annotations

from typing import Any

from distgrad import dtypes
from distgrad.autograd import Tensor
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.gradients.grad_bucket import CommHook, GradBucket, all_reduced
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group

__all__ = ["allreduce_hook", "bf16_compress_hook", "bf16_compress_wrapper", "fp16_compress_hook",
           "fp16_compress_wrapper"]  # fmt: skip


def allreduce_hook(process_group: ProcessGroup | None, bucket: GradBucket) -> Future[Tensor]:
    """The mean over the ranks, as without a hook."""
    return all_reduced(get_group(process_group).comm, bucket.buffer(), ReduceOp.AVG)


def fp16_compress_hook(process_group: ProcessGroup | None, bucket: GradBucket) -> Future[Tensor]:
    """Send float16: 11 significant bits; what exceeds 65504 times the number of ranks becomes infinite."""
    return _narrow(get_group(process_group).comm, bucket, dtypes.float16)


def bf16_compress_hook(process_group: ProcessGroup | None, bucket: GradBucket) -> Future[Tensor]:
    """Send bfloat16: 8 significant bits, float32's range."""
    return _narrow(get_group(process_group).comm, bucket, dtypes.bfloat16)


def _narrow(comm: Communicator, bucket: GradBucket, dtype: dtypes.dtype) -> Future[Tensor]:
    buffer = bucket.buffer()
    narrow = _cast(buffer._data / buffer._data.dtype.type(comm.size), dtype)  # divided first: a sum might overflow

    def widen(future: Future[Tensor]) -> Tensor:
        buffer._data[...] = future.value()._data
        return buffer

    return all_reduced(comm, narrow, ReduceOp.SUM).then(widen)


def _cast(array: Any, dtype: dtypes.dtype) -> Tensor:
    return Tensor._wrap(array.astype(dtype.np), None)


def fp16_compress_wrapper(hook: CommHook) -> CommHook:
    """``hook`` given its bucket in float16; what it brings is widened again."""
    return _wrapped(hook, dtypes.float16)


def bf16_compress_wrapper(hook: CommHook) -> CommHook:
    """``hook`` given its bucket in bfloat16; what it brings is widened again."""
    return _wrapped(hook, dtypes.bfloat16)


def _wrapped(hook: CommHook, dtype: dtypes.dtype) -> CommHook:
    def compressed(state: Any, bucket: GradBucket) -> Future[Tensor]:
        wide = bucket.buffer()
        bucket.set_buffer(_cast(wide._data, dtype))

        def widen(future: Future[Tensor]) -> Tensor:
            wide._data[...] = future.value()._data.reshape(-1)
            return wide

        return hook(state, bucket).then(widen)

    return compressed
