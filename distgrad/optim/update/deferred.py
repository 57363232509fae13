"""Values that are copied only when they are read."""

from __future__ import annotations

import math

from ...backend.protocol import Array
from ...jit import Mean
from ...storage import Sharing

__all__ = ["DeferredGradient"]


class DeferredGradient:
    """Some of a gradient that processes share, added up when its block's turn comes: it is then still in the cache."""

    __slots__ = ("_first", "_shape", "_sharing")

    def __init__(self, sharing: Sharing, first: int, shape: tuple[int, ...]) -> None:
        self._sharing, self._first, self._shape = sharing, first, shape

    def __getitem__(self, part: slice) -> DeferredGradient:
        lo, hi, _ = part.indices(self._shape[0])
        return DeferredGradient(self._sharing, self._first + lo, (hi - lo,))

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
