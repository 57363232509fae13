"""Data parallelism from the optimizer's side, for people who come from Horovod: wrap the optimizer, not the model."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from distgrad import dtypes
from distgrad.autograd import Tensor
from distgrad.distributed.algorithms.ddp_comm_hooks import default_hooks
from distgrad.distributed.algorithms.join import Join, JoinHook
from distgrad.distributed.collectives.in_place import broadcast_array
from distgrad.distributed.data_parallel.gradient_sync import GradientSync
from distgrad.distributed.gradients.grad_bucket import CommHook
from distgrad.distributed.optim.wrapping import Wrapping
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.distributed.reliability.model_agreement import check_same_model
from distgrad.optim.optimizer import Optimizer

__all__ = ["Compression", "DistributedOptimizer", "broadcast_optimizer_state", "broadcast_parameters"]


class Compression:
    """What gradients are sent as; any communication hook will do.

    >>> from distgrad.distributed.optim import Compression
    >>> Compression.fp16 is not Compression.none
    True
    """

    none: CommHook | None = None
    fp16: CommHook = staticmethod(default_hooks.fp16_compress_hook)
    bf16: CommHook = staticmethod(default_hooks.bf16_compress_hook)


class DistributedOptimizer(Wrapping):
    """``optimizer``, before whose steps every gradient is the mean over all ranks.

    Gradients are averaged by the end of each ``backward()``, so that they may be read and clipped; inside
    :meth:`no_sync` they add up locally.  Wrapping is collective and gives all ranks rank 0's parameters.

    Args:
        optimizer: updates the parameters.
        named_parameters: (name, parameter) pairs for error messages; those of ``optimizer`` are averaged.
        compression: None, or a communication hook such as ``Compression.fp16``.
        compression_state: the hook's state (a ``PowerSGDState``, …).
        process_group: None for the default one.
        check_finite: as for :class:`~distgrad.nn.parallel.DistributedDataParallel`.

    Raises:
        RuntimeError: the ranks' parameters differ; the message names the first that does.
        ValueError: no process group, or two parameters of one name.

    >>> from distgrad.distributed.optim import DistributedOptimizer
    >>> model = nn.Linear(2, 1)
    >>> optimizer = DistributedOptimizer(optim.SGD(model.parameters(), lr=0.1))
    >>> model(torch.ones(3, 2)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        optimizer: Optimizer,
        named_parameters: Iterable[tuple[str, Tensor]] | None = None,
        compression: CommHook | None = None,
        compression_state: Any = None,
        process_group: ProcessGroup | None = None,
        *,
        check_finite: str | None = "raise",
    ) -> None:
        group = get_group(process_group)
        super().__init__(optimizer, group)
        given = list(named_parameters or ())
        if len(dict(given)) < len(given):
            raise ValueError("named_parameters has two parameters of one name")
        names = {id(p): name for name, p in given}
        trained: dict[str, Tensor] = {}
        for i, params in enumerate(g["params"] for g in optimizer.param_groups):
            for k, p in enumerate(params):
                if p.requires_grad:
                    trained[names.get(id(p), f"{i}.{k}")] = p
        self._gradients: GradientSync | None = None
        if group.comm.size == 1 and compression is None:
            return
        check_same_model(group.comm, trained.items(), ())
        self._gradients = GradientSync(
            group.comm, trained, False, shared=compression is None, check_finite=check_finite
        )
        self._gradients.user = weakref.ref(self)
        if not self._gradients.shares_memory:
            broadcast_parameters(trained, process_group=group)
        if compression is not None:
            self._gradients.register_hook(compression_state, compression)
        self._gradients.reducer.announced.reduce_all(True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        result = super().step(closure)
        if self._gradients is not None:
            self._gradients.reducer.forward(False, 1, True)  # a backward() that failed is an error here
        return result

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside accumulate gradients locally; the first one outside averages their sum."""
        if self._gradients is None:
            yield
            return
        announced = self._gradients.reducer.announced
        announced.reduce_all(False)
        try:
            yield
        finally:
            announced.reduce_all(True)

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """A rank without inputs averages its part of nothing and steps with the others."""
        return _AveragesAndSteps(self)


class _AveragesAndSteps(JoinHook):
    def __init__(self, optimizer: DistributedOptimizer) -> None:
        self.optimizer = optimizer
        self.sync = sync = optimizer._gradients
        self.reducer = None if sync is None else sync.by_messages()
        if self.reducer is not None:
            self.reducer.before = lambda: Join.notify_join_context(optimizer)

    def main_hook(self) -> None:
        assert self.reducer is not None
        self.reducer.shadow()
        self.optimizer.step()

    def post_hook(self, is_last_joiner: bool) -> None:
        if self.sync is not None and self.reducer is not None:
            self.reducer.before = None
            self.sync.share_again()


def broadcast_parameters(
    params: Mapping[str, Any] | Iterable[tuple[str, Any]], root_rank: int = 0, process_group: ProcessGroup | None = None
) -> None:
    """Give all ranks rank ``root_rank``'s tensors: a ``state_dict()`` or (name, tensor) pairs.  Collective.

    >>> from distgrad.distributed.optim import broadcast_parameters
    >>> model = nn.Linear(2, 1)
    >>> broadcast_parameters(model.state_dict(), root_rank=0)
    """
    comm = get_group(process_group).comm
    pairs: Iterable[tuple[str, Any]] = params.items() if isinstance(params, Mapping) else params
    for _, tensor in sorted(pairs, key=lambda pair: pair[0]):
        if isinstance(tensor, Tensor):
            broadcast_array(comm, tensor._data, root_rank)
            tensor._bump()


def broadcast_optimizer_state(
    optimizer: Optimizer, root_rank: int = 0, process_group: ProcessGroup | None = None
) -> None:
    """Give all ranks rank ``root_rank``'s optimizer state and options.  Collective.

    Options must be numbers, texts, None, or lists and tuples of such.

    >>> from distgrad.distributed.optim import broadcast_optimizer_state
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    >>> broadcast_optimizer_state(optimizer, root_rank=0)
    """
    comm = get_group(process_group).comm
    inner = optimizer.optim if isinstance(optimizer, Wrapping) else optimizer
    saved = inner.state_dict()  # on all ranks: it may be collective
    arrays: list[tuple[int, str, Tensor]] = []
    told: Any = None
    if comm.rank == root_rank:
        arrays = [(k, n, v) for k, entry in saved["state"].items() for n, v in entry.items() if isinstance(v, Tensor)]
        plain = [(k, n, v) for k, e in saved["state"].items() for n, v in e.items() if not isinstance(v, Tensor)]
        kinds = [(k, n, list(v.shape), v.dtype.name) for k, n, v in arrays]
        told = {"arrays": kinds, "plain": plain, "groups": [_listed(g) for g in saved["param_groups"]]}
    told = comm.bcast(told, root_rank)
    state: dict[int, dict[str, Any]] = {}
    for i, (k, name, shape, kind) in enumerate(told["arrays"]):
        value = arrays[i][2] if comm.rank == root_rank else Tensor._wrap(np.zeros(shape, _numpy(kind)), None)
        broadcast_array(comm, value._data, root_rank)
        state.setdefault(k, {})[name] = value
    for k, name, plain_value in told["plain"]:
        state.setdefault(k, {})[name] = plain_value
    if comm.rank != root_rank:
        groups = [{name: _unlisted(value) for name, value in group.items()} for group in told["groups"]]
        inner.load_state_dict({"state": state, "param_groups": groups})


def _numpy(name: str) -> np.dtype:
    return getattr(dtypes, name).np


def _listed(group: dict[str, Any]) -> dict[str, Any]:
    """A group's options as JSON can hold them; tuples are marked."""
    return {k: {"tuple": list(v)} if isinstance(v, tuple) else v for k, v in group.items()}


def _unlisted(value: Any) -> Any:
    return tuple(value["tuple"]) if isinstance(value, dict) and set(value) == {"tuple"} else value
