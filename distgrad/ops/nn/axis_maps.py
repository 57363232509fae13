"""Linear maps along axes: sums over windows, padding by reflection, interpolation.

Such a map is a sparse matrix, one for each axis, kept as a few steps ``out[there] += weight * x[here]``.  No element is
twice in ``there``, nor in ``here``: each step is one vectorised assignment or sum, and the transposed map, which is the
gradient, has the same steps turned round.  Where the elements are evenly spaced they are slices.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...autograd.primitive import primitive
from .._declare import wide

__all__: list[str] = []


class Step(NamedTuple):
    """``out[there] += weight * x[here]``; ``=`` where it is the first to reach these elements."""

    there: Any
    here: Any
    weight: Any = None
    first: bool = False


class AxisMap:
    """A sparse matrix (out, in), to be applied along an axis.

    Attributes:
        sizes: (out, in).
        steps: what it does, in order.
        whole: whether the first steps write each element of the result.
        spans: of a sum over few long windows, the elements of each; taken as a whole they need fewer steps.
        spread: of the transposed of such a map the same.
    """

    spans: tuple[slice, ...] = ()
    spread: tuple[slice, ...] = ()

    def __init__(self, sizes: tuple[int, int], steps: Sequence[Step]) -> None:
        self.sizes = sizes
        seen = np.zeros(sizes[0], bool)
        kept, self.whole = [], True
        for there, here, weight, _ in steps:
            reached = seen[there]
            if reached.size == 0:
                continue
            self.whole &= bool(reached.all() or not reached.any())
            kept.append(Step(there, here, weight, not reached.any()))
            seen[there] = True
        self.whole &= bool(seen.all())
        self.steps = tuple(kept)

    @functools.cached_property
    def transposed(self) -> AxisMap:
        """The transposed matrix, which has this one as its transposed."""
        made = AxisMap(self.sizes[::-1], [Step(s.here, s.there, s.weight) for s in self.steps])
        made.__dict__["transposed"] = self
        made.spans, made.spread = self.spread, self.spans
        return made

    def __call__(self, xp: Any, x: Any, axis: int) -> Any:
        """The result of applying it along ``axis`` of an array."""
        shape = list(x.shape)
        shape[axis] = self.sizes[0]
        before, after = (slice(None),) * axis, (1,) * (x.ndim - axis - 1)
        if self.spans:
            return xp.concatenate([x[(*before, span)].sum(axis, keepdims=True) for span in self.spans], axis)
        if self.spread:
            out = xp.zeros(shape, x.dtype)
            for i, span in enumerate(self.spread):
                out[(*before, span)] += x[(*before, slice(i, i + 1))]
            return out
        out = (xp.empty if self.whole else xp.zeros)(shape, x.dtype)
        for there, here, weight, first in self.steps:
            at, part = (*before, on(xp, there)), x[(*before, on(xp, here))]
            if weight is not None:
                part = part * xp.asarray(np.asarray(weight, x.real.dtype).reshape(-1, *after))
            if first:
                out[at] = part
            else:
                out[at] += part
        return out


def on(xp: Any, index: Any) -> Any:
    """A step's index where the arrays of ``xp`` lie."""
    return index if isinstance(index, slice) or xp is np else xp.asarray(index)


def _spaced(index: np.ndarray) -> Any:
    """``index`` as a slice, if its elements are evenly spaced."""
    if len(index) == 1:
        return slice(int(index[0]), int(index[0]) + 1)
    gap = int(index[1] - index[0])
    if gap == 0 or (np.diff(index) != gap).any():
        return index
    stop = int(index[-1]) + (1 if gap > 0 else -1)
    return slice(int(index[0]), None if stop < 0 else stop, gap)


def _occurrence(values: np.ndarray) -> np.ndarray:
    """How many equal elements are before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.arange(len(values)) - np.repeat(starts, np.diff(np.r_[starts, len(values)]))
    out = np.empty(len(values), int)
    out[order] = counts
    return out


def of_entries(sizes: tuple[int, int], there: np.ndarray, here: np.ndarray, weight: Any = None) -> AxisMap:
    """The matrix with ``weight`` (1 by default) at ``[there, here]``, entries at one place added up."""
    steps = []
    if len(there):
        rounds = _occurrence(there)
        for r in range(int(rounds.max()) + 1):
            chosen = np.flatnonzero(rounds == r)
            again = _occurrence(here[chosen])
            for k in range(int(again.max()) + 1):
                at = chosen[again == k]
                steps.append(Step(_spaced(there[at]), _spaced(here[at]), None if weight is None else weight[at]))
    return AxisMap(sizes, steps)


def of_runs(n: int, source: np.ndarray) -> AxisMap:
    """``out[i] = x[source[i]]``, of a source that runs evenly up and down, as those of padding do."""
    turns: Any = np.flatnonzero(np.diff(np.diff(source, prepend=source[:1] - 1)) != 0) + 1 if len(source) else ()
    steps, start = [], 0
    for stop in [*turns, len(source)]:
        run = source[start:stop]
        if len(run) > 1 and run[0] == run[1]:  # one element repeated
            steps += [Step(slice(start + k, start + k + 1), _spaced(run[k : k + 1])) for k in range(len(run))]
        elif len(run):
            steps.append(Step(slice(start, stop), _spaced(run)))
        start = stop
    return AxisMap((len(source), n), steps)


@functools.lru_cache(maxsize=512)
def of_windows(n: int, kernel: int, stride: int, padding: int, dilation: int, out: int) -> AxisMap:
    """The sum over each of ``out`` windows, of which padding is no part."""
    steps = []
    least = out  # the first window reached so far
    for tap in range(kernel):
        shift = tap * dilation - padding
        low = max(0, -(shift // stride))  # the first window whose element is not left of the first
        high = min(out, (n - 1 - shift) // stride + 1)
        if low >= high:
            continue
        for a, b in ((low, min(high, least)), (max(low, least), high)):
            if a < b:
                first = a * stride + shift
                steps.append(Step(slice(a, b), slice(first, first + (b - a - 1) * stride + 1, stride)))
        least = min(least, low)
    return AxisMap((out, n), steps)


@functools.lru_cache(maxsize=512)
def of_shares(n: int, out: int) -> AxisMap:
    """The sum over each of ``out`` windows that cover ``n`` elements evenly: from floor(i n / out) to
    ceil((i + 1) n / out)."""
    starts, counts = shares(n, out)
    if 0 < out < counts.max(initial=0):
        made = AxisMap((out, n), [])
        made.spans = tuple([slice(int(a), int(a + b)) for a, b in zip(starts, counts, strict=True)])
        return made
    if out and n % out == 0:
        return of_windows(n, n // out, n // out, 0, 1, out)
    there = np.repeat(np.arange(out), counts)
    return of_entries((out, n), there, np.repeat(starts, counts) + _occurrence(there) if out else there)


def shares(n: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows of :func:`of_shares` start, and how many elements they have."""
    i = np.arange(out)
    starts = i * n // max(out, 1)
    return starts, -(-(i + 1) * n // max(out, 1)) - starts


class Maps(tuple[tuple[int, AxisMap], ...]):
    """An axis, counted from the end, and its map; as often as there are axes."""

    @property
    def transposed(self) -> Maps:
        pairs: list[tuple[int, AxisMap]] = [(axis, m.transposed) for axis, m in reversed(self)]
        return Maps(pairs)


@primitive(grad_name=lambda node: node.args[-1] if node.args is not None else "")
def mapped(xp, x, maps, before, after, name):
    """``x`` times ``before``, the maps applied along their axes, times ``after``; either None, or an array that lies on
    the CPU and broadcasts against the last axes.  Half precisions in float32."""
    out = wide(x)
    if before is not None:
        out = out * _beside(xp, before, out)
    for axis, m in maps:
        out = m(xp, out, out.ndim + axis)
    if after is not None:
        out = out * _beside(xp, after, out)
    return (out.copy() if out is x else out).astype(x.dtype, copy=False)


def _beside(xp: Any, factor: Any, x: Any) -> Any:
    return xp.asarray(np.asarray(factor, x.real.dtype))


mapped.defvjp(lambda g, ans, x, maps, before, after, name: mapped(g, maps.transposed, after, before, name), saves="")
