"""Convolutions of arrays, as products of matrices: windows of the input laid out as columns.

All three are one trilinear form in input, weight and output: the output, the gradient of the input (which is the
transposed convolution) and the gradient of the weight.  On the CPU the columns are made for a few samples at a time, so
that they stay in cache, and made again in the backward pass rather than kept.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

__all__: list[str] = []

_BYTES = 2**19  # of columns at a time


class Geometry(NamedTuple):
    """A convolution over n dimensions.

    Attributes:
        sizes, kernel: of the input and the weight in these dimensions.
        stride, dilation: one for each.
        padding: the zeros at both ends of each.
        groups: the channels of input and output are split into so many, which have nothing to do with each other.
        out: the sizes of the output.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    out: tuple[int, ...]

    @property
    def padded(self) -> tuple[int, ...]:
        return tuple([n + a + b for n, (a, b) in zip(self.sizes, self.padding, strict=True)])

    @property
    def pointwise(self) -> bool:
        """Whether the input is its own columns."""
        return set(self.kernel) | set(self.stride) == {1} and self.padded == self.sizes

    @property
    def flat(self) -> bool:
        """Whether to take windows at each position of a padded row, those over its end too: whole planes are copied
        at once then, and what is too much is cut off after."""
        return set(self.stride) == {1} and 2 * math.prod(self.padded[1:]) <= 3 * math.prod(self.out[1:])


def fitted(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Geometry:
    """The convolution with an output as large as there is room for."""
    given = zip(sizes, kernel, stride, padding, dilation, strict=True)
    out = tuple([(n + a + b - d * (k - 1) - 1) // s + 1 for n, k, s, (a, b), d in given])
    return Geometry(sizes, kernel, stride, padding, dilation, groups, out)


def _strides(sizes: tuple[int, ...]) -> list[int]:
    """The distances of elements in memory, in elements."""
    return [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]


class _Layout:
    """How the columns of a convolution lie: ``length`` in each of the rows of a kernel element and channel."""

    def __init__(self, xp: Any, geo: Geometry) -> None:
        self.geo = geo
        self.flat = xp is np and geo.flat and not geo.pointwise
        self.rows = (geo.out[0], *geo.padded[1:]) if self.flat else geo.out  # of one row of columns
        self.length = math.prod(self.rows)
        # the last windows of a flat layout read over the end of the last plane
        reach = zip(geo.kernel, geo.dilation, _strides(geo.padded), strict=True)
        self.slack = sum(d * (k - 1) * s for k, d, s in reach) if self.flat else 0

    def padded(self, xp: Any, x: Any) -> Any:
        """(N, C, *sizes) with zeros around, and some behind for a flat layout."""
        geo = self.geo
        if geo.padded == geo.sizes and not self.slack:
            return x if x.flags.c_contiguous else xp.ascontiguousarray(x)
        shape = (*x.shape[:2], *geo.padded)
        size = math.prod(shape)
        whole = xp.zeros(size + self.slack, x.dtype)
        whole[:size].reshape(shape)[inner(geo)] = x
        return whole[:size].reshape(shape)

    def windows(self, xp: Any, x: Any) -> Any:
        """A view (N, C, *kernel, *rows) of what :meth:`padded` made."""
        geo, steps = self.geo, x.strides[2:]
        taps = [s * d for s, d in zip(steps, geo.dilation, strict=True)]
        if self.flat:
            shape = (*x.shape[:2], *geo.kernel, self.length)
            ends: tuple[int, ...] = (x.itemsize,)
        else:
            shape = (*x.shape[:2], *geo.kernel, *geo.out)
            ends = tuple([s * d for s, d in zip(steps, geo.stride, strict=True)])
        return xp.lib.stride_tricks.as_strided(x, shape, (*x.strides[:2], *taps, *ends))

    def columns(self, xp: Any, windows: Any, at: slice, room: Any) -> Any:
        """The columns (groups, C / groups · kernel, samples · length) of some samples, in ``room`` if there is some."""
        n = len(self.geo.kernel)
        part = windows[at]
        part = part.transpose(*range(1, n + 2), 0, *range(n + 2, part.ndim))
        groups, m = self.geo.groups, part.shape[n + 1]
        shape = (groups, math.prod(part.shape[: n + 1]) // groups, m * self.length)
        if room is None:
            return xp.ascontiguousarray(part).reshape(shape)
        room = room[: part.size]
        np.copyto(room.reshape(part.shape), part)
        return room.reshape(shape)

    def rows_of(self, xp: Any, g: Any, room: Any) -> Any:
        """(N, O, *out) as (groups, O / groups, samples · length), with zeros where windows of a flat layout hang over
        an end: ``room`` has zeros there."""
        m, o = g.shape[:2]
        shape = (self.geo.groups, o // self.geo.groups, m * self.length)
        turned = g.swapaxes(0, 1)
        if room is None:
            return xp.ascontiguousarray(turned).reshape(shape)
        room = room[:, :m] if m == room.shape[1] else xp.zeros((o, m, *self.rows), g.dtype)
        room[(..., *[slice(k) for k in self.geo.out])] = turned
        return room.reshape(shape)

    def blocks(self, xp: Any, n: int, channels: int, itemsize: int) -> list[slice]:
        """Parts of the batch whose columns fit in cache; on a device the whole."""
        each = channels * math.prod(self.geo.kernel) * self.length * itemsize
        step = max(1, _BYTES // max(each, 1)) if xp is np else max(n, 1)
        return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def _room(xp: Any, blocks: list[slice], each: int, dtype: Any) -> Any:
    """Memory for ``each`` elements a sample of the largest block, on the CPU: fresh memory takes longer to fill."""
    return np.empty(each * (blocks[0].stop - blocks[0].start), dtype) if xp is np and blocks else None


def inner(geo: Geometry) -> tuple[Any, ...]:
    """Where in the padded input the input is."""
    return (..., *[slice(a, a + n) for n, (a, _) in zip(geo.sizes, geo.padding, strict=True)])


def _taps(geo: Geometry) -> Iterator[tuple[int, ...]]:
    """The elements of the kernel, in order."""
    return itertools.product(*[range(k) for k in geo.kernel])


def _reached(geo: Geometry, tap: tuple[int, ...]) -> tuple[Any, ...]:
    """Which elements of the padded input the windows have at ``tap``."""
    given = zip(tap, geo.dilation, geo.stride, geo.out, strict=True)
    return (..., *[slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, s, o in given])


def _one_each(weight: Any, geo: Geometry) -> bool:
    """Whether each channel is convolved with one filter of its own: then products of matrices would be of one row."""
    return weight.shape[1] == 1 and weight.shape[0] == geo.groups > 1


def correlate(xp: Any, x: Any, weight: Any, bias: Any, geo: Geometry) -> Any:
    """The convolution (N, O, *out) of x (N, C, *sizes) with weight (O, C / groups, *kernel), plus bias (O)."""
    n, o, groups = x.shape[0], weight.shape[0], geo.groups
    result = xp.empty((n, o, *geo.out), x.dtype)
    beside = None if bias is None else bias.reshape(o, *[1] * len(geo.out))
    if _one_each(weight, geo):
        return _correlate_each(xp, x, weight, beside, geo, result)
    lay = _Layout(xp, geo)
    w = xp.ascontiguousarray(weight).reshape(groups, o // groups, math.prod(weight.shape[1:]))
    padded = lay.padded(xp, x)
    blocks = lay.blocks(xp, n, x.shape[1], x.itemsize)
    if geo.pointwise:
        for at in blocks:
            part = xp.matmul(w, padded[at].reshape(at.stop - at.start, groups, w.shape[2], lay.length))
            _written(xp, part.reshape(-1, o, *geo.out) if part.size else result[at], beside, result[at])
        return result
    windows = lay.windows(xp, padded)
    room = _room(xp, blocks, x.shape[1] * math.prod(geo.kernel) * lay.length, x.dtype)
    products = _room(xp, blocks, o * lay.length, x.dtype)
    for at in blocks:
        m = at.stop - at.start
        columns = lay.columns(xp, windows, at, room)
        shape = (groups, o // groups, m * lay.length)
        part = xp.matmul(w, columns, out=None if products is None else products[: math.prod(shape)].reshape(shape))
        part = part.reshape(o, m, *lay.rows)[(..., *[slice(k) for k in geo.out])].swapaxes(0, 1)
        _written(xp, part, beside, result[at])
    return result


def _written(xp: Any, part: Any, beside: Any, out: Any) -> None:
    if beside is None:
        out[...] = part
    else:
        xp.add(part, beside, out=out)


def _samples(xp: Any, x: Any) -> list[slice]:
    """Parts of the batch that fit in cache."""
    step = max(1, len(x) * _BYTES // max(2 * x.nbytes, 1)) if xp is np else max(len(x), 1)
    return [slice(i, min(i + step, len(x))) for i in range(0, len(x), step)]


def _correlate_each(xp: Any, x: Any, weight: Any, beside: Any, geo: Geometry, result: Any) -> Any:
    """:func:`correlate` where each channel has a filter of its own: one product and sum for each of its elements."""
    lay = _Layout(xp, geo)
    windows = lay.windows(xp, lay.padded(xp, x))
    cut = (..., *[slice(k) for k in geo.out])
    for at in _samples(xp, x):
        part = windows[at]
        out: Any = None
        for tap in _taps(geo):
            here = part[(slice(None), slice(None), *tap)]
            factor = weight[(slice(None), 0, *tap)].reshape(-1, *[1] * (here.ndim - 2))
            if out is None:
                out = here * factor
                room = xp.empty(out.shape, out.dtype)
            else:
                xp.multiply(here, factor, out=room)
                out += room
        _written(xp, out.reshape(*out.shape[:2], *lay.rows)[cut], beside, result[at])
    return result


def _weight_each(xp: Any, g: Any, x: Any, geo: Geometry) -> Any:
    """:func:`correlate_weight` where each channel has a filter of its own."""
    lay = _Layout(xp, geo)
    windows = lay.windows(xp, lay.padded(xp, x))
    total = xp.zeros((g.shape[1], 1, *geo.kernel), g.dtype)
    for at in _samples(xp, x):
        upper = g[at]
        if lay.flat:
            upper = xp.zeros((*upper.shape[:2], *lay.rows), g.dtype)
            upper[(..., *[slice(k) for k in geo.out])] = g[at]
            upper = upper.reshape(*upper.shape[:2], lay.length)
        letters = "nc" + "dhw"[: upper.ndim - 2]
        for tap in _taps(geo):
            here = windows[at][(slice(None), slice(None), *tap)]
            total[(slice(None), 0, *tap)] += xp.einsum(f"{letters},{letters}->c", upper, here)
    return total


def _turned(weight: Any, geo: Geometry) -> tuple[Any, Geometry] | None:
    """The weight and the geometry of the convolution that the transposed one of stride 1 is; None where it is none, or
    where that would take longer, since there are many channels to make columns of."""
    groups, n = geo.groups, len(geo.kernel)
    o, c = weight.shape[0] // groups, weight.shape[1]
    reach = [d * (k - 1) for d, k in zip(geo.dilation, geo.kernel, strict=True)]
    first = [r - a for r, (a, _) in zip(reach, geo.padding, strict=True)]
    last = [m + r - k - a for m, r, k, a in zip(geo.sizes, reach, geo.out, first, strict=True)]
    if set(geo.stride) != {1} or min(*first, *last) < 0 or o > 4 * c:
        return None
    apart = weight.reshape(groups, o, c, *geo.kernel).swapaxes(1, 2)[(..., *[slice(None, None, -1)] * n)]
    ends = tuple(zip(first, last, strict=True))
    turned = Geometry(geo.out, geo.kernel, geo.stride, ends, geo.dilation, groups, geo.sizes)
    return apart.reshape(groups * c, o, *geo.kernel), turned


def spread(xp: Any, g: Any, weight: Any, bias: Any, geo: Geometry) -> Any:
    """The transposed convolution (N, C, *sizes) of g (N, O, *out) with weight (O, C / groups, *kernel), bias (C)."""
    n, o, groups = g.shape[0], weight.shape[0], geo.groups
    channels = weight.shape[1] * groups
    turned = None if geo.pointwise or not g.size else _turned(weight, geo)
    if turned is not None:
        return correlate(xp, g, turned[0], bias, turned[1])
    lay = _Layout(xp, geo)
    w = weight.reshape(groups, o // groups, math.prod(weight.shape[1:])).swapaxes(1, 2)
    result = xp.zeros((n, channels, *geo.sizes), g.dtype)
    each = _one_each(weight, geo)
    blocks = _samples(xp, g) if each else lay.blocks(xp, n, channels, g.itemsize)
    taps = math.prod(geo.kernel)
    room = None if each else _room(xp, blocks, channels * taps * lay.length, g.dtype)
    rows = _rows_room(xp, lay, blocks, o, g.dtype)
    for at in blocks:
        m = at.stop - at.start
        if each:
            result[at] = _spread_each(xp, g[at], weight, geo)
        elif geo.pointwise:
            part = xp.matmul(w, g[at].reshape(m, groups, o // groups, lay.length))
            result[at] = part.reshape(m, channels, *geo.sizes)
        else:
            shape = (groups, w.shape[1], m * lay.length)
            out = None if room is None else room[: math.prod(shape)].reshape(shape)
            columns = xp.matmul(w, lay.rows_of(xp, g[at], rows), out=out)
            result[at] = folded(xp, columns.reshape(channels, taps, m, lay.length), lay).swapaxes(0, 1)
    if bias is not None:
        result += bias.reshape(channels, *[1] * len(geo.sizes))
    return result


def _rows_room(xp: Any, lay: _Layout, blocks: list[slice], o: int, dtype: Any) -> Any:
    """Zeros for :meth:`_Layout.rows_of`, where it needs some."""
    if not blocks or lay.rows == lay.geo.out:
        return None
    return xp.zeros((o, blocks[0].stop - blocks[0].start, *lay.rows), dtype)


def _spread_each(xp: Any, g: Any, weight: Any, geo: Geometry) -> Any:
    whole = xp.zeros((*g.shape[:2], *geo.padded), g.dtype)
    for tap in _taps(geo):
        whole[_reached(geo, tap)] += g * weight[(slice(None), 0, *tap)].reshape(-1, *[1] * len(geo.out))
    return whole[inner(geo)]


def folded(xp: Any, columns: Any, lay: _Layout) -> Any:
    """Columns (C, kernel, N, length) added up where they came from: (C, N, *sizes)."""
    geo = lay.geo
    c, _, n, _ = columns.shape
    size = math.prod(geo.padded)
    if lay.flat:
        steps = [d * s for d, s in zip(geo.dilation, _strides(geo.padded), strict=True)]
        whole = xp.zeros((c, n, size + lay.slack), columns.dtype)
        for k, tap in enumerate(_taps(geo)):
            first = sum(t * s for t, s in zip(tap, steps, strict=True))
            whole[:, :, first : first + lay.length] += columns[:, k]
        return whole[:, :, :size].reshape(c, n, *geo.padded)[inner(geo)]
    whole = xp.zeros((c, n, *geo.padded), columns.dtype)
    parts = columns.reshape(c, math.prod(geo.kernel), n, *geo.out)
    for k, tap in enumerate(_taps(geo)):
        whole[_reached(geo, tap)] += parts[:, k]
    return whole[inner(geo)]


def correlate_weight(xp: Any, g: Any, x: Any, geo: Geometry) -> Any:
    """The gradient (O, C / groups, *kernel) of the weight, from g (N, O, *out) and x (N, C, *sizes)."""
    n, o, groups = g.shape[0], g.shape[1], geo.groups
    lay = _Layout(xp, geo)
    if x.shape[1] == o == groups > 1:
        return _weight_each(xp, g, x, geo)
    padded = lay.padded(xp, x)
    each = x.shape[1] // groups * math.prod(geo.kernel)
    total = xp.zeros((groups, o // groups, each), x.dtype)
    windows = (
        padded.reshape(*x.shape[:2], *[1] * len(geo.kernel), *geo.out) if geo.pointwise else lay.windows(xp, padded)
    )
    blocks = lay.blocks(xp, n, x.shape[1], x.itemsize)
    room = _room(xp, blocks, x.shape[1] * math.prod(geo.kernel) * lay.length, x.dtype)
    rows = _rows_room(xp, lay, blocks, o, g.dtype)
    for at in blocks:
        columns = lay.columns(xp, windows, at, room)
        total += xp.matmul(lay.rows_of(xp, g[at], rows), columns.swapaxes(1, 2))
    return total.reshape(o, x.shape[1] // groups, *geo.kernel)


def columns_of(xp: Any, x: Any, geo: Geometry) -> Any:
    """The columns (N, C · kernel, out) of x (N, C, *sizes)."""
    lay = _Layout(xp, geo)
    lay.flat, lay.rows, lay.length, lay.slack = False, geo.out, math.prod(geo.out), 0
    windows = lay.windows(xp, lay.padded(xp, x))
    return xp.array(windows).reshape(x.shape[0], x.shape[1] * math.prod(geo.kernel), lay.length)


def of_columns(xp: Any, columns: Any, geo: Geometry) -> Any:
    """Columns (N, C · kernel, out) added up where they came from: (N, C, *sizes)."""
    lay = _Layout(xp, geo)
    lay.flat, lay.rows, lay.length, lay.slack = False, geo.out, math.prod(geo.out), 0
    taps = math.prod(geo.kernel)
    apart = columns.reshape(columns.shape[0], columns.shape[1] // taps, taps, lay.length)
    return xp.ascontiguousarray(folded(xp, apart.transpose(1, 2, 0, 3), lay).swapaxes(0, 1))
