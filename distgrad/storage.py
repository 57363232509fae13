"""Flat storage: parameters of one device and dtype in one contiguous buffer, their gradients in another.

``p.data`` and ``p.grad`` are views of the two, and the engine writes a parameter's first gradient straight into its
view.  So an all-reduce bucket is a slice, an update is a loop over blocks, and a shard is a range.  Parameters start on
64-byte boundaries; the gaps between them are zero in both buffers and stay so under any elementwise update.

A user may at any time give a parameter other memory (``p.data = …``, ``.to()``), another gradient (``p.grad = …``) or
none.  Nothing here forbids it: :meth:`FlatStorage.holds` tells, and whoever works on the buffers asks first.

Memory that somebody else sees as well (an array that ``from_numpy`` was given, a parameter tied by ``.data``, a view
taken before) is never left (:func:`seen_elsewhere`): such a parameter stays *apart*, where it lies, and only its
gradients come here, so that storages are laid out alike on all ranks.  Likewise gradients that somebody still reads
stay, and the next ones get another buffer.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from . import aliases, backend
from .autograd import Tensor
from .autograd.gradient_slots import held, inherited, place, settle, slot_over, unshared
from .autograd.graph import Leaf
from .backend.protocol import Array

if TYPE_CHECKING:
    from .jit import Mean

__all__ = ["Allocate", "FlatStorage", "Sharing", "allocate", "changes", "flatten", "home", "place", "seen_elsewhere"]

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
    """How processes share out the update of a storage; see :attr:`FlatStorage.sharing`.

    Attributes:
        readable: any process may read all of the optimizer state, alone; in a step only what is its own.
    """

    readable: bool

    def begin(self) -> None:
        """An optimizer is about to update; gradients are complete.  Collective."""

    def end(self, digest: int, how: Callable[[], str]) -> None:
        """It has: make the new values everybody's.  Collective.

        Args:
            digest: of optimizer, hyperparameters and the parameters that they are for; below 2⁶³.
            how: tells them, for an error.
        """

    def total(self, values: list[float]) -> list[float]:
        """The sums over the processes, each of which gives its part, with the same bits on all.  Collective, in a step.

        The numbers of other optimizers may be more or fewer.
        """
        ...

    def release(self) -> None:
        """Gradients may have been forgotten."""

    def follow(self) -> None:
        """The whole state is wanted: if others of those no longer share, nor does this process."""

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


class _User(Protocol):
    """A segment of an optimizer."""

    first: int
    last: int

    def content(self) -> int:
        """A number for the state that it keeps: the same where that has the same bits."""
        ...

    def __hash__(self) -> int: ...


class FlatStorage:
    """One pair of buffers.

    Attributes:
        params: the parameters, in order.
        data, grad: raw one-dimensional arrays of one dtype on one device.
        ranges: for each parameter its (first, behind last) element in both.
        views: for each parameter the array that ``p._data`` is as long as it lives here.
        apart: the numbers of the parameters that stay where they lie; their part of :attr:`data` is room to compute in.
        common: other processes read :attr:`grad`.
        users: the segments of optimizers, which refer to :attr:`views`.
        owned: the (first, behind last) element that this process updates and holds optimizer state for; all of them,
            unless processes share the update out.  The pair is replaced, never changed.
        assemble: makes a sharing process's view of optimizer state whole: given this process's part of an array, it
            returns the parts of all, in order of their ranges, in one array, or None if the others have none.
            Collective; None where nobody shares.
        sharing: those that this process shares the update with; None where there are none.  An update then takes its
            gradients from there instead of :attr:`grad`, which holds this process's own.
        settled: where gradients that are shared lie once somebody has asked for them: a buffer laid out as :attr:`grad`
            and each parameter's part of it.
    """

    __slots__ = (
        "__weakref__",
        "_leaves",
        "apart",
        "assemble",
        "common",
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
        "users",
        "views",
    )  # fmt: skip

    def __init__(self, params: Iterable[Tensor], make: Allocate, apart: Iterable[int] = ()) -> None:
        self.params = tuple(params)
        self.apart = frozenset(apart)
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
        self.common = False
        self.data = make(end, self.dtype, self.device)
        self.grad = make(end, self.dtype, self.device)
        self.users: weakref.WeakSet[_User] = weakref.WeakSet()
        self.views: list[Array] = []
        self.slots: list[Array] = []
        self.owned: tuple[int, int] = (0, end)
        self.assemble: Callable[[Array], Array | None] | None = None
        self.sharing: Sharing | None = None
        self.settled: tuple[Array, list[Array]] | None = None
        self._leaves: list[Leaf | None] = [None] * len(self.params)  # who was given the slots
        with backend.where_it_lies(self.data):
            self._move_in()
        global changes
        changes += 1

    def _move_in(self) -> None:
        """Make every parameter a view of the buffers, and the gradient it may have unless somebody else has it too."""
        for i, (p, (lo, _)) in enumerate(zip(self.params, self.ranges, strict=True)):
            shape = p._data.shape
            if i not in self.apart:
                view = backend.carve(self.data, lo, shape)
                view[...] = p._data
                p._data = view
            self.views.append(p._data)
            self.slots.append(backend.carve(self.grad, lo, shape))
            settle(p, self, i)
            if type(p._node) is Leaf:
                self.grad_slot(i)
                grad = p._grad
                if grad is not None and grad._node is None and not grad.is_sparse and not held(p, here=1):
                    self.slots[i][...] = grad._data
                    p._grad = self.grad_slot(i)

    def lies_flat(self, i: int) -> bool:
        """Whether the elements of parameter ``i`` lie side by side."""
        return i not in self.apart or bool(self.views[i].flags.c_contiguous)

    def exchange(self, send: Callable[[], None]) -> None:
        """``send()``, which makes :attr:`data` the same on all ranks, for parameters that stay apart as well."""
        spots = [(self.data[lo:hi], self.views[i]) for i, (lo, hi) in enumerate(self.ranges) if i in self.apart]
        with backend.where_it_lies(self.data):
            for room, there in spots:
                room[...] = there.reshape(-1)
            send()
            for room, there in spots:
                there[...] = room.reshape(there.shape)

    def referring(self, i: int) -> int:
        """How many arrays' users of this storage refer to ``views[i]``, the parameter itself not counted."""
        return 1 + sum(user.first <= i < user.last for user in self.users)

    def renew_gradients(self) -> bool:
        """Lay the next gradients into another buffer: somebody still reads what lies in this one, or did not copy it.

        Gradients that parameters have now stay where they are; :meth:`gather` will fetch them.  False where processes
        share the buffer, which cannot be exchanged.
        """
        if self.common:
            return False
        self.grad = allocate(self.grad.size, self.dtype, self.device)
        self.slots[:] = [
            backend.carve(self.grad, lo, slot.shape) for (lo, _), slot in zip(self.ranges, self.slots, strict=True)
        ]
        for i, leaf in enumerate(self._leaves):
            if leaf is not None and leaf.slot is not None:
                slot_over(leaf, self.slots[i])
        return True

    def grad_slot(self, i: int) -> Tensor:
        """The tensor over parameter ``i``'s part of :attr:`grad`; where its next gradient will be written."""
        leaf = self.params[i]._node
        if type(leaf) is not Leaf:  # frozen since
            return Tensor._wrap(self.slots[i], None)
        if leaf.slot is None or leaf.slot._data is not self.slots[i]:
            before, self._leaves[i] = self._leaves[i], leaf
            inherited(leaf, self.slots[i], before)
        return leaf.slot  # type: ignore[return-value]

    def share(self, sharing: Sharing, owned: tuple[int, int], assemble: Callable[[Array], Array | None]) -> None:
        """Have this process update ``owned`` only, in common with the others of ``sharing``."""
        global changes
        self.sharing, self.owned, self.assemble = sharing, owned, assemble
        changes += 1

    def take_in(self) -> None:
        """Of parameters that were given other memory (``p.data = …``), move the values in, where processes share.

        Raises:
            RuntimeError: somebody else sees that memory too, and would be cut off; nothing has moved then.
        """
        moved = [i for i, p in enumerate(self.params) if p._data is not self.views[i] and self._fits(i)]
        seen = seen_elsewhere([self.params[i] for i in moved])
        if any(seen):
            i = moved[seen.index(True)]
            raise RuntimeError(
                f"parameter number {i}, of shape {list(self.views[i].shape)}, was given memory (p.data = …) that "
                "something else refers to as well; processes that share its update cannot keep both together. Write "
                "into the parameter instead: p.data.copy_(…)"
            )
        for i in moved:
            self.views[i][...] = self.params[i]._data
            self.params[i]._data = self.views[i]

    def _fits(self, i: int) -> bool:
        data, view = self.params[i]._data, self.views[i]
        return data.shape == view.shape and data.dtype == view.dtype and type(data) is type(view)

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
        strays = [i for i in range(lo, hi) if self._lies_elsewhere(i)]
        for i in strays:  # which may exchange the buffer, and make strays of them all
            self._make_ready(i)
        with backend.where_it_lies(self.grad):
            for i in range(lo, hi) if strays else ():
                grad, slot = self.params[i]._grad, self.slots[i]
                if grad is None:
                    slot[...] = 0
                elif grad.is_sparse:
                    slot[...] = 0
                    grad._data.add_to(slot)
                elif grad._data is not slot:
                    slot[...] = grad._data

    def _lies_elsewhere(self, i: int) -> bool:
        grad = self.params[i]._grad
        return grad is None or grad._data is not self.slots[i]

    def _make_ready(self, i: int) -> None:
        """Nobody shall lose a gradient that is written over in the slot of parameter ``i``."""
        p, leaf = self.params[i], self._leaves[i]  # of a frozen parameter, the one it had
        lost = leaf is not p._node or (leaf is not None and leaf.slot is None)
        if lost and type(p._node) is Leaf and self.holds(i):
            self.grad_slot(i)
            leaf = self._leaves[i]
        if leaf is not None and leaf.slot is not None and leaf.slot._data is self.slots[i]:
            unshared(leaf)


changes = 0
"""How often a storage was made or shared: who keeps what follows from them looks whether it has moved on.

Written here alone; read as ``storage.changes``, for a function would cost every step a call.
"""


def home(p: Tensor) -> FlatStorage | None:
    """The storage that ``p`` lives in, if it still does."""
    flat = place(p)
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
    loose: list[Tensor] = []
    for p in unique:
        if not p.is_leaf:
            raise ValueError("can't put a non-leaf Tensor into flat storage; parameters are leaves")
        if home(p) is None:
            loose.append(p)
    together: dict[tuple[str, np.dtype], list[Tensor]] = {}
    seen = {id(p) for p, elsewhere in zip(loose, seen_elsewhere(loose), strict=True) if elsewhere}
    for p in loose:
        together.setdefault((str(p.device), p._data.dtype), []).append(p)
    for several in together.values():
        FlatStorage(several, make or allocate, [i for i, p in enumerate(several) if id(p) in seen])
    found = {id(s): s for s in (home(p) for p in unique) if s is not None}
    return list(found.values())


def seen_elsewhere(params: Sequence[Tensor]) -> list[bool]:
    """:func:`distgrad.aliases.seen_elsewhere`; what storages and optimizers refer to is known."""
    return aliases.seen_elsewhere(params, _known)


def _known(p: Tensor) -> int | None:
    """How many refer to the array of ``p`` that are told when it moves; None where it lies in no storage."""
    flat, spot = home(p), place(p)
    return None if flat is None or spot is None else 1 + flat.referring(spot[1])
