"""A segment cut into pieces of neighbours that are in step, and these into blocks that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import backend
from ...backend.protocol import Array
from .deferred import DeferredGradient

__all__ = ["BLOCK_BYTES", "Block", "Piece", "Pieces", "Rule", "SUM_BYTES"]

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


class Pieces:
    """What :class:`Segment` inherits: its parameters, gradients and state as blocks for ``update()``."""

    __slots__ = ()
    storage: Any
    sharing: Any
    rule: Rule
    state: Any
    names: Any
    steps: Any
    numbers: Any
    together: Any
    params: Any
    ranges: Any
    data: Any
    offset: int
    lo: int
    owned: Any
    xp: Any
    scratch: int
    half: bool
    compiled: bool
    on_host: bool
    hi: int
    _spare: Any
    _whole: Any
    _gradients: Any
    _gapless: Any
    _divide: Any
    part: Callable[[int], tuple[int, int]]
    views: Any
    sync: Any
    reread: Any
    partial: Any
    begun: Any
    first: int
    state_of: Any

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
        grad = self.storage.grad[a:b] if self.sharing is None else DeferredGradient(self.sharing, a, (b - a,))
        return data[a - offset : b - offset], grad, state

    def _single(self, k: int) -> list[Block]:
        """One parameter's arrays in its shape, for an optimizer of whole tensors; nothing if it is not ours."""
        lo, hi = self.ranges[k]
        if lo == hi or not self.owned[0] <= lo < self.owned[1]:
            return []
        data, slot = self.params[k]._data, self.storage.slots[self.first + k]
        if self.sharing is not None:
            slot = DeferredGradient(self.sharing, lo, data.shape)
            if self.first not in self.storage.apart:
                data = self.data[lo:hi].reshape(data.shape)
        states = [self.state_of(k, name) for name in self.names]
        return [(data, slot, *states, *[t[: data.size].reshape(data.shape) for t in self._scratch(data.size)])]


def _real(x: Array) -> Array:
    """A one-dimensional complex array as the real one of twice its length over the same memory."""
    return x.view(x.real.dtype) if x.dtype.kind == "c" else x
