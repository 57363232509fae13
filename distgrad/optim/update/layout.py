"""Where state of shapes of its own lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

__all__ = ["Layout"]


class Layout:
    """How state of other shapes than the parameters' lies in one flat array, parameter behind parameter.

    Args:
        shapes: for each parameter that of its state.
        mine: whether this process holds it; those that it does are neighbours.

    Attributes:
        ranges: for each parameter its (first, behind last) element in what all processes hold together.
        lo, hi: the elements that this process holds.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], mine: Sequence[bool]) -> None:
        self.shapes, self.mine = shapes, mine
        ends = [0, *itertools.accumulate(map(math.prod, shapes))]
        self.ranges = list(itertools.pairwise(ends))
        held = [r for r, here in zip(self.ranges, mine, strict=True) if here]
        self.lo, self.hi = (held[0][0], held[-1][1]) if held else (0, 0)

    def spot(self, k: int) -> tuple[slice, slice, tuple[int, ...]]:
        """See :meth:`Segment.spot`."""
        lo, hi = self.ranges[k]
        if not self.mine[k]:
            return slice(0, 0), slice(0, 0), self.shapes[k]
        return slice(lo - self.lo, hi - self.lo), slice(0, hi - lo), self.shapes[k]
