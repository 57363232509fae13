"""Only the largest elements of a gradient are sent; the others wait (Aji, Heafield 2017, arXiv:1704.05021).

What was not sent is added to the next gradient (error feedback; Stich, Cordonnier, Jaggi 2018, arXiv:1809.07599), so
nothing is lost, only late.
"""

from __future__ import annotations

import math

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.backend.protocol import Array
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.gradients.grad_bucket import GradBucket, all_reduced
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group

__all__ = ["TopKState", "topk_hook"]


class TopKState:
    """What :func:`topk_hook` remembers; one for each model.

    Args:
        process_group: None for the default one.
        ratio: which part of a bucket's elements each rank sends, 0 < ratio ≤ 1; at least one.
        start_iter: the first step that is compressed, at least 1: buckets are laid out anew after the step before.

    Attributes:
        error_dict: by number of the bucket, what has not been sent yet.
        iter: how many steps there were.
    """

    def __init__(self, process_group: ProcessGroup | None = None, ratio: float = 0.01, start_iter: int = 1) -> None:
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be greater than 0 and at most 1, got {ratio}")
        if start_iter < 1:
            raise ValueError(
                f"start_iter must be at least 1, got {start_iter}: buckets are laid out anew after the first step"
            )
        self.process_group, self.ratio, self.start_iter = process_group, ratio, start_iter
        self.error_dict: dict[int, Array] = {}
        self.iter = 0


def topk_hook(state: TopKState, bucket: GradBucket) -> Future[Tensor]:
    """Gather every rank's largest elements with their places, and average them; places sent by nobody are zero.

    A rank sends ratio × elements × (element's size + 4) bytes a bucket.
    """
    comm = get_group(state.process_group).comm
    buffer, index, step = bucket.buffer(), bucket.index(), state.iter
    if bucket.is_last():
        state.iter += 1
    if step < state.start_iter:
        return all_reduced(comm, buffer, ReduceOp.AVG)
    flat = buffer._data
    xp = backend.array_module(flat)
    if index in state.error_dict:
        flat += state.error_dict[index]
    k = max(1, math.ceil(state.ratio * flat.size))
    places = xp.argpartition(abs(flat), flat.size - k)[flat.size - k :].astype(np.int32)
    values = flat[places]
    error = state.error_dict[index] = flat.copy()
    error[places] = 0
    sent = backend.to_host(places), np.ascontiguousarray(backend.to_host(values))
    gathered = [np.empty((comm.size, k), part.dtype) for part in sent]
    for part, table in zip(sent, gathered, strict=True):
        comm.Allgather(part, table)
    flat[...] = 0
    for where, what in zip(*gathered, strict=True):  # in rank order: the same bits everywhere; a rank's places differ
        flat[backend.to_device(where, buffer.device)] += backend.to_device(what, buffer.device)
    flat /= flat.dtype.type(comm.size)
    done: Future[Tensor] = Future()
    done.set_result(buffer)
    return done
