"""Flat storage: parameters of one device and dtype in one contiguous buffer, their gradients in another.

``p.data`` and ``p.grad`` are views of the two, and the engine writes a parameter's first gradient straight into its
view.  So an all-reduce bucket is a slice, an update is a loop over blocks, and a shard is a range.  Parameters start on
64-byte boundaries; the gaps between them are zero in both buffers and stay so under any elementwise update.

A user may at any time give a parameter other memory (``p.data = …``, ``.to()``), another gradient (``p.grad = …``) or
none.  Nothing here forbids it: :meth:`FlatStorage.holds` tells, and whoever works on the buffers asks first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from . import backend
from .autograd import Tensor
from .autograd.engine import unshared
from .autograd.graph import Leaf
from .backend import Array

if TYPE_CHECKING:
    from .compiled import Mean

__all__ = ["Allocate", "FlatStorage", "Sharing", "allocate", "changes", "flatten", "home"]

# How a buffer is made: (number of elements, NumPy dtype, device) -> zeroed one-dimensional array.
Allocate = Callable[[int, np.dtype, backend.device], Array]

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def allocate(n: int, dtype: np.dtype, device: backend.device) -> Array:
    """A zeroed buffer of ``n`` elements in the process's own memory, on a 64-byte boundary on the CPU."""
    if device.type != "cpu":
        with backend.on(device):
            return backend.module_for(device).zeros(n, dtype)
    raw = np.zeros(n * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n * dtype.itemsize].view(dtype)


class Sharing(Protocol):
    """How processes share out the update of a storage; see :attr:`FlatStorage.sharing`."""

    def begin(self) -> None:
        """An optimizer is about to update; gradients are complete.  Collective."""

    def end(self, digest: int, how: Callable[[], str]) -> None:
        """It has: make the new values everybody's.  Collective.

        Args:
            digest: of optimizer, hyperparameters and the parameters that they are for; below 2⁶³.
            how: tells them, for an error.
        """

    def release(self) -> None:
        """Gradients may have been forgotten."""

    def gradient(self, lo: int, hi: int) -> Array:
        """Elements ``lo`` to ``hi - 1`` of the gradient to update with; valid until the next call."""
        ...

    def ranges(self, lo: int, hi: int, size: int) -> list[tuple[int, int]]:
        """Elements ``lo`` to ``hi - 1`` cut into ranges to ask :meth:`gradient` for one behind another.

        They are of ``size`` elements, unless it is quicker to make more at a time.
        """
        ...

    def operand(self, lo: int, hi: int) -> Array | Mean | None:
        """The same for a compiled loop to read where it lies; None where only :meth:`gradient` has it."""
        ...

    def allocate(self, n: int, dtype: np.dtype) -> Array:
        """Zeroed memory for this process's part of optimizer state, that the others can read."""
        ...


class FlatStorage:
    """One pair of buffers.

    Attributes:
        params: the parameters, in order.
        data, grad: raw one-dimensional arrays of one dtype on one device.
        ranges: for each parameter its (first, behind last) element in both.
        views: for each parameter the array that ``p._data`` is as long as it lives here.
        owned: the (first, behind last) element that this process updates and holds optimizer state for; all of them,
            unless processes share the update out.  The pair is replaced, never changed.
        assemble: makes a sharing process's view of optimizer state whole: given this process's part of an array, it
            returns the parts of all, in order of their ranges, in one array.  Collective; None where nobody shares.
        sharing: those that this process shares the update with; None where there are none.  An update then takes its
            gradients from there instead of :attr:`grad`, which holds this process's own.
        settled: where gradients that are shared lie once somebody has asked for them: a buffer laid out as :attr:`grad`
            and each parameter's part of it.
    """

    __slots__ = (
        "__weakref__",
        "_leaves",
        "assemble",
        "data",
        "device",
        "dtype",
        "grad",
        "owned",
        "params",
        "ranges",
        "settled",
        "sharing",
        "slots",
        "views",
    )  # fmt: skip

    def __init__(self, params: Iterable[Tensor], make: Allocate) -> None:
        self.params = tuple(params)
        first = self.params[0]
        self.dtype: np.dtype = first._data.dtype
        self.device = first.device
        unit = max(_ALIGNMENT // self.dtype.itemsize, 1)
        self.ranges: list[tuple[int, int]] = []
        end = 0
        for p in self.params:
            lo = math.ceil(end / unit) * unit
            end = lo + p.numel()
            self.ranges.append((lo, end))
        self.data = make(end, self.dtype, self.device)
        self.grad = make(end, self.dtype, self.device)
        self.views: list[Array] = []
        self.slots: list[Array] = []
        self.owned: tuple[int, int] = (0, end)
        self.assemble: Callable[[Array], Array] | None = None
        self.sharing: Sharing | None = None
        self.settled: tuple[Array, list[Array]] | None = None
        self._leaves: list[Leaf | None] = [None] * len(self.params)  # who was given the slots
        with backend.where_it_lies(self.data):
            self._move_in()
        global changes
        changes += 1

    def _move_in(self) -> None:
        """Make every parameter, and the gradient it may have, a view of the buffers."""
        for i, (p, (lo, hi)) in enumerate(zip(self.params, self.ranges, strict=True)):
            view = self.data[lo:hi].reshape(p._data.shape)
            view[...] = p._data
            self.views.append(view)
            self.slots.append(self.grad[lo:hi].reshape(view.shape))
            p._data = view
            p.__dict__["_flat"] = (self, i)
            if type(p._node) is Leaf:
                self.grad_slot(i)
                if p._grad is not None and p._grad._node is None and not p._grad.is_sparse:
                    self.gather(i, i + 1)
                    p._grad = self.grad_slot(i)

    def grad_slot(self, i: int) -> Tensor:
        """The tensor over parameter ``i``'s part of :attr:`grad`; where its next gradient will be written."""
        leaf = self.params[i]._node
        if type(leaf) is not Leaf:  # frozen since
            return Tensor._wrap(self.slots[i], None)
        if leaf.slot is None or leaf.slot._data is not self.slots[i]:
            before, self._leaves[i] = self._leaves[i], leaf
            leaf.slot = None
            if before is not None and before is not leaf:  # frozen and thawed: somebody may have kept a gradient
                leaf.slot, before.slot = before.slot, None
            if leaf.slot is None or leaf.slot._data is not self.slots[i]:
                leaf.slot = Tensor._wrap(self.slots[i], None)
        return leaf.slot

    def share(self, sharing: Sharing, owned: tuple[int, int], assemble: Callable[[Array], Array]) -> None:
        """Have this process update ``owned`` only, in common with the others of ``sharing``."""
        global changes
        self.sharing, self.owned, self.assemble = sharing, owned, assemble
        changes += 1

    def buffer_of(self, i: int, gradient: Array) -> Array | None:
        """The flat buffer of which ``gradient`` is parameter ``i``'s part, if it is."""
        if gradient is self.slots[i]:
            return self.grad
        if self.settled is not None and gradient is self.settled[1][i]:
            return self.settled[0]
        return None

    def holds(self, i: int) -> bool:
        """Whether parameter ``i`` still lives in :attr:`data`."""
        return self.params[i]._data is self.views[i]

    def gather(self, lo: int, hi: int) -> None:
        """Bring the gradients of parameters ``lo`` to ``hi - 1`` into :attr:`grad`.

        One that lies elsewhere is copied, a missing one is zeros.  Who kept a gradient of an earlier step, which lies
        where these are written, keeps its values.
        """
        with backend.where_it_lies(self.grad):
            for i in range(lo, hi):
                p, slot = self.params[i], self.slots[i]
                grad = p._grad
                if grad is not None and grad._data is slot:
                    continue
                leaf = self._leaves[i]  # of a frozen parameter, the one it had
                lost = leaf is not p._node or (leaf is not None and leaf.slot is None)
                if lost and type(p._node) is Leaf and self.holds(i):
                    self.grad_slot(i)
                    leaf = self._leaves[i]
                if leaf is not None and leaf.slot is not None and leaf.slot._data is slot:
                    unshared(leaf)
                if grad is not None and grad.is_sparse:
                    slot[...] = 0
                    grad._data.add_to(slot)
                else:
                    slot[...] = 0 if grad is None else grad._data


changes = 0
"""How often a storage was made or shared: who keeps what follows from them looks whether it has moved on."""


def home(p: Tensor) -> FlatStorage | None:
    """The storage that ``p`` lives in, if it still does."""
    flat = p.__dict__.get("_flat")
    if flat is None:
        return None
    storage, i = flat
    return storage if storage.params[i] is p and storage.holds(i) else None


def flatten(params: Iterable[Tensor], make: Allocate | None = None) -> list[FlatStorage]:
    """The storages in which ``params`` live, in order of first use; those that live in none are put into new ones.

    Args:
        params: leaf tensors; one given twice counts once.  New ones of a device and dtype share one storage, in this
            order.
        make: makes the buffers; default the process's own memory.
    """
    unique = list({id(p): p for p in params}.values())
    loose: dict[tuple[str, np.dtype], list[Tensor]] = {}
    for p in unique:
        if not p.is_leaf:
            raise ValueError("can't put a non-leaf Tensor into flat storage; parameters are leaves")
        if home(p) is None:
            loose.setdefault((str(p.device), p._data.dtype), []).append(p)
    for several in loose.values():
        FlatStorage(several, make or allocate)
    found = {id(s): s for s in (home(p) for p in unique) if s is not None}
    return list(found.values())
