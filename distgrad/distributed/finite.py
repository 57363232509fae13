"""Not-a-number contained: a step in which some rank's gradient is not finite is refused on all ranks alike (F8).

Each rank looks at its own gradients, so that the rank and the parameter can be named; what it finds travels with what
the ranks tell each other anyway (which parameters were used).  A sum of squares is the cheapest thing that a NaN or an
infinity anywhere in an array shows in: one BLAS call, at memory speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from distgrad import backend
from distgrad.backend import Array

__all__ = ["ABSENT", "FiniteCheck", "NONFINITE", "PRESENT", "all_finite"]

ABSENT, PRESENT, NONFINITE = 0, 1, 2  # what a rank tells of a parameter's gradient; the largest counts


def all_finite(array: Array) -> bool:
    """Whether no element of ``array`` (any shape, contiguous) is NaN or infinite."""
    if type(array) is np.ndarray and array.dtype.char in "fd":
        flat = array if array.ndim == 1 else array.reshape(-1)
        if math.isfinite(np.dot(flat, flat)):
            return True  # else large elements may have overflowed in the square
    return bool(backend.array_module(array).isfinite(array).all())


class FiniteCheck:
    """What to do about gradients that are not finite.

    Args:
        action: ``"raise"``, or ``"skip"``: all ranks forget this step's gradients, so that no optimizer moves.
        names: the parameters' names, in the order in which ranks tell of them.

    Attributes:
        skipped: how many steps were.
    """

    def __init__(self, action: str, names: Sequence[str]) -> None:
        self.action, self.names = action, list(names)
        self.skipped = 0

    def contain(self, rank: int, found: np.ndarray) -> None:
        """Count a skipped step, or raise RuntimeError that names rank and parameter; on all ranks alike.

        Args:
            rank: this one.
            found: what each rank told: (ranks, parameters).
        """
        if self.action == "skip":
            self.skipped += 1
            return
        ranks, positions = np.nonzero(found == NONFINITE)
        first = int(ranks[0])
        names = [self.names[i] for i in positions[ranks == first]]
        others = sorted({int(r) for r in ranks} - {first})
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        also = f"; some are not finite on rank(s) {', '.join(map(str, others))} either" if others else ""
        raise RuntimeError(
            f"rank {rank}: on rank {first} the gradient of parameter '{names[0]}'{more} is not finite{also}. "
            "No rank has updated anything; check_finite='skip' goes on without this step, None lets it through"
        )
