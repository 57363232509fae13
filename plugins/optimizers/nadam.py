"""NAdam."""

from __future__ import annotations

from typing import Any

import numpy as np

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ).

    g ← g + λ p;  m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  μₜ = β₁ (1 − ½ 0.96^(t ψ));
    p ← p − lr ((1 − μₜ) g / (1 − μ₁…μₜ) + μₜ₊₁ m / (1 − μ₁…μₜ₊₁)) / (√(v / (1 − β₂ᵗ)) + ε)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ, added to the gradient (or, if ``decoupled_weight_decay``, p ← p (1 − lr λ) before the step).
        momentum_decay: ψ.
        maximize: go up the gradient instead.
        foreach, capturable, differentiable: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8944, 1.8944], requires_grad=True)
    """

    state = ("exp_avg", "exp_avg_sq")
    numbers = {"mu_product": 1.0}
    exact = False
    scratch = 2

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
                decoupled_weight_decay=decoupled_weight_decay, maximize=maximize, foreach=foreach,
                capturable=capturable, differentiable=differentiable,
            ),
        )  # fmt: skip

    def advance(
        self, *, step: int, mu_product: float, lr: float, betas: tuple[float, float], momentum_decay: float
    ) -> dict[str, float]:
        mu, mu_next = (betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay)) for t in (step, step + 1))
        product = float(np.float32(mu_product) * np.float32(mu))  # in the precision in which it is kept
        return {
            "mu_product": product,
            "g_size": lr * (1 - mu) / (1 - product),
            "m_size": lr * mu_next / (1 - product * mu_next),
        }

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        m: Array,
        v: Array,
        t: Array,
        s: Array,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        decoupled_weight_decay: bool,
        step: int,
        g_size: float,
        m_size: float,
    ) -> None:
        b1, b2 = betas
        if weight_decay and decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        xp.subtract(g, m, out=t)
        t *= 1 - b1
        m += t
        v *= b2
        xp.multiply(g, g, out=t)
        t *= 1 - b2
        v += t
        xp.divide(v, 1 - b2**step, out=t)
        xp.sqrt(t, out=t)
        t += eps
        xp.multiply(g, g_size, out=s)
        s += m_size * m
        s /= t
        p -= s


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"nadam": NAdam}
