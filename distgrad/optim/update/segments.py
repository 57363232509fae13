"""The update engine: an optimizer's mathematics, called on blocks of flat storage.

A :class:`Segment` is a run of one group's neighbouring parameters in one storage, with its state in buffers of the same
layout.  As long as nothing was moved, has no gradient, or is out of step, a step is one pass over precomputed blocks;
anything else is found out parameter by parameter (:meth:`Segment.pieces`) and updated piece by piece.  Blocks are small
enough that all that one call touches stays in the second-level cache, so the plain temporaries of an author's text cost
little.  Elementwise mathematics gives the same bits under any block size, layout and share of the work.

Where processes share out the update (:attr:`FlatStorage.owned <distgrad.storage.FlatStorage.owned>`), a segment updates
and holds state only for its part of the range: for elementwise mathematics that may cut through a parameter, otherwise
it is the parameters that begin in the range.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ... import backend, dtypes
from ...autograd import Tensor
from ...autograd.graph import Cell
from ...backend.protocol import Array, ArrayModule
from ...jit import usable
from ...storage import FlatStorage, home
from .layout import Layout
from .pieces import Block, Piece, Pieces, Rule, _real

__all__ = ["Segment", "Start", "segments_of"]



Start = Callable[[ArrayModule, Array], Array]  # (array module, parameter) -> what its state begins with
NONE_MADE: Mapping[str, Start] = {}


class Segment(Pieces):
    """Parameters ``first`` to ``last - 1`` of ``storage``, updated together.

    Attributes:
        lo, hi: the elements of the storage that this process updates here.
        state: for each state name ever used a flat array for these elements.
        layouts: for state of other shapes than the parameters' how it lies in its array.
        asked: where processes share the state, what users have asked for: all of it, in an array of their own.
        names: those among them that an update is given.
        steps: how many updates each parameter has had, seen by users through ``state["step"]``.
        numbers: for each name of the rule's numbers, one number a parameter; users see them too.
        together: that number of updates while all parameters have the same, and the same numbers; else None.
        begun: for each parameter, whether it has state.
        fresh: how many have none.
    """

    __slots__ = (  # more attributes than Python finds fast in a dict
        "__dict__", "__weakref__", "_divide", "_gapless", "_gradients", "_seen", "_spare", "_whole", "asked", "begun",
        "cell", "compiled", "data", "first", "fresh", "half", "hi", "last", "layouts", "lo", "names", "numbers",
        "offset", "on_host", "owned", "params", "plain", "ranges", "rule", "scratch", "sharing", "state", "steps",
        "storage", "together", "views", "xp",
    )  # fmt: skip

    def __init__(self, storage: FlatStorage, first: int, last: int, rule: Rule) -> None:
        self.storage, self.first, self.last, self.rule = storage, first, last, rule
        self.params = storage.params[first:last]
        self.views = storage.views[first:last]
        self.data, self.offset = storage.data, 0  # where the parameters lie; of the storage, what it begins with
        if first in storage.apart:
            if storage.lies_flat(first):
                self.data, self.offset = self.views[0].reshape(-1), storage.ranges[first][0]
            else:  # no parameter lies where its view does: it is brought there to be updated
                lo, hi = storage.ranges[first]
                self.views = [storage.data[lo:hi].reshape(self.views[0].shape)]
        storage.users.add(self)
        self.ranges = storage.ranges[first:last]
        self.owned, self.sharing = storage.owned, storage.sharing
        self.lo, self.hi = self._span()
        self.xp = backend.module_for(storage.device)
        self.half = storage.dtype.itemsize == 2  # computed in float32, as PyTorch's kernels do
        least = rule.one_pass if self.sharing is None else min(rule.one_pass, 1)  # where it also saves making a sum
        self.compiled = 0 < least <= self.hi - self.lo and usable(_real(storage.data))
        self.on_host = storage.device.type == "cpu"
        one_pass = self.compiled or (rule.elementwise and not self.on_host)  # then blocks cost calls and save nothing
        self.scratch = 0 if one_pass else rule.scratch
        self.plain = self.on_host and not self.half
        n = last - first
        number = np.float64 if dtypes.get_default_dtype() is dtypes.float64 else np.float32
        self.steps: np.ndarray = np.zeros(n, number)
        self.numbers = {name: np.zeros(n, np.float64 if rule.exact else number) for name in rule.numbers}
        self.together: int | None = 0
        self.begun = [False] * n
        self.fresh = n
        self.state: dict[str, Array] = {}
        self.layouts: dict[str, Layout] = {}
        self.asked: dict[str, Array] = {}
        self.names: tuple[str, ...] = ()
        self.cell = Cell()  # the version of steps and numbers, which users may write to
        self._seen = 0
        self._divide = False
        self._whole: list[Piece] | None = None
        self._gapless: tuple[list[Piece] | None, list[Block]] | None = None  # of that piece, if it was asked for
        self._gradients: Array = None  # the buffer that it was cut from
        self._spare: list[Array] = []

    def _span(self) -> tuple[int, int]:
        low, high = self.owned
        if self.rule.elementwise:
            lo = max(self.ranges[0][0], low)
            return lo, max(min(self.ranges[-1][1], high), lo)
        mine = [k for k, (first, _) in enumerate(self.ranges) if low <= first < high]
        if not mine:
            return low, low
        behind = mine[-1] + 1  # the gap before another process's first belongs to the part: parts lie side by side
        return self.ranges[mine[0]][0], self.ranges[behind][0] if behind < len(self.ranges) else self.ranges[-1][1]

    def part(self, k: int) -> tuple[int, int]:
        """The elements of the storage that are parameter ``k``'s and this process's."""
        lo, hi = self.ranges[k]
        return min(max(lo, self.lo), self.hi), max(min(hi, self.hi), self.lo)

    @property
    def partial(self) -> bool:
        """Whether other processes hold some of the state."""
        return (self.lo, self.hi) != (self.ranges[0][0], self.ranges[-1][1])

    @functools.cached_property
    def mark(self) -> int:
        """A number for the parameters whose update is shared, wherever runs of them begin and end: it adds up."""
        if self.sharing is None:
            return 0
        kind = self.storage.dtype.str
        return sum(zlib.crc32(f"{kind}{i}".encode()) for i in range(self.first, self.last))

    def use(self, names: tuple[str, ...], divide: bool, made: Mapping[str, Start] = NONE_MADE) -> None:
        """Give updates the state ``names``; ``divide``: in blocks even where one would do.

        Args:
            made: for those that begin with an array of their own the function that makes it.
        """
        if names == self.names and divide == self._divide:
            return
        with backend.on(self.storage.device):
            for name in names:
                if name not in self.state:
                    n = self._lay_out(name, made[name]) if name in made else self.hi - self.lo
                    zeros = self.xp.zeros if self.sharing is None else self.sharing.allocate
                    self.state[name] = zeros(n, self.storage.dtype)
        self.names, self._divide, self._whole = names, divide, None

    def _lay_out(self, name: str, make: Start) -> int:
        """Find room for state that is made by a function: its shapes are its own; how many elements are kept here."""
        if self.rule.elementwise:
            return self.hi - self.lo
        shapes = [_shape(make(self.xp, p._data) if p._data.size else p._data) for p in self.params]
        if shapes == [tuple(view.shape) for view in self.views]:
            return self.hi - self.lo
        self.layouts[name] = layout = Layout(shapes, [self.owned[0] <= lo < self.owned[1] for lo, _ in self.ranges])
        return layout.hi - layout.lo

    def spot(self, k: int, name: str) -> tuple[slice, slice, tuple[int, ...]]:
        """Where parameter ``k``'s state ``name`` is: in the buffer, in all of it, and the shape of that."""
        if name in self.layouts:
            return self.layouts[name].spot(k)
        a, b = self.part(k)
        first = self.ranges[k][0]
        return slice(a - self.lo, b - self.lo), slice(a - first, b - first), tuple(self.views[k].shape)

    def state_of(self, k: int, name: str) -> Array:
        """Parameter ``k``'s part of a state buffer: in its shape, or flat where only some of it is here."""
        here, _, shape = self.spot(k, name)
        found = self.state[name][here]
        return found.reshape(shape) if found.size == math.prod(shape) else found

    def start(self, k: int, make: Start) -> Array:
        """What parameter ``k``'s state, or this process's part of it, begins with, by the function that makes it."""
        data = self.params[k]._data
        if data is self.views[k] and self.sharing is not None:  # as all processes see it
            (lo, hi), shape = self.ranges[k], data.shape
            data = self.data[lo - self.offset : hi - self.offset].reshape(shape)
        if self.rule.elementwise:
            a, b = self.part(k)
            first = self.ranges[k][0]
            data = data.reshape(-1)[a - first : b - first]
        return make(self.xp, data)

    # --- state for users where processes share it --------------------------------------------------------------------

    def whole_state(self, name: str) -> Array | None:
        """All processes' parts of a state buffer, a user's writes to it included; None if the others have none."""
        found = self.asked.get(name)
        return self.storage.assemble(self.state[name]) if found is None else found

    def whole_of(self, k: int, name: str, whole: Array) -> Array:
        """Parameter ``k``'s state in what :meth:`whole_state` gave."""
        if name in self.layouts:
            layout = self.layouts[name]
            (lo, hi), shape, start = layout.ranges[k], layout.shapes[k], 0
        else:
            (lo, hi), shape, start = self.ranges[k], tuple(self.views[k].shape), self.ranges[0][0]
        return whole[lo - start : hi - start].reshape(shape)

    def ask(self, k: int, name: str) -> Array:
        """Parameter ``k``'s state in its shape, for a user: the next step takes over what is written to it."""
        if name not in self.asked:
            whole = self.whole_state(name)
            if whole is None:
                raise RuntimeError(f"the other ranks have no optimizer state {name!r}, of which this one has its part")
            self.asked[name] = whole
        return self.whole_of(k, name, self.asked[name])

    def give_back(self) -> None:
        """Take over what users wrote to state; processes have come to a step, none of them reads any more."""
        for name, whole in self.asked.items():
            lo = self.layouts[name].lo if name in self.layouts else self.lo - self.ranges[0][0]
            part = self.state[name]
            part[...] = whole[lo : lo + len(part)]

    def content(self) -> int:
        """A number for the state kept here: the same where that has the same bits; 0 for a part of a state."""
        if self.partial:
            return 0
        self.sync()
        rows = [self.steps, *self.numbers.values(), *[self.state[name] for name in sorted(self.state)]]
        with backend.where_it_lies(self.data):
            return sum(zlib.crc32(backend.to_host(row).tobytes(), k) for k, row in enumerate(rows))

    # --- steps and numbers ------------------------------------------------------------------------------------------

    def reread(self) -> None:
        """Find out anew what :attr:`steps` and :attr:`numbers` have in common."""
        self._seen = self.cell.version
        rows = [self.steps, *self.numbers.values()]
        agree = all(bool((row == row[0]).all()) for row in rows)
        self.together = int(self.steps[0]) if agree else None

    def sync(self) -> None:
        """Write into :attr:`steps` what :attr:`together` says."""
        if self.together is not None:
            self.steps[...] = self.together

    def step_of(self, k: int) -> int:
        """How many updates parameter ``k`` has had, the one under way included."""
        return int(self.steps[k]) if self.together is None else self.together

    def forget(self, k: int) -> None:
        """Parameter ``k`` has no state (any more)."""
        if self.begun[k]:
            self.begun[k] = False
            self.fresh += 1
        self.steps[k] = 0
        for row in self.numbers.values():
            row[k] = 0

    def whole(self, params: Sequence[Tensor]) -> bool:
        """Whether ``params`` are the parameters, all where they were put, with the gradient in the slot, in step."""
        if self.cell.version != self._seen:
            self.reread()
        if self.together is None or self.owned is not self.storage.owned:
            return False
        for p, view in zip(params, self.views):  # noqa: B905 - of one length; strict costs time here
            leaf = p._node
            if p._data is not view or leaf is None or p._grad is not leaf.slot or p._grad is None:  # type: ignore[union-attr]
                return False
        return True

    def touch(self) -> None:
        """Note a write to each parameter."""
        for p in self.params:
            cell = p._vc
            if cell is None:
                cell = p._vc = Cell()
            cell.version += 1

    def count(self, shown: bool) -> None:
        """One more step for all.  ``shown``: users can see :attr:`steps`."""
        self.together += 1  # type: ignore[operator]
        if shown:
            self.steps[...] = self.together

    def left(self) -> bool:
        """Whether a parameter lives in another storage now."""
        return any(home(p) not in (None, self.storage) for p in self.params)

    def moved(self) -> bool:
        """Whether a parameter has other memory of another device, dtype or shape, or the work is shared otherwise."""
        for p, view in zip(self.params, self.views, strict=True):
            data = p._data
            if data is not view and (
                data.shape != view.shape or data.dtype != view.dtype or type(data) is not type(view)
            ):
                return True
        return self.owned is not self.storage.owned

    # --- blocks -----------------------------------------------------------------------------------------------------

def _shape(x: Any) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))





def segments_of(params: Sequence[Tensor], storages: Sequence[FlatStorage], rule: Rule) -> list[Segment]:
    """The runs of neighbours that ``params`` make in their storages; one that stays apart is a run of its own."""
    wanted = {id(p) for p in params}
    found = []
    for storage in storages:
        first = None
        for i in range(len(storage.params) + 1):
            inside = i < len(storage.params) and id(storage.params[i]) in wanted and storage.holds(i)
            if first is not None and (not inside or i in storage.apart or first in storage.apart):
                found.append(Segment(storage, first, i, rule))
                first = None
            if inside and first is None:
                first = i
    return found
