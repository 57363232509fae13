"""Averaged stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer
from distgrad.optim.hyperparameter_bounds import BOUNDS

_ANY = (-math.inf, math.inf, True)


class ASGD(Optimizer):
    """Stochastic gradient descent that keeps an average of the parameters (Polyak & Juditsky 1992, SIAM 30:838).

    g ← g + λ p;  p ← (1 − l η) p − η g;  x ← x + μ (p − x);  then for the next step
    η ← lr / (1 + l lr t)^α and μ ← 1 / max(1, t − t₀);  x is ``state[p]["ax"]``

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate, η at the start.
        lambd: l.
        alpha: α.
        t0: t₀, the step at which averaging starts.
        weight_decay: λ.
        maximize: go up the gradient instead.
        foreach, differentiable, capturable: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.ASGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000, 1.6000], requires_grad=True)
    """

    state = ("ax",)
    numbers = {"eta": "lr", "mu": 1.0}
    exact = False
    conformance = dict(skip={"precision": "eta and mu are float32 numbers in the state, as PyTorch's"})
    scratch = 1
    bounds = {
        **BOUNDS,
        "lambd": ("lambd value", *_ANY),
        "alpha": ("alpha value", *_ANY),
        "t0": ("t0 value", *_ANY),
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, foreach=foreach, maximize=maximize,
                differentiable=differentiable, capturable=capturable,
            ),
        )  # fmt: skip

    def advance(
        self, *, step: int, eta: float, mu: float, lr: float, lambd: float, alpha: float, t0: float
    ) -> dict[str, float]:
        return {
            "rate": eta,
            "weight": mu,
            "eta": lr / (1 + lambd * lr * step) ** alpha,
            "mu": 1 / max(1, step - t0),
        }

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        ax: Array,
        t: Array,
        *,
        lambd: float,
        weight_decay: float,
        rate: float,
        weight: float,
    ) -> None:
        if weight_decay:
            g = g + weight_decay * p
        p *= 1 - lambd * rate
        xp.multiply(g, rate, out=t)
        p -= t
        if weight == 1:
            ax[...] = p
        else:
            xp.subtract(p, ax, out=t)
            t *= weight
            ax += t


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"asgd": ASGD}
