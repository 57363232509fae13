"""The allowed values of hyperparameters, by their usual names."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.tensor import TENSORS

__all__ = ["BOUNDS", "check"]

# name: (what it is called, lowest, highest, whether the highest is allowed)
BOUNDS: dict[str, tuple[str, float, float, bool]] = {
    "lr": ("learning rate", 0.0, math.inf, True),
    "betas": ("beta parameter", 0.0, 1.0, False),
    "momentum": ("momentum value", 0.0, math.inf, True),
    "alpha": ("alpha value", 0.0, math.inf, True),
    "eps": ("epsilon value", 0.0, math.inf, True),
    "weight_decay": ("weight_decay value", 0.0, math.inf, True),
}


def check(name: str, value: Any, bounds: dict[str, tuple[str, float, float, bool]]) -> None:
    """ValueError, naming the value and the allowed range, if ``value`` is outside the bounds of ``name``."""
    if name not in bounds:
        return
    words, low, high, closed = bounds[name]
    for i, v in enumerate(value if isinstance(value, (tuple, list)) else (value,)):
        number = v.item() if v.__class__ in TENSORS else v
        if not isinstance(number, (int, float)):
            raise TypeError(f"Invalid {words}: {v!r}; it must be a number")
        if not (low <= number and (number < high or (closed and number <= high))):
            place = f" at index {i}" if isinstance(value, (tuple, list)) else ""
            allowed = f"at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}{']' if closed else ')'}"
            raise ValueError(f"Invalid {words}{place}: {number}; it must be {allowed}")
