"""A number for the bits of an array: the same where arrays are, on all ranks, and hardly ever where they are not."""

from __future__ import annotations

import functools
import zlib

import numpy as np

from distgrad import backend
from distgrad.backend import Array

__all__ = ["PRIME", "bits"]

PRIME = 2**61 - 1  # what sums of such numbers are taken modulo
_SMALL = 8192  # bytes up to which a checksum takes no longer
_ROW = 4096  # words


def bits(values: Array) -> int:
    """The checksum of what is small, else the sum of the words, each times a number that its place has.

    Not the plain sum of the words: gradients of two ranks are often the same numbers in other places.
    """
    xp = backend.array_module(values)
    if xp is np:
        raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        if raw.size <= _SMALL:
            return zlib.crc32(raw.data)
        words = raw[: raw.size // 8 * 8].view(np.uint64)
        rows = words[: words.size // _ROW * _ROW].reshape(-1, _ROW)
        # einsum makes one pass at the memory's speed, where a product of two arrays would make a third
        of_rows = np.einsum("ij,j->i", rows, _factors(_ROW))
        total = int((of_rows * _factors(of_rows.size)).sum())
        return total + zlib.crc32(raw[rows.size * 8 :].data)
    with backend.where_it_lies(values):
        raw = xp.ascontiguousarray(values).reshape(-1).view(np.uint8)
        words = raw[: raw.size // 4 * 4].view(np.uint32).astype(np.uint64)
        places = xp.arange(1, words.size + 1, dtype=np.uint64)
        return int((words * (places * 0x9E3779B97F4A7C15 | 1)).sum()) + int(raw[words.size * 4 :].sum())


@functools.lru_cache(8)
def _factors(n: int) -> np.ndarray:
    """``n`` odd numbers, the same in every process."""
    return np.random.default_rng(n).integers(0, 2**63, n, np.uint64) * np.uint64(2) + np.uint64(1)
