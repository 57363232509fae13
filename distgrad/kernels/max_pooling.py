"""Max pooling by oneDNN, of arrays of float32 whose channels lie last in memory."""

from __future__ import annotations

from ctypes import byref, c_void_p
from typing import Any

import numpy as np

from . import onednn, onednn_serves
from ._arrays import channels_last, empty, last_strides
from ._kept import primitive

__all__ = ["input_gradient", "output"]

_MAX = 0x1FF  # the algorithm

# What a pooling is: sizes of input and output, and for each dimension size, stride, padding and dilation of windows.
Places = tuple[tuple[int, ...], ...]


def _arguments(places: Places) -> list[Any]:
    kernel, stride, before, after, dilation = places
    return [onednn.sizes(v) for v in (stride, kernel, [d - 1 for d in dilation], before, after)]


def _forward(places: Places) -> Any:
    def make(source: Any, target: Any) -> c_void_p:
        made = c_void_p()
        onednn.call(
            "pooling_forward_primitive_desc_create", byref(made), onednn.engine(), onednn.TRAINING, _MAX, source,
            target, *_arguments(places), None,
        )  # fmt: skip
        return made

    return make


def _made(kind: str, x: tuple[int, ...], y: tuple[int, ...], places: Places) -> onednn.Primitive:
    workspace = (onednn.WORKSPACE, None, None)
    if kind == "output":
        ends = [(onednn.SRC, x, last_strides(x)), (onednn.DST, y, last_strides(y))]
        return onednn.Primitive(_forward(places), [*ends, workspace])
    given = [onednn.described(shape, last_strides(shape)) for shape in (x, y)]
    hint = _forward(places)(*given)
    for description in given:
        onednn.call("memory_desc_destroy", description)

    def make(source: Any, target: Any) -> c_void_p:
        made = c_void_p()
        onednn.call(
            "pooling_backward_primitive_desc_create", byref(made), onednn.engine(), _MAX, source, target,
            *_arguments(places), hint, None,
        )  # fmt: skip
        return made

    try:
        ends = [(onednn.DIFF_SRC, x, last_strides(x)), (onednn.DIFF_DST, y, last_strides(y))]
        return onednn.Primitive(make, [*ends, workspace])
    finally:
        onednn.call("primitive_desc_destroy", hint)


def output(x: Any, sizes: tuple[int, ...], places: Places) -> tuple[np.ndarray, np.ndarray] | None:
    """The largest elements of the windows of ``x``, of ``sizes``, and what the gradient needs; None where the library
    does not serve, or ``x`` has a NaN, which it would pass over, or an infinity, which it takes for float32's least."""
    if x.dtype.char != "f" or not onednn_serves():
        return None
    flat = x.transpose(0, *range(2, x.ndim), 1).reshape(-1)
    if not np.isfinite(np.dot(flat, flat)):
        return None
    y = empty((*x.shape[:2], *sizes))
    run = primitive(_made, "output", x.shape, y.shape, places)
    if run is None:
        return None
    workspace = np.empty(run.workspace, np.uint8)
    run(x, y, workspace)
    return y, workspace


def input_gradient(g: Any, shape: tuple[int, ...], places: Places, workspace: np.ndarray) -> np.ndarray:
    """``g`` at the first of the largest elements of each window, of an input of ``shape``."""
    run = primitive(_made, "input", shape, g.shape, places)
    if run is None:
        raise onednn.Failure("the library has a forward, but no backward primitive for a pooling")
    x = empty(shape)
    run(x, channels_last(g), workspace)
    return x
