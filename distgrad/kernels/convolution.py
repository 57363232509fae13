"""Convolutions by oneDNN: the output, the gradient of the input, the gradient of the weight.

Arrays of float32 whose channels lie last in memory (behind the shape (N, C, ...)) are taken as they are, others are
copied so; results lie so.  That is the layout the library is fastest in, and elementwise operations keep it.
"""

from __future__ import annotations

import math
from ctypes import byref, c_void_p
from typing import Any

import numpy as np

from . import onednn, onednn_serves
from ._arrays import channels_last, empty, last_strides
from ._kept import primitive

__all__ = ["input_gradient", "output", "weight_gradient"]

_DIRECT = 1  # the algorithm
_LEAST = 1 << 17  # products of numbers below which making primitives, 1.5 ms once for each shape, gains too little


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
    given = [onednn.described(x, last_strides(x)), onednn.described(w, None), onednn.described(y, last_strides(y))]
    made = _forward(geo)(given[0], given[1], None, given[2])
    for description in given:
        onednn.call("memory_desc_destroy", description)
    return made


def _made(kind: str, n: int, channels: int, out: int, geo: Any, biased: bool) -> onednn.Primitive:
    shapes = x, w, y = _shapes(n, channels, out, geo)
    places = (onednn.SRC, x, last_strides(x)), (onednn.WEIGHTS, w, None), (onednn.DST, y, last_strides(y))
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
        arguments = [(onednn.DIFF_SRC, x, last_strides(x)), places[1], (onednn.DIFF_DST, y, last_strides(y))]
    else:
        arguments = [places[0], (onednn.DIFF_WEIGHTS, w, None), (onednn.DIFF_DST, y, last_strides(y))]
    try:
        return onednn.Primitive(make, arguments)
    finally:
        onednn.call("primitive_desc_destroy", hint)


def output(x: Any, weight: Any, bias: Any, geo: Any) -> np.ndarray | None:
    """The convolution of ``x`` (N, C, ...) with ``weight`` (O, C / groups, ...), plus ``bias`` (O); None where the
    library does not serve."""
    n, out = x.shape[0], weight.shape[0]
    if not _serves(x, weight, n, out * weight.shape[1], geo):
        return None
    run = primitive(_made, "output", n, x.shape[1], out, geo, bias is not None)
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
    run = primitive(_made, "input", n, channels, out, geo, False)
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
    run = primitive(_made, "weight", n, channels, out, geo, False)
    if run is None:
        return None
    weight = np.empty((out, channels // geo.groups, *geo.kernel), np.float32)
    run(channels_last(x), weight, channels_last(g))
    return weight
