"""The allowed values of hyperparameters, by their usual names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.tensor import TENSORS

__all__ = ["BOUNDS", "Bound", "check"]

# (what it is called, lowest, highest, whether the highest is allowed)
Bound = tuple[str, float, float, bool]

BOUNDS: dict[str, Bound] = {
    "alpha": ("alpha value", 0.0, math.inf, True),
    "betas": ("beta parameter", 0.0, 1.0, False),
    "dampening": ("dampening value", -math.inf, math.inf, True),
    "eps": ("epsilon value", 0.0, math.inf, True),
    "initial_accumulator_value": ("initial_accumulator_value value", 0.0, math.inf, True),
    "lr": ("learning rate", 0.0, math.inf, True),
    "lr_decay": ("lr_decay value", 0.0, math.inf, True),
    "momentum": ("momentum value", 0.0, math.inf, True),
    "momentum_decay": ("momentum_decay value", 0.0, math.inf, True),
    "rho": ("rho value", 0.0, 1.0, True),
    "weight_decay": ("weight_decay value", 0.0, math.inf, True),
}


def check(name: str, value: Any, bounds: dict[str, Bound]) -> None:
    """ValueError, naming the value and the allowed range, if ``value`` is outside the bounds of ``name``.

    TypeError if it is no number.  A tensor must have one element; NaN and infinities are outside of any bounds.
    """
    if name not in bounds:
        return
    words, low, high, closed = bounds[name]
    closed = closed and high != math.inf
    for i, v in enumerate(value if isinstance(value, (tuple, list)) else (value,)):
        if v.__class__ in TENSORS and v.numel() != 1:
            raise ValueError(f"Invalid {words}: a Tensor of {v.numel()} elements; it must be 1-element")
        number = v.item() if v.__class__ in TENSORS else v
        if not isinstance(number, (bool, int, float, np.number)) or isinstance(number, np.complexfloating):
            raise TypeError(f"Invalid {words}: {v!r}; it must be a number")
        if not (low <= number and number != -math.inf and (number < high or (closed and number <= high))):
            place = f" at index {i}" if isinstance(value, (tuple, list)) else ""
            raise ValueError(f"Invalid {words}{place}: {number}; it must be {_allowed(low, high, closed)}")


def _allowed(low: float, high: float, closed: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "a finite number"
    if high == math.inf:
        return f"at least {low:g}, and finite"
    return f"in [{low:g}, {high:g}{']' if closed else ')'}"
