"""PyTorch's ZeroRedundancyOptimizer: each rank updates its part of the parameters and holds state for it alone.

Stage 1 of ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054).  Parameters lie in flat storage, so a part is a range: for
elementwise mathematics any range, else whole parameters.  After the update all ranks exchange their ranges at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from distgrad import backend, storage
from distgrad.autograd import Tensor
from distgrad.backend.protocol import Array
from distgrad.distributed.algorithms.join import Join
from distgrad.distributed.collectives.in_place import broadcast_array
from distgrad.distributed.collectives.work import gather_array
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.gradients.fingerprint import PRIME
from distgrad.distributed.node_update.multi_node import ClusterUpdate
from distgrad.distributed.optim.ownership import levelled, owners, told
from distgrad.distributed.optim.wrapping import Wrapping
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.optim.optimizer import Optimizer
from distgrad.storage import FlatStorage

__all__ = ["Shards", "ZeroRedundancyOptimizer"]


class Shards:
    """The ranks of ``comm`` as they share out the update of one storage; each has its own copy of the parameters."""

    readable = False

    def __init__(self, comm: Communicator, flat: FlatStorage, whole: bool) -> None:
        self.comm, self.flat = comm, flat
        n, size = flat.data.size, comm.size
        if whole:  # a parameter is updated by the rank in whose range it begins
            starts = np.array([lo for lo, _ in flat.ranges] + [n])
            self.bounds = [int(starts[np.searchsorted(starts, n * r / size)]) for r in range(size)] + [n]
        else:
            self.bounds = [n * r // size // 16 * 16 for r in range(size)] + [n]
        self.whole = whole
        self._seen: list[int] = []  # the parameters' versions behind the last update
        self.written = True  # whether something was written to a parameter since
        self._levelled: Array | None = None  # the gradients to update with, where ranks have others
        self._aside: dict[int, Tensor | None] = {}  # what parameters have instead of them on this rank
        flat.share(self, (self.bounds[comm.rank], self.bounds[comm.rank + 1]), self.assemble)

    def begin(self) -> None:
        """Bring parameters and gradients that the user put elsewhere to where they are updated."""
        flat = self.flat
        kept = all(map(operator.is_, [p._data for p in flat.params], flat.views))
        self.written = not kept or self._seen != [p._version for p in flat.params]
        flat.take_in()
        for i, p in enumerate(flat.params):
            if p._data is not flat.views[i]:
                continue  # it has left for another storage, or the optimizer will see to it
            if p._grad is not None and p._grad._data is not flat.slots[i]:
                flat.gather(i, i + 1)

    def end(self, digest: int, how: Callable[[], str]) -> None:
        """Give each part to all ranks: one exchange, in which each part is written where it belongs."""
        lo, hi = self.bounds[self.comm.rank], self.bounds[self.comm.rank + 1]
        self.flat.exchange(lambda: gather_array(self.comm, self.flat.data[lo:hi], self.flat.data, self.bounds))
        for i, grad in self._aside.items():
            self.flat.params[i]._grad = grad
        self._levelled, self._aside = None, {}
        self._seen = [p._version for p in self.flat.params]

    def level(self, owner: Mapping[int, int]) -> None:
        """Until the end of this step, have gradients and values be those of each parameter's owner.  Collective."""
        self._levelled, self._aside = levelled(self.comm, self.flat, owner)

    def total(self, values: list[float]) -> list[float]:
        """The sums over the ranks of ``values``, taken in rank order.  Collective."""
        return [sum(column) for column in zip(*self.comm.allgather(values), strict=True)]

    def follow(self) -> None:
        """The others always share."""

    def release(self) -> None:
        """Nobody reads another rank's gradients."""

    def gradient(self, lo: int, hi: int) -> Array:
        """This rank's own, which all have, or the owners'."""
        return self.flat.grad[lo:hi] if self._levelled is None else self._levelled[lo:hi]

    operand = gradient

    def ranges(self, lo: int, hi: int, size: int) -> list[tuple[int, int]]:
        """Elements ``lo`` to ``hi - 1`` in ranges of ``size``."""
        return [(a, min(a + size, hi)) for a in range(lo, hi, size)]

    def allocate(self, n: int, dtype: np.dtype) -> Array:
        """Zeroed memory for this rank's part of optimizer state."""
        return storage.allocate(n, dtype, self.flat.device)

    def assemble(self, part: Array) -> Array:
        """All ranks' parts of an array of state, of which ``part`` is this one's.  Collective."""
        return backend.array_module(part).concatenate(list(self.parts(part)))

    def parts(self, part: Array) -> Iterable[Array]:
        """Each rank's in turn.  Collective, as it is gone through."""
        for rank, n in enumerate(self.comm.allgather(part.size)):
            theirs = part if rank == self.comm.rank else storage.allocate(n, part.dtype, backend.device_of(part))
            if n:
                broadcast_array(self.comm, theirs, rank)
            yield theirs


class ZeroRedundancyOptimizer(Wrapping):
    """``optimizer_class`` with its update and its state shared out among the ranks.

    Where gradients are the same on all ranks, as :class:`~distgrad.nn.parallel.DistributedDataParallel` makes them, the
    result has the same bits as the optimizer's own.  Where they are not (made in ``no_sync()``, or changed by rank),
    it is as in PyTorch: each parameter has one rank that owns it, whose gradient and value all take.  Where a node's
    ranks share the model's memory, the update is shared out already, and nothing is sent.

    Args:
        params: as for every optimizer.
        optimizer_class: a subclass of :class:`~distgrad.optim.Optimizer` with an ``update()``.
        process_group: None for the default one.
        parameters_as_bucket_view: accepted for PyTorch's sake; parameters always are views of flat storage.
        overlap_with_ddp: must be False: parts are exchanged in ``step()``.
        defaults: for ``optimizer_class``.

    Attributes:
        optim: the optimizer of this rank's part; its ``state_dict()`` is collective.

    Raises:
        TypeError: an optimizer with a ``step()`` of its own (LBFGS), which cannot be shared out.
        ValueError: no process group, or ``overlap_with_ddp``.

    >>> from distgrad.distributed.optim import ZeroRedundancyOptimizer
    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = ZeroRedundancyOptimizer([w], optim.Adam, lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        optimizer_class: type[Optimizer],
        process_group: ProcessGroup | None = None,
        parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False,
        **defaults: Any,
    ) -> None:
        if overlap_with_ddp:
            raise ValueError("overlap_with_ddp must be False: parts are exchanged in step()")
        if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, Optimizer)):
            raise TypeError(f"optimizer_class must be a subclass of distgrad.optim.Optimizer, got {optimizer_class!r}")
        if optimizer_class._own_step and not optimizer_class._own_update:
            raise TypeError(
                f"{optimizer_class.__name__} has a step() of its own; what is to be shared out must have an update()"
            )
        group = get_group(process_group)
        self._comm, self._whole = group.comm, not optimizer_class.elementwise
        given = params if isinstance(params, Tensor) else list(params)  # refused by the optimizer, as ever
        self._changes = -1
        self._consolidated: dict[str, Any] | None = None
        if not isinstance(given, Tensor):
            self._share_out(storage.flatten(_tensors(given)))
        super().__init__(optimizer_class(given, **defaults), group)
        self.optim._meet = self._meet

    def _flats(self) -> list[FlatStorage]:
        """Where the parameters lie.  Not :func:`flatten`, which would rehouse what a user has moved."""
        params = (p for group in self.param_groups for p in group["params"])
        spots = [storage.place(p) for p in params]
        return list({id(spot[0]): spot[0] for spot in spots if spot is not None}.values())

    def _meet(self) -> None:
        """In a step, before the first update: see that all ranks make the same.  Collective."""
        begun = self.optim._sharings
        if self._changes != storage.changes:  # ranks that shared memory went their own ways
            self._share_out(self._flats())
            self.optim._settle()
        sharings: list[Any] = [flat.sharing for flat in self._flats()]
        shards = [s for s in sharings if isinstance(s, Shards)]
        clusters = [s for s in sharings if isinstance(s, ClusterUpdate)]
        if not shards and not clusters:
            return  # in memory that they share they cannot differ
        gradients = 0
        for shard in shards:
            if shard not in begun:
                shard.begin()
            gradients = (gradients * 31 + told(shard.flat, shard.written)) % PRIME
        for cluster in clusters:
            gradients = (gradients * 31 + cluster.steps_with()) % PRIME
        mine = np.array([self.optim._find_digest(), gradients * 2 + bool(clusters)], np.int64)
        table = np.zeros((self._comm.size, 2), np.int64)
        self._comm.Allgather(mine, table)
        differ = bool((table[:, 1] != mine[1]).any())
        if differ and (table[:, 1] % 2).any():  # nodes in whose memory there are several values: each takes its own
            for cluster in clusters:
                if not cluster.parted:
                    cluster.part()  # type: ignore[misc]
            self._meet()
            return
        others = [str(r) for r, digest in enumerate(table[:, 0]) if digest != mine[0]]
        if others:
            raise RuntimeError(
                f"rank {self._comm.rank}: rank(s) {', '.join(others)} come to a step with another optimizer, with "
                f"other hyperparameters or other parameters than rank {self._comm.rank}, which has "
                f"{self.optim._told()}. A schedule that goes by a loss must go by one that all ranks have"
            )
        if differ:
            owner = owners(self.param_groups, self._comm.size)
            for shard in shards:
                shard.level(owner)

    def _share_out(self, storages: Iterable[FlatStorage]) -> None:
        """See that each storage's update is shared out, by whomever.  The same on all ranks, without a word."""
        if self._comm.size > 1:
            for flat in storages:
                found = flat.sharing
                if found is None or (isinstance(found, Shards) and self._whole and not found.whole):
                    Shards(self._comm, flat, self._whole)
        self._changes = storage.changes

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update this rank's part and fetch the others'.  Collective."""
        Join.notify_join_context(self)
        if self._changes != storage.changes:
            self._share_out(self._flats())
        self._consolidated = None
        return super().step(closure)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: ``params`` and options that differ from the defaults.  On all ranks alike."""
        super().add_param_group(param_group)
        self._changes = -1

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Fetch all ranks' state to rank ``to``, for its :meth:`state_dict`.  Collective."""
        if not 0 <= to < self._comm.size:
            raise ValueError(f"rank {to} does not exist: ranks are 0 to {self._comm.size - 1}")
        self._consolidated = None
        if self._comm.rank == to:
            self._consolidated = _snapshot(self.optim.state_dict())
        else:
            for segment in (s for several in self.optim._segments for s in several):
                if isinstance(segment.sharing, Shards):
                    for part in segment.state.values():
                        for _ in segment.sharing.parts(part):  # one at a time, and forgotten
                            pass
        self._comm.Barrier()  # where memory is shared, it has been read

    def state_dict(self) -> dict[str, Any]:
        """The whole state in PyTorch's layout, on the rank that it was consolidated to.

        Raises RuntimeError on other ranks, and where a step was made since.
        """
        if self._consolidated is None:
            raise RuntimeError(
                f"rank {self._comm.rank} has no consolidated optimizer state: call "
                f"consolidate_state_dict(to={self._comm.rank}) on all ranks, after the last step()"
            )
        return self._consolidated

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Every rank gives the whole state, of any number of ranks or of the plain optimizer, and takes its part."""
        self._consolidated = None
        super().load_state_dict(state_dict)


def _tensors(given: list[Any]) -> list[Tensor]:
    """The tensors in what an optimizer is given; whatever else is there it will refuse itself."""
    found: list[Any] = []
    for entry in given:
        several = entry.get("params", []) if isinstance(entry, dict) else [entry]
        if isinstance(entry, dict) and not isinstance(several, (Tensor, list, tuple, set)):
            several = entry["params"] = list(several)  # an iterator can be gone through once
        for one in [several] if isinstance(several, Tensor) else several:
            found.append(one[1] if isinstance(one, tuple) else one)
    return [p for p in found if isinstance(p, Tensor) and p.is_leaf]


def _snapshot(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Without views of what the next step changes."""

    def copied(value: Any) -> Any:
        return value.detach().clone() if isinstance(value, Tensor) else value

    state = {k: {name: copied(v) for name, v in entry.items()} for k, entry in state_dict["state"].items()}
    return {**state_dict, "state": state}
