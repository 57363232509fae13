"""The AdaBelief optimizer, as a plugin of distgrad: ``distgrad.optim.AdaBelief`` once this package is installed."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.optim import Optimizer

__all__ = ["AdaBelief"]


class AdaBelief(Optimizer):
    """Adam with the gradient's variance below the line (Zhuang et al. 2020, arXiv:2010.07468, algorithm 2)."""

    defaults = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    state = ("exp_avg", "exp_avg_var")  # zeros like the parameter

    def update(
        self, xp: Any, p: Any, g: Any, m: Any, s: Any, *, lr: float, betas: Any, eps: float, weight_decay: float,
        step: int,
    ) -> None:  # fmt: skip
        b1, b2 = betas
        p *= 1 - lr * weight_decay
        m += (1 - b1) * (g - m)
        s *= b2
        s += (1 - b2) * (g - m) ** 2 + eps
        p -= lr / (1 - b1**step) * m / (xp.sqrt(s / (1 - b2**step)) + eps)


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adabelief": AdaBelief}
