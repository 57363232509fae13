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

    def spread(self, xp: Any, g: Any) -> Any:
        """(N, groups, C, *out) with zeros where a flat layout has windows over an end, and * as one."""
        head = g.shape[:3]
        if not self.flat or self.rows == self.geo.out:
            return xp.ascontiguousarray(g).reshape(*head, self.length)
        whole = xp.zeros((*head, *self.rows), g.dtype)
        whole[(..., *[slice(o) for o in self.geo.out])] = g
        return whole.reshape(*head, self.length)

    def blocks(self, xp: Any, n: int, channels: int, itemsize: int) -> list[slice]:
        """Parts of the batch whose columns fit in cache; on a device the whole."""
        each = channels * math.prod(self.geo.kernel) * self.length * itemsize
        step = max(1, _BYTES // max(each, 1)) if xp is np else max(n, 1)
        return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def inner(geo: Geometry) -> tuple[Any, ...]:
    """Where in the padded input the input is."""
    return (..., *[slice(a, a + n) for n, (a, _) in zip(geo.sizes, geo.padding, strict=True)])


def _taps(geo: Geometry) -> Iterator[tuple[int, ...]]:
    """The elements of the kernel, in order."""
    return itertools.product(*[range(k) for k in geo.kernel])


def correlate(xp: Any, x: Any, weight: Any, bias: Any, geo: Geometry) -> Any:
    """The convolution (N, O, *out) of x (N, C, *sizes) with weight (O, C / groups, *kernel), plus bias (O)."""
    n, o, groups = x.shape[0], weight.shape[0], geo.groups
    lay = _Layout(xp, geo)
    result = xp.empty((n, o, *geo.out), x.dtype)
    w = xp.ascontiguousarray(weight).reshape(groups, o // groups, math.prod(weight.shape[1:]))
    padded = lay.padded(xp, x)
    windows = padded if geo.pointwise else lay.windows(xp, padded)
    cut = lay.rows != geo.out
    for at in lay.blocks(xp, n, x.shape[1], x.itemsize):
        m = at.stop - at.start
        columns = xp.ascontiguousarray(windows[at]).reshape(m, groups, w.shape[2], lay.length)
        part = xp.matmul(w, columns)
        if cut:
            part = part.reshape(m, o, *lay.rows)[(..., *[slice(k) for k in geo.out])]
        result[at] = part.reshape(m, o, *geo.out)
        if bias is not None:
            result[at] += bias.reshape(o, *[1] * len(geo.out))
    return result


def spread(xp: Any, g: Any, weight: Any, bias: Any, geo: Geometry) -> Any:
    """The transposed convolution (N, C, *sizes) of g (N, O, *out) with weight (O, C / groups, *kernel), bias (C)."""
    n, o, groups = g.shape[0], weight.shape[0], geo.groups
    lay = _Layout(xp, geo)
    channels = weight.shape[1] * groups
    w = xp.ascontiguousarray(weight.reshape(groups, o // groups, math.prod(weight.shape[1:])).swapaxes(1, 2))
    upper = lay.spread(xp, g.reshape(n, groups, o // groups, *geo.out))
    result = (xp.empty if geo.pointwise else xp.zeros)((n, channels, *geo.sizes), g.dtype)
    for at in lay.blocks(xp, n, channels, g.itemsize):
        m = at.stop - at.start
        columns = xp.matmul(w, upper[at])
        if geo.pointwise:
            result[at] = columns.reshape(m, channels, *geo.sizes)
        else:
            result[at] = folded(xp, columns.reshape(m, channels, math.prod(geo.kernel), lay.length), lay)
    if bias is not None:
        result += bias.reshape(channels, *[1] * len(geo.sizes))
    return result


def folded(xp: Any, columns: Any, lay: _Layout) -> Any:
    """Columns (N, C, kernel, length) added up where they came from: (N, C, *sizes)."""
    geo = lay.geo
    n, c = columns.shape[:2]
    size = math.prod(geo.padded)
    if lay.flat:
        steps = [d * s for d, s in zip(geo.dilation, _strides(geo.padded), strict=True)]
        whole = xp.zeros((n, c, size + lay.slack), columns.dtype)
        for k, tap in enumerate(_taps(geo)):
            first = sum(t * s for t, s in zip(tap, steps, strict=True))
            whole[:, :, first : first + lay.length] += columns[:, :, k]
        return whole[:, :, :size].reshape(n, c, *geo.padded)[inner(geo)]
    whole = xp.zeros((n, c, *geo.padded), columns.dtype)
    parts = columns.reshape(n, c, math.prod(geo.kernel), *geo.out)
    for k, tap in enumerate(_taps(geo)):
        given = zip(tap, geo.dilation, geo.stride, geo.out, strict=True)
        whole[(..., *[slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, s, o in given])] += parts[:, :, k]
    return whole[inner(geo)]


def correlate_weight(xp: Any, g: Any, x: Any, geo: Geometry) -> Any:
    """The gradient (O, C / groups, *kernel) of the weight, from g (N, O, *out) and x (N, C, *sizes)."""
    n, o, groups = g.shape[0], g.shape[1], geo.groups
    lay = _Layout(xp, geo)
    each = x.shape[1] // groups * math.prod(geo.kernel)
    total = xp.zeros((groups, o // groups, each), x.dtype)
    upper = lay.spread(xp, g.reshape(n, groups, o // groups, *geo.out))
    padded = lay.padded(xp, x)
    windows = padded if geo.pointwise else lay.windows(xp, padded)
    for at in lay.blocks(xp, n, x.shape[1], x.itemsize):
        columns = xp.ascontiguousarray(windows[at]).reshape(at.stop - at.start, groups, each, lay.length)
        total += xp.matmul(upper[at], columns.swapaxes(2, 3)).sum(0)
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
    return xp.ascontiguousarray(folded(xp, apart, lay))
