"""Batch normalization in training by oneDNN, of arrays of float32 whose channels lie last in memory."""

from __future__ import annotations

from ctypes import byref, c_float, c_void_p
from typing import Any

import numpy as np

from . import onednn, onednn_serves
from ._arrays import channels_last, empty, last_strides
from ._kept import primitive

__all__ = ["gradients", "output"]

_SCALE, _SHIFT = 2, 4  # flags: it has a weight, and a bias

# The library sums in float32, one element after the other.  So many elements a channel, whose mean is so many standard
# deviations at most, lose less than 1e-4 of one.
_MANY, _FAR = 2**17, 4


def _forward(eps: float) -> Any:
    def make(source: Any, target: Any, *_: Any) -> c_void_p:
        made = c_void_p()
        onednn.call(
            "batch_normalization_forward_primitive_desc_create", byref(made), onednn.engine(), onednn.TRAINING, source,
            target, c_float(eps), _SCALE | _SHIFT, None,
        )  # fmt: skip
        return made

    return make


def _made(kind: str, shape: tuple[int, ...], eps: float) -> onednn.Primitive:
    strides, channels = last_strides(shape), ((shape[1],), (1,))
    numbers = [(index, *channels) for index in (onednn.MEAN, onednn.VARIANCE, onednn.SCALE)]
    if kind == "output":
        ends = [(onednn.SRC, shape, strides), (onednn.DST, shape, strides)]
        return onednn.Primitive(_forward(eps), [*ends, *numbers, (onednn.SHIFT, *channels)])
    given = onednn.described(shape, strides)
    hint = _forward(eps)(given, given)
    onednn.call("memory_desc_destroy", given)

    def make(into: Any, of: Any, source: Any, *_: Any) -> c_void_p:
        made = c_void_p()
        onednn.call(
            "batch_normalization_backward_primitive_desc_create", byref(made), onednn.engine(), onednn.BACKWARD, into,
            of, source, c_float(eps), _SCALE | _SHIFT, hint, None,
        )  # fmt: skip
        return made

    try:
        ends = [(index, shape, strides) for index in (onednn.DIFF_SRC, onednn.DIFF_DST, onednn.SRC)]
        results = [(onednn.DIFF_SCALE, *channels), (onednn.DIFF_SHIFT, *channels)]
        return onednn.Primitive(make, [*ends, *numbers, *results])
    finally:
        onednn.call("primitive_desc_destroy", hint)


def _each(value: Any, channels: int, otherwise: float) -> np.ndarray:
    return np.full(channels, otherwise, np.float32) if value is None else np.ascontiguousarray(value, np.float32)


def output(x: Any, weight: Any, bias: Any, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """``x`` normalized, the mean and the variance (divided by n) of each channel; None where the library does not
    serve, or would not be exact enough."""
    if x.dtype.char != "f" or x.size > _MANY * x.shape[1] or not onednn_serves():
        return None
    run = primitive(_made, "output", x.shape, float(eps))
    if run is None:
        return None
    c = x.shape[1]
    y, mean, variance = empty(x.shape), np.empty(c, np.float32), np.empty(c, np.float32)
    run(x, y, mean, variance, _each(weight, c, 1), _each(bias, c, 0))
    if not (mean * mean <= _FAR * _FAR * variance).all():
        return None
    return y, mean, variance


def gradients(g: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float) -> tuple[Any, Any, Any]:
    """Of input, weight and bias."""
    run = primitive(_made, "input", x.shape, float(eps))
    if run is None:
        raise onednn.Failure("the library has a forward, but no backward primitive for a batch normalization")
    c = x.shape[1]
    gx, gw, gb = empty(x.shape), np.empty(c, np.float32), np.empty(c, np.float32)
    run(gx, channels_last(g), channels_last(x), mean, variance, _each(weight, c, 1), gw, gb)
    return gx, gw, gb
