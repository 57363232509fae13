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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import backend, dtypes
from ...autograd import Tensor
from ...autograd.graph import Cell
from ...backend import Array, ArrayModule
from ...jit import Mean, usable
from ...storage import FlatStorage, Sharing, home
from .layout import Layout

__all__ = ["BLOCK_BYTES", "Block", "Later", "Piece", "Rule", "SUM_BYTES", "Segment", "Start", "segments_of"]

BLOCK_BYTES = 192 * 1024
SUM_BYTES = 512 * 1024  # where one array alone, a shared gradient being summed up, has to stay in the cache

Block = tuple[Any, ...]  # (p, g, *state, *scratch)
Piece = tuple[int, int, list[Block]]  # (first, behind last parameter of the segment, blocks)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the engine asks of an optimizer's class; see its attributes of these names."""

    elementwise: bool
    scratch: int = 0
    one_pass: int = 0
    numbers: tuple[str, ...] = ()
    exact: bool = True


Start = Callable[[ArrayModule, Array], Array]  # (array module, parameter) -> what its state begins with
NONE_MADE: Mapping[str, Start] = {}


class Segment:
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
        return self.storage.assemble(self.state[name]) if found is None else found  # type: ignore[misc]

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

    def _cut(self, p: Array, g: Array, state: Sequence[Array]) -> list[Block]:
        """One-dimensional arrays cut into blocks, with scratch behind."""
        if p.dtype.kind == "c":  # as pairs of real numbers, as in PyTorch
            p, g, state = _real(p), _real(g), [_real(s) for s in state]
        n = len(p)
        size = BLOCK_BYTES // p.itemsize
        if (self.compiled and not self._divide) or not self.on_host:
            size = n
        size = max(size, 1)
        spare = self._scratch(min(size, n))
        return [
            (
                p[a : a + size],
                g[a : a + size],
                *[s[a : a + size] for s in state],
                *[t[: min(size, n - a)] for t in spare],
            )
            for a in range(0, n, size)
        ]

    def _scratch(self, n: int) -> list[Array]:
        if self.scratch and (not self._spare or len(self._spare[0]) < n):
            kind = self.storage.dtype
            if self.half:
                kind = np.dtype(np.float32)
            elif kind.kind == "c" and self.rule.elementwise:
                kind = np.zeros(0, kind).real.dtype
            with backend.on(self.storage.device):
                self._spare = [self.xp.empty(n, kind) for _ in range(self.scratch)]
        return self._spare

    def whole_piece(self) -> list[Piece]:
        """The whole segment in one piece, its blocks made once."""
        if self._whole is None or self._gradients is not self.storage.grad:
            self._gradients = self.storage.grad
            self._whole = [(0, len(self.params), self._cut(*self._flat(self.lo, self.hi, self.data, self.offset)))]
        return self._whole

    def without_gaps(self, first: int, end: int, blocks: list[Block]) -> list[Block]:
        """The blocks of a piece to make sums over: parameter by parameter, without what lies between them."""
        if end - first == 1 or not self.rule.elementwise:
            return blocks
        if (first, end) != (0, len(self.params)):
            return self._apiece(first, end)
        if self._gapless is None or self._gapless[0] is not self._whole:
            self._gapless = self._whole, self._apiece(first, end)
        return self._gapless[1]

    def _apiece(self, first: int, end: int) -> list[Block]:
        found: list[Block] = []
        for k in range(first, end):
            found += self._cut(*self._flat(*self.part(k), self.data, self.offset))
        return found

    def pieces(self, counted: bool, later: list[tuple[Array, Array]] | None = None) -> Iterator[Piece]:
        """What has a gradient, in pieces of neighbours that are in step, each of which is counted.

        A parameter whose memory was replaced (same shape, dtype and device) is updated where it lies now.

        Args:
            later: a list for the parameters that a copy was made of, each with it, if the pieces are not updated one
                by one as they come.
        """
        self.sync()
        self.together = None
        params, views = self.params, self.views
        # before this step, all that neighbours must agree in
        stand = list(zip(self.steps.tolist(), *[row.tolist() for row in self.numbers.values()], strict=True))
        k, n = 0, len(params)
        while k < n:
            if params[k]._grad is None:
                k += 1
                continue
            end = k + 1
            if params[k]._data is views[k] and self.rule.elementwise:
                while (
                    end < n
                    and params[end]._grad is not None
                    and params[end]._data is views[end]
                    and stand[end] == stand[k]
                ):
                    end += 1
            for p in self.params[k:end]:
                p._bump()
            if self.sharing is None:
                self.storage.gather(self.first + k, self.first + end)
            if counted:
                self.steps[k:end] += 1
            copied = None
            if not self.rule.elementwise:
                blocks = self._single(k)
            elif self.params[k]._data is self.views[k]:
                blocks = self._cut(*self._flat(self.part(k)[0], self.part(end - 1)[1], self.data, self.offset))
            else:
                data = self.params[k]._data
                with backend.where_it_lies(data):
                    copied = data.reshape(-1)  # a copy if it is not contiguous
                blocks = self._cut(*self._flat(*self.part(k), copied, self.ranges[k][0]))
            yield k, end, blocks
            if copied is not None and not data.flags.c_contiguous:
                if later is None:
                    with backend.where_it_lies(data):
                        data[...] = copied.reshape(data.shape)
                else:
                    later.append((data, copied))
            k = end
        self.reread()

    def _flat(self, a: int, b: int, data: Array, offset: int = 0) -> tuple[Array, Array, list[Array]]:
        """Elements ``a`` to ``b - 1``: of ``data``, which begins at ``offset``, of the gradients, and of the state."""
        state = [self.state[name][a - self.lo : b - self.lo] for name in self.names]
        grad = self.storage.grad[a:b] if self.sharing is None else Later(self.sharing, a, (b - a,))
        return data[a - offset : b - offset], grad, state

    def _single(self, k: int) -> list[Block]:
        """One parameter's arrays in its shape, for an optimizer of whole tensors; nothing if it is not ours."""
        lo, hi = self.ranges[k]
        if lo == hi or not self.owned[0] <= lo < self.owned[1]:
            return []
        data, slot = self.params[k]._data, self.storage.slots[self.first + k]
        if self.sharing is not None:
            slot = Later(self.sharing, lo, data.shape)
            if self.first not in self.storage.apart:
                data = self.data[lo:hi].reshape(data.shape)
        states = [self.state_of(k, name) for name in self.names]
        return [(data, slot, *states, *[t[: data.size].reshape(data.shape) for t in self._scratch(data.size)])]


class Later:
    """Some of a gradient that processes share, added up when its block's turn comes: it is then still in the cache."""

    __slots__ = ("_first", "_shape", "_sharing")

    def __init__(self, sharing: Sharing, first: int, shape: tuple[int, ...]) -> None:
        self._sharing, self._first, self._shape = sharing, first, shape

    def __getitem__(self, part: slice) -> Later:
        lo, hi, _ = part.indices(self._shape[0])
        return Later(self._sharing, self._first + lo, (hi - lo,))

    def parts(self, size: int) -> list[slice]:
        """What to ask for at a time: about ``size`` elements, unless it is quicker to make more."""
        first, n = self._first, self._shape[0]
        return [slice(lo - first, hi - first) for lo, hi in self._sharing.ranges(first, first + n, size)]

    def now(self) -> Array:
        """The gradient; valid until the next is asked for."""
        return self._sharing.gradient(self._first, self._first + math.prod(self._shape)).reshape(self._shape)

    def operand(self) -> Array | Mean | None:
        """The gradient as a compiled loop can read it where it lies; None where it has to be made."""
        return self._sharing.operand(self._first, self._first + self._shape[0])


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))


def _real(x: Array) -> Array:
    """A one-dimensional complex array as the real one of twice its length over the same memory."""
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x


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
