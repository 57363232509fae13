"""Arrays (N, C, ...) whose channels lie last in memory."""

from __future__ import annotations

import math

import numpy as np

from . import onednn


def last_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array (N, C, ...) whose channels lie last."""
    _, c, *sizes = shape
    inner = [math.prod(sizes[i + 1 :]) * c for i in range(len(sizes))]
    return (c * math.prod(sizes), 1, *inner)


def channels_last(x: np.ndarray) -> np.ndarray:
    """``x`` if its channels lie last, otherwise a copy of which they do."""
    wanted = last_strides(x.shape)
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
