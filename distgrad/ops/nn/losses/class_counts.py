"""How much each target of a classification counts."""

from __future__ import annotations

import math
from typing import Any


def _counting(xp: Any, y: Any, classes: int, ignore_index: int, dtype: Any) -> tuple[Any, Any]:
    """How much each target counts, and the targets as classes that exist: 1, 0 if ignored, NaN for no class at all.

    On a device nothing is asked of the values, since that would wait for all work before; array libraries there let an
    index that is out of bounds wrap around, so a target that is none must not get lost.
    """
    counted = y != ignore_index
    wrong = counted & ((y < 0) | (y >= classes))
    return xp.where(wrong, math.nan, counted).astype(dtype), xp.where(wrong | ~counted, 0, y)


def _shares(xp: Any, factor: Any, counted: Any) -> Any:
    """Each factor over the sum of all; 0 for what is not counted, and NaN where factors of 0 are all that is."""
    return xp.where(counted, factor / factor.sum(), 0)
