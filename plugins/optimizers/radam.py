"""RAdam."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class RAdam(Optimizer):
    """Adam whose first steps, of too uncertain a second moment, are plain momentum (Liu et al. 2019, arXiv:1908.03265).

    g ← g + λ p;  m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  ρ∞ = 2 / (1 − β₂) − 1;
    ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ);  if ρ > 5: r = √((ρ − 4)(ρ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ)) and
    p ← p − lr r m √(1 − β₂ᵗ) / ((1 − β₁ᵗ) (√v + ε)); else p ← p − lr m / (1 − β₁ᵗ)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ, added to the gradient (or, if ``decoupled_weight_decay``, p ← p (1 − lr λ) before the step).
        maximize: go up the gradient instead.
        foreach, capturable, differentiable: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000, 1.6000], requires_grad=True)
    """

    state = ("exp_avg", "exp_avg_sq")
    scratch = 2

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
                lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize, foreach=foreach,
                capturable=capturable, decoupled_weight_decay=decoupled_weight_decay, differentiable=differentiable,
            ),
        )  # fmt: skip

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
        size, rho_inf = lr / (1 - b1**step), 2 / (1 - b2) - 1
        rho = rho_inf - 2 * step * b2**step / (1 - b2**step)
        if rho > 5:
            r = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
            xp.sqrt(v, out=t)
            t += eps
            xp.divide(m, t, out=s)
            s *= size * r * (1 - b2**step) ** 0.5
        else:
            xp.multiply(m, size, out=s)
        p -= s


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"radam": RAdam}
