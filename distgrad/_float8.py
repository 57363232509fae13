"""Numbers in eight bits: how a wider one is rounded to them, as PyTorch does.

The formats are those of "FP8 Formats for Deep Learning" (https://arxiv.org/abs/2209.05433), their variants without a
negative zero, and the power-of-two scale of the OCP Microscaling specification.  ml_dtypes has all of them, and rounds
to the nearest, ties to even; PyTorch differs where a number is beyond the largest, none, or (as a scale) no power of 2.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["NAMES", "encoded"]

NAMES = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
_E4M3FN, _E5M2, _, _, _E8M0FNU = (np.dtype(getattr(ml_dtypes, name)) for name in NAMES)


def _saturated(x: np.ndarray) -> np.ndarray:
    """float8_e4m3fn, which has no infinity: what is beyond 448, infinities included, becomes 448."""
    return np.clip(x, np.float32(-448), np.float32(448)).astype(_E4M3FN)


def _with_its_nan(x: np.ndarray) -> np.ndarray:
    """float8_e5m2, whose NaN has all bits set."""
    made = np.asarray(x.astype(_E5M2))
    octets = made.view(np.uint8)
    octets[...] = np.where(np.isnan(x), octets | 0x7F, octets)
    return made


def _exponent(x: np.ndarray) -> np.ndarray:
    """float8_e8m0fnu, the exponent of float32: the nearer power of 2 of the magnitude, the upper one of two as near
    unless it is that of the subnormal numbers; 255 is NaN."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    exponent = (bits >> 23) & 0xFF
    rest = bits & 0x7FFFFF
    up = (rest > 0x400000) | ((rest == 0x400000) & (exponent > 0))
    return np.minimum(exponent + up, 255).astype(np.uint8).view(_E8M0FNU)


_ENCODERS: dict[np.dtype[Any], Any] = {_E4M3FN: _saturated, _E5M2: _with_its_nan, _E8M0FNU: _exponent}


def encoded(x: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """Host numbers ``x`` of any type in the eight-bit type ``kind``, by way of float32; of complex ones the real part.

    NaN becomes NaN.  Beyond the largest number float8_e4m3fn becomes that, float8_e5m2 infinite, the others NaN.
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        wide = np.asarray((x.real if x.dtype.kind == "c" else x).astype(np.float32))
        encode = _ENCODERS.get(kind)
        return np.asarray(wide.astype(kind) if encode is None else encode(wide))
