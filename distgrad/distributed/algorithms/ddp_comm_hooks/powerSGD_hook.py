"""PowerSGD: gradients of matrices as products of two thin ones (Vogels, Karimireddy, Jaggi 2019, arXiv:1905.13727).

A gradient M (n × m) is sent as P = M Q (n × r), averaged and made orthonormal, and Q = Mᵀ P (m × r), averaged: one step
of power iteration, which goes on from step to step where Q is kept (warm start).  What P Qᵀ misses is added to the next
gradient (error feedback), so nothing is lost, only late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.backend.protocol import Array
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.gradients.grad_bucket import GradBucket, all_reduced
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group

__all__ = ["PowerSGDState", "powerSGD_hook"]


class PowerSGDState:
    """What :func:`powerSGD_hook` remembers; one for each model.

    Args:
        process_group: None for the default one.
        matrix_approximation_rank: r.
        start_powerSGD_iter: the first step that is compressed; those before are all-reduced as they are.
        min_compression_rate: a matrix is compressed where (n + m) r times this is less than n m.
        use_error_feedback: add what a step did not send to the next gradient.
        warm_start: begin with the last step's Q; else with a random one.
        orthogonalization_epsilon: as in PyTorch; unused: QR is stable without.
        random_seed: of the first Q, which is the same on all ranks.
        compression_stats_logging_frequency: as in PyTorch; :meth:`compression_stats` tells at any time.
        batch_tensors_with_same_shape: as in PyTorch; without effect on the result.

    Attributes:
        error_dict, p_memory_dict, q_memory_dict: by number of the bucket.
        iter: how many steps there were.

    Raises:
        ValueError: compression from the first step on with memory: buckets are laid out anew after that step.
    """

    def __init__(
        self,
        process_group: ProcessGroup | None,
        matrix_approximation_rank: int = 1,
        start_powerSGD_iter: int = 1_000,
        min_compression_rate: float = 2,
        use_error_feedback: bool = True,
        warm_start: bool = True,
        orthogonalization_epsilon: float = 0,
        random_seed: int = 0,
        compression_stats_logging_frequency: int = 10_000,
        batch_tensors_with_same_shape: bool = False,
    ) -> None:
        if matrix_approximation_rank < 1:
            raise ValueError(f"matrix_approximation_rank must be at least 1, got {matrix_approximation_rank}")
        if (use_error_feedback or warm_start) and start_powerSGD_iter <= 1:
            raise ValueError(
                "with use_error_feedback or warm_start, start_powerSGD_iter must be greater than 1, got "
                f"{start_powerSGD_iter}: buckets are laid out anew after the first step"
            )
        self.process_group = process_group
        self.matrix_approximation_rank = matrix_approximation_rank
        self.start_powerSGD_iter = start_powerSGD_iter
        self.min_compression_rate = min_compression_rate
        self.use_error_feedback, self.warm_start = use_error_feedback, warm_start
        self.orthogonalization_epsilon = orthogonalization_epsilon
        self.random_seed = random_seed
        self.compression_stats_logging_frequency = compression_stats_logging_frequency
        self.batch_tensors_with_same_shape = batch_tensors_with_same_shape
        self.error_dict: dict[int, Array] = {}
        self.p_memory_dict: dict[int, list[Array]] = {}
        self.q_memory_dict: dict[int, list[Array]] = {}
        self.iter = 0
        self.total_numel_before_compression = 0
        self.total_numel_after_compression = 0

    def maybe_increase_iter(self, bucket: GradBucket) -> None:
        """Count a step with its last bucket."""
        if bucket.is_last():
            self.iter += 1

    def compression_stats(self) -> tuple[float, int, int]:
        """(rate, elements before, elements sent) so far, without uncompressed steps; a rate of 0 before the first."""
        before, after = self.total_numel_before_compression, self.total_numel_after_compression
        return (before / after if after else 0.0), before, after

    def compresses(self, shape: Sequence[int]) -> bool:
        """Whether a gradient of this shape is worth it, as a matrix of ``shape[0]`` rows."""
        if len(shape) < 2:
            return False
        n, m = shape[0], math.prod(shape[1:])
        return (n + m) * min(n, m, self.matrix_approximation_rank) * self.min_compression_rate < n * m


def powerSGD_hook(state: PowerSGDState, bucket: GradBucket) -> Future[Tensor]:
    """Reduce a bucket in two small messages: vectors and all P, then all Q."""
    comm = get_group(state.process_group).comm
    buffer = bucket.buffer()
    index, flat = bucket.index(), buffer._data
    step = state.iter
    state.maybe_increase_iter(bucket)
    if step < state.start_powerSGD_iter:
        return all_reduced(comm, buffer, ReduceOp.AVG)
    xp = backend.array_module(flat)
    if state.use_error_feedback:
        if index in state.error_dict:
            flat += state.error_dict[index]
        else:
            state.error_dict[index] = xp.zeros_like(flat)
        wanted = flat.copy()
    gradients = [g._data for g in bucket.gradients()]
    plain = [g for g in gradients if not state.compresses(g.shape)]
    matrices = [g.reshape(g.shape[0], -1) for g in gradients if state.compresses(g.shape)]
    if not (state.warm_start and index in state.q_memory_dict):
        state.q_memory_dict[index] = _random(state, matrices, (step if not state.warm_start else 0, index))
    qs = state.q_memory_dict[index]
    first = _packed([*plain, *(m @ q for m, q in zip(matrices, qs, strict=True))], flat)
    state.total_numel_before_compression += sum(g.size for g in gradients)
    state.total_numel_after_compression += first.size + sum(q.size for q in qs)

    def second(future: Future[Tensor]) -> Future[Tensor]:
        parts = _unpacked(future.value()._data, [*(g.shape for g in plain), *((m.shape[0], q.shape[1])
                          for m, q in zip(matrices, qs, strict=True))])  # fmt: skip
        for g, mean in zip(plain, parts[: len(plain)], strict=True):
            g[...] = mean
        ps = [xp.linalg.qr(p)[0] for p in parts[len(plain) :]]
        state.p_memory_dict[index] = ps
        products = [m.T @ p for m, p in zip(matrices, ps, strict=True)]
        return all_reduced(comm, Tensor._wrap(_packed(products, flat), None), ReduceOp.AVG)

    def third(future: Future[Future[Tensor]]) -> Tensor:
        means = _unpacked(future.value().wait()._data, [q.shape for q in qs])
        for m, p, q, mean in zip(matrices, state.p_memory_dict[index], qs, means, strict=True):
            q[...] = mean
            m[...] = p @ q.T
        if state.use_error_feedback:
            error = state.error_dict[index]
            xp.subtract(wanted, flat, out=error)
            for g in plain:  # sent whole
                start = (_address(g) - _address(flat)) // flat.itemsize
                error[start : start + g.size] = 0
        return buffer

    return all_reduced(comm, Tensor._wrap(first, None), ReduceOp.AVG).then(second).then(third)


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0]) if isinstance(array, np.ndarray) else int(array.data.ptr)


def _random(state: PowerSGDState, matrices: Sequence[Array], key: tuple[int, ...]) -> list[Array]:
    """Random orthonormal Q for each matrix, a function of the seed and ``key`` alone."""
    rng, found = np.random.default_rng([state.random_seed, *key]), []
    for m in matrices:
        q = rng.standard_normal((m.shape[1], min(*m.shape, state.matrix_approximation_rank)))
        found.append(backend.to_device(np.linalg.qr(q)[0].astype(m.dtype), backend.device_of(m)))
    return found


def _packed(arrays: Sequence[Array], like: Array) -> Array:
    xp = backend.array_module(like)
    return xp.concatenate([a.reshape(-1) for a in arrays] or [like[:0]]).astype(like.dtype, copy=False)


def _unpacked(flat: Array, shapes: Sequence[Sequence[int]]) -> list[Array]:
    found, at = [], 0
    for shape in shapes:
        n = math.prod(shape)
        found.append(flat[at : at + n].reshape(tuple(shape)))
        at += n
    return found
