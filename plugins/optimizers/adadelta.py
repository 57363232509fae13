"""Adadelta."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class Adadelta(Optimizer):
    """Steps in the units of the parameter (Zeiler 2012, arXiv:1212.5701).

    g ← g + λ p;  v ← ρ v + (1 − ρ) g²;  d = √((u + ε) / (v + ε)) g;  u ← ρ u + (1 − ρ) d²;  p ← p − lr d

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        rho: ρ.
        eps: ε.
        weight_decay: λ.
        maximize: go up the gradient instead.
        foreach, capturable, differentiable: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adadelta([w], lr=10.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9684, 1.9684], requires_grad=True)
    """

    state = ("square_avg", "acc_delta")
    scratch = 2

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize, capturable=capturable,
                foreach=foreach, differentiable=differentiable,
            ),
        )  # fmt: skip

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        v: Array,
        u: Array,
        t: Array,
        d: Array,
        *,
        lr: float,
        rho: float,
        eps: float,
        weight_decay: float,
    ) -> None:
        if weight_decay:
            g = g + weight_decay * p
        v *= rho
        xp.multiply(g, g, out=t)
        t *= 1 - rho
        v += t
        xp.add(u, eps, out=d)
        xp.sqrt(d, out=d)
        xp.add(v, eps, out=t)
        xp.sqrt(t, out=t)
        d /= t
        d *= g
        u *= rho
        xp.multiply(d, d, out=t)
        t *= 1 - rho
        u += t
        d *= lr
        p -= d


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adadelta": Adadelta}
