"""Adamax."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class Adamax(Optimizer):
    """Adam with the infinity norm for the second moment (Kingma & Ba 2014, arXiv:1412.6980, algorithm 2).

    g ← g + λ p;  m ← β₁ m + (1 − β₁) g;  u ← max(β₂ u, |g| + ε);  p ← p − lr m / ((1 − β₁ᵗ) u)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ.
        maximize: go up the gradient instead.
        foreach, differentiable, capturable: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    state = ("exp_avg", "exp_inf")
    scratch = 1

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
                differentiable=differentiable, capturable=capturable,
            ),
        )  # fmt: skip

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        m: Array,
        u: Array,
        t: Array,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        step: int,
    ) -> None:
        b1, b2 = betas
        if weight_decay:
            g = g + weight_decay * p
        xp.subtract(g, m, out=t)
        t *= 1 - b1
        m += t
        u *= b2
        xp.abs(g, out=t)
        t += eps
        xp.maximum(u, t, out=u)
        xp.divide(m, u, out=t)
        t *= lr / (1 - b1**step)
        p -= t


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adamax": Adamax}
