"""Gradients of wide linear layers that are never whole: the ranks of a node give each other their factors.

The gradient of a weight is gᵀ x, with x the layer's input (samples, in) and g its output's gradient (samples, out).  A
rank that updates only its part of the weight need not make that product of its own samples, to read then a part of
everybody's.  It gives its factors away, which are much smaller where samples are few, and makes its own rows of the
product of all ranks' samples: as much arithmetic, in one product, and no gradient goes to memory and comes back.
(Sufficient factors: Xie et al. 2015, arXiv:1511.08486, send them between machines.)

The sum over samples is then one, as in one process with the whole batch, where an all-reduce adds up one sum of each
rank; the two differ in rounding.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np

from distgrad.autograd.graph import Leaf
from distgrad.backend.protocol import Array
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.shared_memory.region import NodeMemory
from distgrad.storage import FlatStorage

__all__ = ["Factors"]

LEAST = 2**21  # bytes of a gradient: smaller ones stay in the cache
ROOM = 0.5  # of a gradient's elements that all ranks' factors may have
CHUNK_BYTES = 2**21  # of a product made at a time: large enough for BLAS, small enough for a cache
_DTYPES = "fd"
_LARGE_PAGES = 2**22  # elements of an array that NumPy asks large pages for; what is not written takes no memory


class Factors:
    """The factors that ranks keep instead of gradients of one storage.  Making it is collective.

    In each pass a rank tells of each such parameter how many samples its factors have, or, where its gradient lies
    whole in its slot, minus that (0: it is not known).  Where all ranks had equally many in the last step, they take it
    that it will be so again: their factors lie side by side then, as one matrix.

    Args:
        comm: the ranks; all of one node.
        storage: what they share.
        gradients, first: where this rank's gradients lie: in which memory, and from which byte on.
        limit: below which a bound shows that a gradient is finite.

    Attributes:
        which: the parameters that it serves, by number; where there are none it is of no further use.
        open: whether the gradients of the pass under way may be kept so.
        idle: whether it writes to memory of this rank's own, which the others are not told of.
    """

    def __init__(
        self, comm: Communicator, storage: FlatStorage, limit: float, gradients: NodeMemory, first: int
    ) -> None:
        self.rank, self.size, self._storage, self._limit = comm.rank, comm.size, storage, limit
        self._gradients, self._first = gradients, first
        self._given_back: set[int] = set()  # of the slots, the memory
        served = storage.device.type == "cpu" and storage.dtype.char in _DTYPES
        self.which = [i for i, s in enumerate(storage.slots) if served and s.ndim == 2 and s.nbytes >= LEAST]
        self.open = self.idle = False
        self._column = {i: j for j, i in enumerate(self.which)}
        self._agreed = [0] * len(self.which)  # samples of each rank, as in the last step
        self._told: list[list[int]] = []  # of the pass whose gradients are there
        self._made: tuple[int, int, int] | None = None  # of it, the rows of a product that are in the chunk
        self._chunk = np.empty(0, storage.dtype)
        self._share = storage.dtype.type(1 / self.size)
        if not self.which:
            return
        ends = np.cumsum([0, *[int(storage.slots[i].size * ROOM) for i in self.which]]).tolist()
        width = storage.dtype.itemsize
        self._memory = NodeMemory.common(comm, ends[-1] * width, touch=False)
        room = self._memory.bytes.view(storage.dtype)
        self._rooms = [room[lo:hi] for lo, hi in itertools.pairwise(ends)]
        words = NodeMemory.common(comm, (self.size + 1) * len(self.which) * 8).bytes.view(np.int64)
        *_, self._asked = table = words.reshape(self.size + 1, -1)  # the last row is everybody's
        self._words, self._mine = table[: self.size], table[self.rank]

    # --- a backward pass --------------------------------------------------------------------------------------------

    def offer(self, i: int) -> None:
        """Have the operation that makes the gradient of parameter ``i`` ask :meth:`keep`, if that is served."""
        leaf = self._storage.params[i]._node
        if i in self._column and type(leaf) is Leaf:
            leaf.offer_factors(functools.partial(self.keep, i))

    def leave(self) -> None:
        """Be asked no longer."""
        for i in self.which:
            leaf = self._storage.params[i]._node
            if type(leaf) is Leaf:
                leaf.offer_factors(None)

    def clear(self) -> None:
        """A pass begins: nothing is kept."""
        self._mine[...] = 0

    def keep(self, i: int, g: Array, x: Array) -> bool:
        """Keep gᵀ x, the gradient of parameter ``i`` of this pass, as it is; False: it must be made.

        Args:
            g, x: (samples, out) and (samples, in); they are copied.
        """
        if self.idle:
            return False
        j, n = self._column[i], len(g)
        leaf = self._storage.params[i]._node
        assert type(leaf) is Leaf
        keeps = self.open and 0 < n == self._agreed[j] and not self._asked[j]
        keeps = keeps and len(leaf.post_hooks or ()) == 1  # what other hooks get is looked at, in its slot
        keeps = keeps and (leaf.bound is None or leaf.bound < self._limit)
        if keeps:
            all_g, all_x = self._matrices(j, n)
            mine = slice(self.rank * n, (self.rank + 1) * n)
            np.multiply(g, self._share, out=all_g[mine])
            all_x[mine] = x
        self._mine[j] = n if keeps else -n
        if keeps != (i in self._given_back):
            lo, hi = (self._first + end * self._storage.dtype.itemsize for end in self._storage.ranges[i])
            if keeps:
                self._given_back.add(i)
                self._gradients.give_back(lo, hi)
            else:
                self._given_back.remove(i)
                self._gradients.take_back(lo, hi)
        return keeps

    def kept(self, i: int) -> bool:
        """Whether this rank's gradient of parameter ``i`` is not in its slot."""
        return i in self._column and self._mine[self._column[i]] > 0

    def ask(self, i: int) -> None:
        """Somebody has asked for the gradient of parameter ``i``: from the next pass on, no rank keeps factors of it.

        Who asks makes all of it, as often as there are ranks; if each makes its own, they are only added up.
        """
        if i in self._column:
            self._asked[self._column[i]] = 1

    def drop(self, i: int) -> None:
        """What is in the slot of parameter ``i`` counts."""
        if i in self._column:
            self._mine[self._column[i]] = 0

    def make(self, i: int) -> None:
        """If this rank's gradient of parameter ``i`` is kept, make it, in its slot."""
        if self.kept(i):
            j = self._column[i]
            n = int(self._mine[j])
            slot = self._storage.slots[i]
            self._product(j, n, self.rank, 0, len(slot), slot)
            self._mine[j] = -n

    # --- all ranks' gradients ---------------------------------------------------------------------------------------

    def read(self) -> bool:
        """All ranks' gradients of a pass are there: whether some of them are factors."""
        self._told, self._made = self._words.tolist(), None
        for j, i in enumerate(self.which):
            if len({told[j] for told in self._told if told[j] > 0}) > 1:
                raise RuntimeError(
                    f"rank {self.rank}: ranks keep factors of parameter {i} of different numbers of samples, "
                    f"{[told[j] for told in self._told]}: they did not agree before"
                )
        return any(n > 0 for told in self._told for n in told)

    def agree(self) -> None:
        """All ranks step with the gradients last read, or forget them: expect as many samples in the next pass."""
        for j, slot in enumerate(self._storage.slots[i] for i in self.which):
            first, *others = (abs(told[j]) for told in self._told)
            fits = self.size * first * sum(slot.shape) <= len(self._rooms[j])
            self._agreed[j] = first if fits and all(n == first for n in others) else 0

    def stretches(self, lo: int, hi: int) -> list[tuple[int, int, int]]:
        """Elements ``lo`` to ``hi - 1`` of the storage cut into (first, behind last, parameter with factors or -1)."""
        found = []
        for j, i in enumerate(self.which):
            a, b = self._storage.ranges[i]
            if a < hi and lo < b and any(told[j] > 0 for told in self._told):
                if lo < a:
                    found.append((lo, a, -1))
                lo = max(lo, a)
                found.append((lo, min(hi, b), i))
                lo = min(hi, b)
        return [*found, (lo, hi, -1)] if lo < hi else found

    def at_a_time(self, i: int) -> int:
        """How many elements of the gradient of parameter ``i`` are best made at a time: whole rows."""
        width = self._storage.slots[i].shape[1]
        return max(CHUNK_BYTES // (width * self._storage.dtype.itemsize), 1) * width

    def mean(self, i: int, lo: int, hi: int, out: Array) -> bool:
        """Elements ``lo`` to ``hi - 1`` of the storage, all of parameter ``i``, of the mean over the ranks.

        Returns:
            False if not all ranks kept factors of as many samples: it must be made of :meth:`part`.
        """
        j = self._column[i]
        n = self._told[0][j]
        if n <= 0 or any(told[j] != n for told in self._told):
            return False
        self._elements(i, lo, hi, out, lambda first, last, rows: self._product(j, n, None, first, last, rows))
        return True

    def part(self, i: int, r: int, lo: int, hi: int) -> Array | None:
        """The same of rank ``r``'s gradient; None if it lies in its slot.  ``i`` may be -1, for any but those kept."""
        j = self._column.get(i, -1)
        n = 0 if j < 0 else self._told[r][j]
        if n <= 0:
            return None
        out = np.empty(hi - lo, self._storage.dtype)
        self._elements(i, lo, hi, out, lambda first, last, rows: self._product(j, n, r, first, last, rows))
        return out

    def block(self, lo: int, hi: int) -> Array | None:
        """:meth:`mean` where that is all of one parameter's, of an update that asks for blocks one behind another.

        More is made at a time than is asked for: a product of few rows takes long.  Valid until the next call.
        """
        for i in self.which:
            a, b = self._storage.ranges[i]
            if a <= lo and hi <= b:
                break
        else:
            return None
        width = self._storage.slots[i].shape[1]
        first, last = (lo - a) // width, -((a - hi) // width)
        if self._made is None or not (self._made[0] == i and self._made[1] <= first and last <= self._made[2]):
            end = -((a - min(self._storage.owned[1], b)) // width)
            last = max(last, min(first + self.at_a_time(i) // width, end))
            if len(self._chunk) < (last - first) * width:
                self._chunk = np.empty(max((last - first) * width, _LARGE_PAGES), self._storage.dtype)
            if not self.mean(i, a + first * width, a + last * width, self._chunk[: (last - first) * width]):
                return None
            self._made = i, first, last
        start = lo - a - self._made[1] * width
        return self._chunk[start : start + hi - lo]

    def _matrices(self, j: int, n: int) -> tuple[Array, Array]:
        """Where all ranks' factors of ``n`` samples each lie: (samples, out) and (samples, in)."""
        out, width = self._storage.slots[self.which[j]].shape
        cut, end = self.size * n * out, self.size * n * (out + width)
        return self._rooms[j][:cut].reshape(-1, out), self._rooms[j][cut:end].reshape(-1, width)

    def _product(self, j: int, n: int, r: int | None, first: int, last: int, out: Array) -> None:
        """Rows ``first`` to ``last - 1`` of the mean, or of rank ``r``'s gradient, of ``n`` samples a rank."""
        g, x = self._matrices(j, n)
        if r is not None:
            g, x = g[r * n : (r + 1) * n], x[r * n : (r + 1) * n]
        np.matmul(g.T[first:last], x, out=out)
        if r is not None:
            out *= self.size

    def _elements(self, i: int, lo: int, hi: int, out: Array, rows: Callable[[int, int, Array], None]) -> None:
        """Elements ``lo`` to ``hi - 1`` of the storage by ``rows(first, last, where)``, which makes whole ones."""
        start, width = self._storage.ranges[i][0], self._storage.slots[i].shape[1]
        first, last = (lo - start) // width, -((start - hi) // width)
        whole = out if (last - first) * width == hi - lo else np.empty((last - first) * width, out.dtype)
        rows(first, last, whole.reshape(-1, width))
        if whole is not out:
            skip = lo - start - first * width
            out[...] = whole[skip : skip + hi - lo]
