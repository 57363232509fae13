"""The update engine: an optimizer's mathematics, called on blocks of flat storage.

A :class:`Segment` is a run of one group's neighbouring parameters in one storage, with its state in buffers of the same
layout.  As long as nothing was moved, has no gradient, or is out of step, a step is one pass over precomputed blocks;
anything else is found out parameter by parameter (:meth:`Segment.pieces`) and updated piece by piece.  Blocks are small
enough that all that one call touches stays in the second-level cache, so the plain temporaries of an author's text cost
little.  Elementwise mathematics gives the same bits under any block size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor
from ..autograd.graph import Cell
from ..backend import Array
from ..storage import FlatStorage
from .compiled import usable

__all__ = ["BLOCK_BYTES", "Segment", "segments_of"]

BLOCK_BYTES = 192 * 1024


class Segment:
    """Parameters ``first`` to ``last - 1`` of ``storage``, updated together.

    Attributes:
        state: for each state name a flat array parallel to the storage's range of this segment.
        steps: how many updates each parameter has had: float32, one element each, seen by users through
            ``state["step"]``.
        undivided: whether one block holds it all: on a device, and where the update is compiled to one pass.
        together: that number while all have the same, else None.
    """

    def __init__(
        self, storage: FlatStorage, first: int, last: int, elementwise: bool, scratch: int, one_pass: bool = False
    ) -> None:
        self.storage, self.first, self.last = storage, first, last
        self.params = storage.params[first:last]
        self.views = storage.views[first:last]
        self.ranges = storage.ranges[first:last]
        self.lo, self.hi = self.ranges[0][0], self.ranges[-1][1]
        compiled = one_pass and usable(storage.data)  # then blocks would only cost calls, and nothing is computed aside
        self.elementwise, self.scratch = elementwise, 0 if compiled else scratch
        self.undivided = compiled or storage.device.type != "cpu"
        self.xp = backend.module_for(storage.device)
        self.state: dict[str, Array] = {}
        self.steps = np.zeros(last - first, np.float32)
        self.together: int | None = 0
        self.blocks: list[tuple[Any, ...]] | None = None
        self._spare: list[Array] = []

    def ensure_state(self, names: Sequence[str]) -> bool:
        """Zeroed buffers for ``names``, in this order; whether that changed anything."""
        if tuple(self.state) == tuple(names):
            return False
        with backend.on(self.storage.device):
            n = self.hi - self.lo
            self.state = {k: self.state[k] if k in self.state else self.xp.zeros(n, self.storage.dtype) for k in names}
        self.blocks = None
        return True

    def state_of(self, k: int, name: str) -> Array:
        """Parameter ``k``'s part of a state buffer, in its shape."""
        lo, hi = self.ranges[k]
        return self.state[name][lo - self.lo : hi - self.lo].reshape(self.views[k].shape)

    def whole(self) -> bool:
        """Whether every parameter is where it was put, with its gradient in its slot, in step."""
        if self.together is None:
            return False
        for p, view in zip(self.params, self.views):  # noqa: B905 - of one length; strict costs time here
            leaf = p._node
            if p._data is not view or leaf is None or p._grad is not leaf.slot or p._grad is None:  # type: ignore[union-attr]
                return False
        return True

    def count(self, shown: bool) -> int:
        """One more step for all, noted as a write to each; its number.  ``shown``: users can see :attr:`steps`."""
        for p in self.params:
            cell = p._vc
            if cell is None:
                cell = p._vc = Cell()
            cell.version += 1
        n = self.together = self.together + 1  # type: ignore[operator]
        if shown:
            self.steps[...] = n
        return n

    def moved(self) -> bool:
        """Whether a parameter has other memory of another device, dtype or shape."""
        for p, view in zip(self.params, self.views, strict=True):
            data = p._data
            if data is not view and (
                data.shape != view.shape or data.dtype != view.dtype or type(data) is not type(view)
            ):
                return True
        return False

    def _cut(self, p: Array, g: Array, state: Sequence[Array]) -> list[tuple[Any, ...]]:
        """One-dimensional arrays cut into blocks, with scratch behind."""
        n = len(p)
        size = n if self.undivided else max(BLOCK_BYTES // p.itemsize, 1)
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
            with backend.on(self.storage.device):
                self._spare = [self.xp.empty(n, self.storage.dtype) for _ in range(self.scratch)]
        return self._spare

    def all_blocks(self) -> list[tuple[Any, ...]]:
        """Blocks (p, g, *state, *scratch) of the whole segment, made once."""
        if self.blocks is None:
            lo, hi = self.lo, self.hi
            self.blocks = self._cut(self.storage.data[lo:hi], self.storage.grad[lo:hi], list(self.state.values()))
        return self.blocks

    def pieces(self) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
        """For what has a gradient: (number of this step, blocks), neighbours that are in step together.

        A parameter whose memory was replaced (same shape, dtype and device) is updated where it lies now.
        """
        if self.together is not None:
            self.steps[...] = self.together
        k, n = 0, len(self.params)
        while k < n:
            p = self.params[k]
            if p._grad is None:
                k += 1
                continue
            i = self.first + k
            p._bump()
            self.storage.gather(i, i + 1)
            self.steps[k] += 1
            step = int(self.steps[k])
            if p._data is not self.views[k] or not self.elementwise:
                yield step, [self._single(k)]
                self._written(k)
                k += 1
                continue
            end = k + 1
            while end < n and self._joins(end, step):
                end += 1
            a, b = self.ranges[k][0], self.ranges[end - 1][1]
            state = [s[a - self.lo : b - self.lo] for s in self.state.values()]
            yield step, self._cut(self.storage.data[a:b], self.storage.grad[a:b], state)
            k = end
        self.together = int(self.steps[0]) if bool((self.steps == self.steps[0]).all()) else None

    def _joins(self, k: int, step: int) -> bool:
        """Whether parameter ``k`` can be updated with the one before it; if so its gradient is brought in."""
        p = self.params[k]
        if p._grad is None or p._data is not self.views[k] or self.steps[k] + 1 != step:
            return False
        p._bump()
        self.storage.gather(self.first + k, self.first + k + 1)
        self.steps[k] += 1
        return True

    def _single(self, k: int) -> tuple[Any, ...]:
        """One parameter's arrays: in its shape for an optimizer of whole tensors, else flat."""
        data, slot = self.params[k]._data, self.storage.slots[self.first + k]
        self._copied = None
        if not data.flags.c_contiguous and self.elementwise:
            self._copied = data = data.copy()
        states = [self.state_of(k, name) for name in self.state]
        if self.elementwise:
            data, slot, states = data.reshape(-1), slot.reshape(-1), [s.reshape(-1) for s in states]
        return (data, slot, *states, *[t[: data.size].reshape(data.shape) for t in self._scratch(data.size)])

    def _written(self, k: int) -> None:
        if self._copied is not None:
            self.params[k]._data[...] = self._copied


def segments_of(
    params: Sequence[Tensor], storages: Sequence[FlatStorage], elementwise: bool, scratch: int, one_pass: bool = False
) -> list[Segment]:
    """The runs of neighbours that ``params`` make in their storages."""
    wanted = {id(p) for p in params}
    found = []
    for storage in storages:
        first = None
        for i in range(len(storage.params) + 1):
            inside = i < len(storage.params) and id(storage.params[i]) in wanted and storage.holds(i)
            if inside and first is None:
                first = i
            elif not inside and first is not None:
                found.append(Segment(storage, first, i, elementwise, scratch, one_pass))
                first = None
    return found
