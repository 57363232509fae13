"""Convolutions by oneDNN: the output, the gradient of the input, the gradient of the weight.

Arrays of float32 whose channels lie last in memory (behind the shape (N, C, ...)) are taken as they are, others are
copied so; results lie so.  That is the layout the library is fastest in, and elementwise operations keep it.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from ctypes import byref, c_void_p
from typing import Any

import numpy as np

from . import onednn, onednn_serves

__all__ = ["channels_last", "empty", "input_gradient", "output", "weight_gradient"]

_DIRECT = 1  # the algorithm
_KEPT = 512  # primitives in a thread
_LEAST = 1 << 17  # products of numbers below which a call costs more than it saves


class _Kept(threading.local):
    def __init__(self) -> None:
        self.primitives: OrderedDict[Any, onednn.Primitive | None] = OrderedDict()


_kept = _Kept()


def _serves(x: Any, y: Any, n: int, channels: int, geo: Any) -> bool:
    """Whether a convolution of float32 with ``n`` samples and output ``channels`` is left to the library."""
    return (
        x.__class__ is np.ndarray
        and x.dtype is y.dtype
        and x.dtype.char == "f"
        and len(geo.kernel) <= 3
        and x.size > 0
        and y.size > 0
        and n * channels * math.prod(geo.out) * math.prod(geo.kernel) >= _LEAST
        and onednn_serves()
    )


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array (N, C, ...) whose channels lie last."""
    _, c, *sizes = shape
    inner = [math.prod(sizes[i + 1 :]) * c for i in range(len(sizes))]
    return (c * math.prod(sizes), 1, *inner)


def channels_last(x: np.ndarray) -> np.ndarray:
    """``x`` if its channels lie last, otherwise a copy of which they do."""
    wanted = _last(x.shape)
    own = onednn.strides_of(x)
    if all(a == b or size == 1 for a, b, size in zip(own, wanted, x.shape, strict=True)):
        return x
    made = empty(x.shape)
    made[...] = x
    return made


def empty(shape: tuple[int, ...]) -> np.ndarray:
    """An array of float32 of that shape whose channels lie last."""
    n, c, *sizes = shape
    return np.moveaxis(np.empty((n, *sizes, c), np.float32), -1, 1)


def _shapes(n: int, channels: int, out: int, geo: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of input, weight (with a dimension of groups in front, where there are several) and output."""
    groups = geo.groups
    weight = (out // groups, channels // groups, *geo.kernel)
    return (n, channels, *geo.sizes), (groups, *weight) if groups > 1 else weight, (n, out, *geo.out)


def _places(geo: Any) -> tuple[Any, ...]:
    """Strides, dilations and both paddings, as the library counts them."""
    before, after = zip(*geo.padding, strict=True)
    return tuple([onednn.sizes(v) for v in (geo.stride, [d - 1 for d in geo.dilation], before, after)])


def _forward(geo: Any) -> Any:
    def make(source: Any, weight: Any, bias: Any, target: Any) -> c_void_p:
        made = c_void_p()
        onednn.call(
            "convolution_forward_primitive_desc_create", byref(made), onednn.engine(), onednn.TRAINING, _DIRECT,
            source, weight, bias, target, *_places(geo), None,
        )  # fmt: skip
        return made

    return make


def _hint(shapes: Any, geo: Any) -> c_void_p:
    """The forward primitive's description, which those of the gradients are made with."""
    x, w, y = shapes
    given = [onednn.described(x, _last(x)), onednn.described(w, None), onednn.described(y, _last(y))]
    made = _forward(geo)(given[0], given[1], None, given[2])
    for description in given:
        onednn.call("memory_desc_destroy", description)
    return made


def _made(kind: str, n: int, channels: int, out: int, geo: Any, biased: bool) -> onednn.Primitive:
    shapes = x, w, y = _shapes(n, channels, out, geo)
    places = (onednn.SRC, x, _last(x)), (onednn.WEIGHTS, w, None), (onednn.DST, y, _last(y))
    if kind == "output":
        if biased:
            return onednn.Primitive(_forward(geo), [*places[:2], (onednn.BIAS, (out,), (1,)), places[2]])
        forward = _forward(geo)
        return onednn.Primitive(lambda s, w, d: forward(s, w, None, d), places)
    hint = _hint(shapes, geo)
    name = "data" if kind == "input" else "weights"

    def make(first: Any, second: Any, third: Any) -> c_void_p:
        made = c_void_p()
        given = (first, second, third) if kind == "input" else (first, second, None, third)
        onednn.call(
            f"convolution_backward_{name}_primitive_desc_create", byref(made), onednn.engine(), _DIRECT, *given,
            *_places(geo), hint, None,
        )  # fmt: skip
        return made

    if kind == "input":
        arguments = [(onednn.DIFF_SRC, x, _last(x)), places[1], (onednn.DIFF_DST, y, _last(y))]
    else:
        arguments = [places[0], (onednn.DIFF_WEIGHTS, w, None), (onednn.DIFF_DST, y, _last(y))]
    try:
        return onednn.Primitive(make, arguments)
    finally:
        onednn.call("primitive_desc_destroy", hint)


def _primitive(*key: Any) -> onednn.Primitive | None:
    """The primitive of these shapes in this thread; None where the library has none."""
    kept = _kept.primitives
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    try:
        found = _made(*key)
    except onednn.Failure:
        found = None
    kept[key] = found
    if len(kept) > _KEPT:
        kept.popitem(last=False)
    return found


def output(x: Any, weight: Any, bias: Any, geo: Any) -> np.ndarray | None:
    """The convolution of ``x`` (N, C, ...) with ``weight`` (O, C / groups, ...), plus ``bias`` (O); None where the
    library does not serve."""
    n, out = x.shape[0], weight.shape[0]
    if not _serves(x, weight, n, out * weight.shape[1], geo):
        return None
    run = _primitive("output", n, x.shape[1], out, geo, bias is not None)
    if run is None:
        return None
    y = empty((n, out, *geo.out))
    given = (channels_last(x), np.ascontiguousarray(weight))
    run(*given, *(() if bias is None else (np.ascontiguousarray(bias),)), y)
    return y


def input_gradient(g: Any, weight: Any, geo: Any) -> np.ndarray | None:
    """What ``g`` (N, O, ...) gives each element of the input by ``weight``: the transposed convolution."""
    n, out = g.shape[:2]
    if not _serves(g, weight, n, out * weight.shape[1], geo):
        return None
    channels = weight.shape[1] * geo.groups
    run = _primitive("input", n, channels, out, geo, False)
    if run is None:
        return None
    x = empty((n, channels, *geo.sizes))
    run(x, np.ascontiguousarray(weight), channels_last(g))
    return x


def weight_gradient(g: Any, x: Any, geo: Any) -> np.ndarray | None:
    """What ``g`` (N, O, ...) gives each element of the weight by the input ``x`` (N, C, ...)."""
    n, out = g.shape[:2]
    channels = x.shape[1]
    if not _serves(g, x, n, out * channels // geo.groups, geo):
        return None
    run = _primitive("weight", n, channels, out, geo, False)
    if run is None:
        return None
    weight = np.empty((out, channels // geo.groups, *geo.kernel), np.float32)
    run(channels_last(x), weight, channels_last(g))
    return weight
