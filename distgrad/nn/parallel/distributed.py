"""PyTorch's DistributedDataParallel: each rank trains on its share of a batch, all end with the same parameters."""

from __future__ import annotations

import contextlib
import copy
import inspect
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from distgrad import autograd
from distgrad._arguments import kind_of
from distgrad.autograd import Tensor
from distgrad.distributed.algorithms.join import Join, Joinable, JoinHook
from distgrad.distributed.collectives.in_place import broadcast_array
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.data_parallel.gradient_sync import GradientSync
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.gradients.announced import UNKNOWN
from distgrad.distributed.gradients.grad_bucket import CommHook
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.distributed.reliability.forks import FORKED
from distgrad.distributed.reliability.model_agreement import AsWrapped, check_same_model
from distgrad.nn.base.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module, Joinable):
    """A module whose gradients are, after every ``backward()``, the mean over all ranks.

    Wrapping is collective: it checks that all ranks have the same model and gives all of them rank 0's parameters and
    buffers.  Gradients are all-reduced in buckets while backward is still running, and backward returns when all have
    arrived (PyTorch's meaning): any rank may then read, print, clip or scale ``p.grad`` on its own, and any optimizer
    may step.  Parameters that no rank used keep ``grad`` None; those that some ranks used get the mean over all, the
    others counting as zero; ``find_unused_parameters`` is not needed for either.  With one rank it costs nothing.

    Where the ranks of a node share memory (the ``shared`` communicator), gradients are not sent but added up where they
    lie; on one node each rank makes its part of a wide linear layer's gradient, of all ranks' few samples
    (:mod:`distgrad.distributed.node_update.sufficient_factors`), until a rank asks for that ``p.grad``.  A
    communication hook and :meth:`join` need messages: the model's memory then becomes each rank's own, with a hook for
    good (it cannot be removed, as in PyTorch), with :meth:`join` until its context has ended.

    As in PyTorch, a forward pass of the wrapper holds for one backward pass, the next one, which is reduced; what
    backward passes add behind it, before another forward pass, stays this rank's own.  Ranks may step with such
    gradients (local SGD), each in its own way: where they share memory, each then takes its parameters and optimizer
    state along, and the model goes by messages from there on, which is said once.

    With shares of different sizes, the mean over the ranks is not the gradient of the mean loss over the whole batch.
    ``weighting="samples"`` makes it so, for losses that are means over samples: each rank weighs as much as its share.
    The number of samples is that of the tensor that the forward pass is given first; where it is given something else,
    or where forward passes of different lengths belong to one backward pass, it has to be told, by
    ``model(inputs, batch_size=n)`` or :meth:`samples`, and is an error on all ranks where it is not.

    A deliberate deviation from PyTorch: a gradient that is not finite on some rank is an error on all.

    Args:
        module: the model, the same on every rank.
        device_ids, output_device: accepted for PyTorch's sake; a module is used where its parameters lie.
        dim: the dimension of the first tensor argument that counts samples, for ``weighting="samples"``.
        broadcast_buffers: before each forward pass in training, give all ranks rank 0's buffers.
        init_sync: check the model and broadcast parameters and buffers now.
        process_group: None for the default one.
        bucket_cap_mb: how many MiB of gradients are reduced at a time; None is 25.  The first bucket has 1 at most.
            After the first backward, buckets follow the order in which rank 0's gradients were complete.
        find_unused_parameters, gradient_as_bucket_view: accepted for PyTorch's sake; unused parameters are always
            found, and gradients always are views of buckets.
        check_reduction: as in PyTorch, without effect.
        static_graph: each backward that reduces uses the same parameters on a rank; others are a RuntimeError there.
        weighting: ``"ranks"``, the mean over the ranks; or ``"samples"``, weighted by their numbers of samples.
        check_finite: what all ranks do alike when a gradient is NaN or infinite on one: ``"raise"`` RuntimeError that
            names the rank and the parameter; ``"skip"``: all gradients become None, so the optimizer moves nothing;
            None: nothing, as in PyTorch.  They do it at the end of ``backward()``, or on one node that shares memory,
            where nobody waits there, when gradients are first used: at ``step()`` or a look at ``p.grad``.

    Raises:
        RuntimeError: no parameter requires a gradient, or the ranks' models differ (the parameter and ranks are named).
        ValueError: no process group, or an unknown ``weighting`` or ``check_finite``.

    >>> model = nn.parallel.DistributedDataParallel(nn.Linear(3, 1))
    >>> model(torch.ones(2, 3)).sum().backward()
    >>> model.module.weight.grad  # the mean over the ranks
    tensor([[2., 2., 2.]])
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
        weighting: str = "ranks",
        check_finite: str | None = "raise",
    ) -> None:
        super().__init__()
        if weighting not in ("samples", "ranks"):
            raise ValueError(f"weighting must be 'samples' or 'ranks', got {weighting!r}")
        if check_finite not in ("raise", "skip", None):
            raise ValueError(f"check_finite must be 'raise', 'skip' or None, got {check_finite!r}")
        cap_mb = 25.0 if bucket_cap_mb is None else float(bucket_cap_mb)
        if cap_mb <= 0:
            raise ValueError(f"bucket_cap_mb must be positive, got {bucket_cap_mb}")
        if not isinstance(module, Module):
            raise TypeError(f"DistributedDataParallel takes a Module, not {kind_of(module)} ({module!r})")
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a "
                "gradient."
            )
        self.module = module
        self.dim, self.broadcast_buffers = dim, broadcast_buffers
        self.static_graph = static_graph
        self.require_backward_grad_sync = True
        self.process_group = get_group(process_group)
        self._comm = self.process_group.comm
        self._weighting, self._device = weighting, next(iter(trained.values())).device
        self._options: dict[str, Any] = dict(
            by_samples=weighting == "samples", cap_bytes=cap_mb * 2**20, check_finite=check_finite,
            static_graph=static_graph, shared=init_sync,
        )  # fmt: skip
        self._trained = trained
        self._has_buffers = any(True for _ in module.buffers())  # as in PyTorch: who has none now never gets any
        self._gradients: GradientSync | None = None
        self._buffers_due = True  # whether the next forward pass is to have rank 0's
        self._wrapped = AsWrapped(self._comm.rank, module)
        self._takes_batch_size = "batch_size" in inspect.signature(module.forward).parameters
        if self._comm.size == 1:
            return
        if init_sync:
            told = {name: self._options[name] for name in ("check_finite", "static_graph", "cap_bytes")}
            told = {"weighting": weighting, "broadcast_buffers": broadcast_buffers, **told}
            check_same_model(self._comm, module.named_parameters(), module.named_buffers(), told)
        sync = self._attach()
        if init_sync:
            self._broadcast(p for p in module.parameters() if not (sync.shares_memory and p.requires_grad))
            self._broadcast(module.buffers())

    def _attach(self) -> GradientSync:
        if self._gradients is None:
            self._gradients = GradientSync(self._comm, self._trained, **self._options)
            self._gradients.user = weakref.ref(self)
        return self._gradients

    def register_comm_hook(self, state: Any, hook: CommHook) -> None:
        """Have ``hook(state, bucket)`` reduce each bucket of gradients.  Collective; once for a model.

        The hook is called when the bucket is complete on this rank, in the same order on all, with a
        :class:`~distgrad.distributed.gradients.grad_bucket.GradBucket`; it returns the promise of the mean over the
        ranks, a tensor of as many elements.  Built in: :mod:`distgrad.distributed.algorithms.ddp_comm_hooks`.

        Raises:
            TypeError: ``hook`` cannot be called.
            RuntimeError: there is one already.
        """
        self._attach().register_hook(state, hook)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's forward pass; where gradients are recorded, the next backward pass is reduced.

        Args:
            inputs, kwargs: the module's.  ``batch_size=n``, unless the module takes it, says how many samples they are.
        """
        module: Any = self._modules["module"]
        told = kwargs.get("batch_size")
        if told is not None and not self._takes_batch_size:
            del kwargs["batch_size"]
        gradients = self._gradients
        if gradients is None or not autograd.is_grad_enabled() or (gradients.ended and self._has_ended()):
            return module(*inputs, **kwargs)
        if gradients.is_forked:
            raise RuntimeError(FORKED)
        self._wrapped.check()
        sync, training, root = self.require_backward_grad_sync, self.training, 0
        gradients.reducer.begins(sync)
        buffers = self._has_buffers and training and self.broadcast_buffers and self._buffers_due
        if sync and self._join_config.enable:
            Join.notify_join_context(self)
            root, buffers = self._agree(True, buffers)
        if buffers:
            self._broadcast(module.buffers(), root)
        samples = self._samples(inputs, kwargs, told) if self._options["by_samples"] else 0
        result = module(*inputs, **kwargs)
        # Only now, as in PyTorch: a forward pass that fails is none.
        if training and self._has_buffers:  # those that it changed are rank 0's before the next
            self._buffers_due = sync
        gradients.reducer.forward(sync, samples, training)
        return result

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Forward passes inside accumulate gradients locally; the first backward of a later one reduces their sum."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    # --- uneven inputs ----------------------------------------------------------------------------------------------

    def join(
        self, divide_by_initial_world_size: bool = True, enable: bool = True, throw_on_early_termination: bool = False
    ) -> Join:
        """A context for a loop over inputs of which ranks have different numbers: who has run out keeps taking part.

        At its end all ranks have the parameters and buffers of one that worked to the end.  An optimizer's state stays
        as each rank has it, as in PyTorch: where it matters, make the optimizer one of
        :mod:`distgrad.distributed.optim` and use ``Join([model, optimizer])``, under which all ranks step.  Where
        memory was shared and states differ, the model stays on messages.  So does it behind a context that an exception
        ends; the next one that ends well takes it back.

        Args:
            divide_by_initial_world_size: False: ranks that have run out no longer count in the mean.  Only with
                ``weighting="ranks"``: weighted by samples they never do.
            enable: False: a context that does nothing.
            throw_on_early_termination: once a rank has run out, all raise RuntimeError instead.
        """
        return Join(
            [self], enable, throw_on_early_termination, divide_by_initial_world_size=divide_by_initial_world_size
        )

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """What a rank without inputs does; keyword ``divide_by_initial_world_size`` as for :meth:`join`."""
        if self._comm.size == 1:
            return JoinHook()
        sync = self._attach()
        reducer = sync.by_messages()
        reducer.by_presence = self._weighting == "ranks" and not kwargs.get("divide_by_initial_world_size", True)
        return _TakesPart(self, sync, reducer)

    @property
    def join_device(self) -> Any:
        """The device of the parameters."""
        return self._device

    @property
    def join_process_group(self) -> ProcessGroup:
        """The ranks."""
        return self.process_group

    def _agree(self, speaks: bool, buffers: bool) -> tuple[int, bool]:
        """The last rank that speaks for the model, and whether buffers are to be broadcast; the same on all ranks."""
        told = np.array([self._comm.rank if speaks else -1, buffers], np.int64)
        self._comm.Allreduce(told, ReduceOp.MAX)
        return int(told[0]), bool(told[1])

    def __deepcopy__(self, memo: dict[int, Any]) -> DistributedDataParallel:
        """A wrapper of a copy of the module, over the same ranks.  Collective, as wrapping is."""
        options = dict(self._options)
        del options["by_samples"], options["shared"]
        cap = options.pop("cap_bytes") / 2.0**20
        return type(self)(
            copy.deepcopy(self.module, memo), dim=self.dim, broadcast_buffers=self.broadcast_buffers,
            process_group=self.process_group, bucket_cap_mb=cap, weighting=self._weighting, **options,
        )  # fmt: skip

    def samples(self, n: int) -> None:
        """Say that the next backward pass that is reduced is of ``n`` samples on this rank, whatever was guessed at.

        It counts for the samples of the backward passes before it too that were not reduced, and only once.

        Raises:
            RuntimeError: without ``weighting="samples"``.  ValueError: ``n`` is no number of samples.

        Example::

            model = DistributedDataParallel(net, weighting="samples")
            model.samples(len(batch["x"]))
            loss = mse_loss(model(batch), batch["y"])
        """
        if self._weighting != "samples":
            raise RuntimeError("samples() needs DistributedDataParallel(..., weighting='samples')")
        n = _count(n)
        if self._gradients is not None and not self._has_ended():
            self._gradients.reducer.announced.tell(n)

    def _has_ended(self) -> bool:
        """Whether the group of ranks has: this one works alone then."""
        if self._gradients is not None and self._gradients.ended:
            self._gradients = None
        return self._gradients is None

    def _samples(self, inputs: tuple[Any, ...], kwargs: dict[str, Any], told: Any) -> int:
        if told is not None:
            return _count(told)
        given = (*inputs, *kwargs.values())
        if any(isinstance(value, (dict, list, tuple)) for value in given):
            return UNKNOWN
        for value in given:
            if isinstance(value, Tensor):
                shape = value._data.shape
                return int(shape[self.dim]) if shape else 1
        return UNKNOWN

    def _broadcast(self, tensors: Iterable[Any], root: int = 0) -> None:
        for t in tensors:
            broadcast_array(self._comm, t._data, root)
            t._bump()


def _count(n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 0:
        raise ValueError(f"the number of samples must be a whole number that is not negative, got {n!r}")
    return int(n.__index__())


class _TakesPart(JoinHook):
    """The part of a rank that has no inputs any more in the others' forward and backward passes."""

    def __init__(self, model: DistributedDataParallel, sync: GradientSync, reducer: Reducer) -> None:
        self.model, self.sync, self.reducer = model, sync, reducer

    def main_hook(self) -> None:
        root, buffers = self.model._agree(False, False)
        if buffers:
            self.model._broadcast(self.model.module.buffers(), root)
        self.reducer.shadow()

    def post_hook(self, is_last_joiner: bool) -> None:
        root, _ = self.model._agree(is_last_joiner, False)
        self.model._broadcast(self.model.module.parameters(), root)
        self.model._broadcast(self.model.module.buffers(), root)
        self.reducer.by_presence = False
        self.sync.share_again()
