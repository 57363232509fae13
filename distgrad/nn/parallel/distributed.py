"""PyTorch's DistributedDataParallel: each rank trains on its share of a batch, all end with the same parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from distgrad import autograd, storage
from distgrad.autograd import Tensor
from distgrad.distributed.collectives import broadcast_array
from distgrad.distributed.consistency import check_same_model
from distgrad.distributed.process_group import ProcessGroup, get_group
from distgrad.distributed.reducer import Reducer, make_buckets
from distgrad.distributed.shared_reducer import SharedReducer
from distgrad.nn.module import Module

__all__ = ["DistributedDataParallel"]

_FIRST_BUCKET_MB = 1.0


class DistributedDataParallel(Module):
    """A module whose gradients are, after every ``backward()``, the mean over all ranks.

    Wrapping is collective: it checks that all ranks have the same model and gives all of them rank 0's parameters and
    buffers.  Gradients are all-reduced in buckets while backward is still running, and backward returns when all have
    arrived (PyTorch's meaning): any rank may then read, print, clip or scale ``p.grad`` on its own, and any optimizer
    may step.  Parameters that no rank used keep ``grad`` None; those that some ranks used get the mean over all, the
    others counting as zero; ``find_unused_parameters`` is not needed for either.  With one rank it costs nothing.

    One deliberate deviation from PyTorch: ranks are weighted by their number of samples, so that shares of different
    sizes give the gradient of the mean over the whole batch.  With equal shares the two agree; ``weighting="ranks"`` is
    PyTorch's plain mean over ranks.

    Args:
        module: the model, the same on every rank.
        device_ids, output_device: accepted for PyTorch's sake; a module is used where its parameters lie.
        dim: the dimension of the first tensor argument that counts samples.
        broadcast_buffers: before each forward pass in training, give all ranks rank 0's buffers.
        init_sync: check the model and broadcast parameters and buffers now.
        process_group: None for the default one.
        bucket_cap_mb: how many MiB of gradients are reduced at a time; None is 25.  The first bucket has 1 at most.
        find_unused_parameters, gradient_as_bucket_view, static_graph: accepted for PyTorch's sake; unused parameters
            are always found, and gradients always are views of buckets.
        check_reduction: as in PyTorch, without effect.
        weighting: ``"samples"`` or ``"ranks"``.

    Raises:
        RuntimeError: no parameter requires a gradient, or the ranks' models differ (the parameter and ranks are named).
        ValueError: no process group, or an unknown ``weighting``.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: ProcessGroup | None = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        *,
        weighting: str = "samples",
    ) -> None:
        super().__init__()
        if weighting not in ("samples", "ranks"):
            raise ValueError(f"weighting must be 'samples' or 'ranks', got {weighting!r}")
        cap_mb = 25.0 if bucket_cap_mb is None else float(bucket_cap_mb)
        if cap_mb <= 0:
            raise ValueError(f"bucket_cap_mb must be positive, got {bucket_cap_mb}")
        params = [p for p in module.parameters() if p.requires_grad]
        if not params:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a "
                "gradient."
            )
        self.module = module
        self.dim, self.broadcast_buffers = dim, broadcast_buffers
        self.require_backward_grad_sync = True
        self.process_group = get_group(process_group)
        self._comm = self.process_group.comm
        self._reducer: Reducer | SharedReducer | None = None
        if self._comm.size == 1:
            return
        if init_sync:
            check_same_model(self._comm, module.named_parameters(), module.named_buffers())
        if init_sync and SharedReducer.can_serve(self._comm, params):
            self._reducer = SharedReducer(self._comm, params, by_samples=weighting == "samples")
            self._broadcast([p for p in module.parameters() if not p.requires_grad])
            self._broadcast(module.buffers())
            return
        order = {id(p): i for i, p in enumerate(params)}
        cap = cap_mb * 2**20
        buckets = make_buckets(storage.flatten(params), order, cap, min(cap, _FIRST_BUCKET_MB * 2**20))
        self._reducer = Reducer(self._comm, buckets, by_samples=weighting == "samples")
        if init_sync:
            for bucket in buckets:
                broadcast_array(self._comm, bucket.storage.data[bucket.range])
            for p in params:
                p._bump()
            self._broadcast([p for p in module.parameters() if not p.requires_grad])
            self._broadcast(module.buffers())

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's forward pass; where gradients are recorded, its samples count for this rank's weight."""
        if self._reducer is not None and autograd.is_grad_enabled():
            sync = self.require_backward_grad_sync
            if self.training and sync and self.broadcast_buffers:
                self._broadcast(self.module.buffers())
            self._reducer.forward(sync, self._samples(inputs, kwargs), self.training)
        return self.module(*inputs, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Forward passes inside accumulate gradients locally; the first backward of a later one reduces their sum."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def _samples(self, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        for value in (*inputs, *kwargs.values()):
            if isinstance(value, Tensor):
                return int(value.shape[self.dim]) if value.ndim else 1
        return 1

    def _broadcast(self, tensors: Any) -> None:
        for t in tensors:
            broadcast_array(self._comm, t._data)
            t._bump()
