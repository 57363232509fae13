"""The Lion optimizer, as a plugin of distgrad: ``distgrad.optim.Lion`` once this package is installed."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.optim import Optimizer

__all__ = ["Lion"]


class Lion(Optimizer):
    """Sign of an interpolated momentum (Chen et al. 2023, arXiv:2302.06675, algorithm 2)."""

    defaults = dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)
    state = ("exp_avg",)  # zeros like the parameter

    def update(self, xp: Any, p: Any, g: Any, exp_avg: Any, *, lr: float, betas: Any, weight_decay: float) -> None:
        b1, b2 = betas
        p *= 1 - lr * weight_decay
        p -= lr * xp.sign(b1 * exp_avg + (1 - b1) * g)
        exp_avg += (1 - b2) * (g - exp_avg)


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"lion": Lion}
