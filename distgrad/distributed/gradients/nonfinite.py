"""Not-a-number contained: a step in which a rank's gradient is not finite is refused on all (docs/reliability.md, F8).

Each rank looks at its own gradients, so that the rank and the parameter can be named; what it finds travels with what
the ranks tell each other anyway (which parameters were used).  It takes as long as reading them.  So a large gradient
is looked at when it has just been made and may still be in the cache; and not at all where it is a product of matrices,
which are small beside it and by their norms bound it.  The largest exponent tells, in one compiled pass; where loops
are not compiled, a sum of squares, which is one BLAS call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.autograd.graph import Leaf
from distgrad.backend.protocol import Array
from distgrad.jit import compiled
from distgrad.storage import FlatStorage

__all__ = ["ABSENT", "FiniteCheck", "FiniteSearch", "NONFINITE", "NonFiniteError", "PRESENT", "all_finite"]

ABSENT, PRESENT, NONFINITE = 0, 1, 2  # what a rank tells of a parameter's gradient; the largest counts

LARGE = 256 * 1024  # bytes: reading so much takes some microseconds, looking at it apart less than one
_EXPONENT = {"f": np.int32(0xFF << 23), "d": np.int64(0x7FF << 52)}  # all its bits are set in infinities and NaN


def all_finite(array: Array) -> bool:
    """Whether no element of ``array`` (any shape, contiguous) is NaN or infinite."""
    return _test(array)()


def _test(array: Array) -> Callable[[], bool]:
    """:func:`all_finite` of what ``array`` will hold when it is asked."""
    xp = backend.array_module(array)
    if xp is not np or array.dtype.char not in _EXPONENT:
        return lambda: bool(xp.isfinite(array).all())
    flat = array.reshape(-1)
    loop: Any = compiled(_largest_exponent, flat)
    if loop is None:  # large elements may overflow in the square
        return lambda: math.isfinite(flat.dot(flat)) or bool(np.isfinite(flat).all())
    exponent: Any = _EXPONENT[flat.dtype.char]
    bits, all_set = flat.view(exponent.dtype), int(exponent)
    return lambda: loop(bits, exponent) < all_set


def _largest_exponent(bits, exponent):  # type: ignore[no-untyped-def]
    """The largest of ``bits & exponent``: of floating-point numbers taken for integers."""
    largest = exponent & 0
    for i in range(bits.size):
        largest = max(largest, bits[i] & exponent)
    return largest


class FiniteSearch:
    """Looks for gradients of one storage that are not finite, in each backward pass anew.

    Args:
        storage: on the CPU or a device; of any floating-point dtype.

    Attributes:
        large: which parameters are to be looked at by :meth:`early`.
        limit: below which a bound shows that a gradient is finite.
    """

    def __init__(self, storage: FlatStorage) -> None:
        self._slots, self._params = storage.slots, storage.params
        self.limit = float(np.finfo(storage.dtype).max) / 2 if storage.dtype.char in _EXPONENT else 0.0
        self._found: dict[int, tuple[bool, int]] = {}  # of large ones this pass has made: finite, and their version
        self.large = [i for i, slot in enumerate(storage.slots) if slot.nbytes >= LARGE]
        edges = [0, *[edge for i in self.large for edge in storage.ranges[i]], len(storage.grad)]
        ends = zip(edges[::2], edges[1::2], strict=True)
        self._rest = [_test(storage.grad[lo:hi]) for lo, hi in ends if lo < hi]
        self._large = {i: _test(storage.slots[i]) for i in self.large}
        self._only = self._rest[0] if len(self._rest) == 1 and not self.large else None

    def early(self, i: int, p: Tensor) -> None:
        """Look at the gradient of the large parameter ``i``, ``p``, that a backward pass has just made."""
        bound = self.bound(p)
        grad = p._grad
        if grad is not None and grad._data is self._slots[i]:
            self._found[i] = bound < self.limit or self._large[i](), grad._version
        else:
            self._found.pop(i, None)

    def leave(self) -> None:
        """Ask no longer what bounds a gradient."""
        for i in self.large:
            leaf = self._params[i]._node
            if type(leaf) is Leaf:
                leaf.ask_no_bound()

    def bound(self, p: Tensor) -> float:
        """What no element of the gradient of ``p`` just made exceeds; to be asked for behind each, used or not."""
        leaf = p._node
        if type(leaf) is not Leaf:
            return math.inf
        return leaf.take_bound()

    def finish(self) -> bool:
        """At the end of the pass, with all gradients in their slots, whether all are finite."""
        if self._only is not None:  # a step of a small model is all overhead
            return self._only()
        found, self._found = self._found, {}
        for i in self.large:
            grad = self._params[i]._grad
            finite, version = found.get(i, (False, -1))
            if grad is None or version != grad._version:  # not made by the pass, or changed since
                finite = self._large[i]()
            if not finite:
                return False
        for test in self._rest:  # noqa: SIM110 - a generator takes longer
            if not test():
                return False
        return True


class NonFiniteError(RuntimeError):
    """A gradient is not finite on some rank; raised on all, before anything is updated."""


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
        raise NonFiniteError(
            f"rank {rank}: on rank {first} the gradient of parameter '{names[0]}'{more} is not finite{also}. "
            "No rank has updated anything; check_finite='skip' goes on without this step, None lets it through"
        )
