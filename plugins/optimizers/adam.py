"""Adam."""

from __future__ import annotations

import math
from typing import Any

from distgrad import hookimpl
from distgrad.backend import Array, ArrayModule
from distgrad.optim import Optimizer


class Adam(Optimizer):
    """Adaptive moments (Kingma & Ba 2014, arXiv:1412.6980); amsgrad by Reddi et al. 2018 (arXiv:1904.09237).

    g ← g + λ p;  m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;
    p ← p − lr m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε), with v's largest value so far if amsgrad

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ, added to the gradient (or, if ``decoupled_weight_decay``, p ← p (1 − lr λ) before the step).
        amsgrad: divide by the largest second moment so far.
        maximize: go up the gradient instead.
        foreach, capturable, differentiable, fused: accepted for PyTorch's signature; one implementation serves all.
    """

    scratch = 2

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize,
                foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused,
                decoupled_weight_decay=decoupled_weight_decay,
            ),
        )  # fmt: skip

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        m: Array,
        v: Array,
        *arrays: Array,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        amsgrad: bool,
        decoupled_weight_decay: bool,
        step: int,
    ) -> None:
        *most, t, s = arrays
        b1, b2 = (float(b) for b in betas)
        if weight_decay:
            if decoupled_weight_decay:
                p *= 1 - lr * weight_decay
            else:
                g = xp.add(xp.multiply(p, weight_decay, out=s), g, out=s)
        m *= b1 / (1 - b1)  # then, in place throughout: (β₁ / (1 − β₁) m + g) (1 − β₁)
        m += g
        m *= 1 - b1
        v *= b2
        xp.multiply(g, g, out=t)
        t *= 1 - b2
        v += t
        if amsgrad:
            v = xp.maximum(most[0], v, out=most[0])
        # √(v / c²) + ε = (√v + c ε) / c: the division by c goes into the step size
        correction = math.sqrt(1 - b2**step)
        xp.sqrt(v, out=t)
        t += eps * correction
        xp.divide(m, t, out=t)
        t *= lr * correction / (1 - b1**step)
        p -= t


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adam": Adam}
