"""Adagrad."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares (Duchi et al. 2011, JMLR 12:2121).

    g ← g + λ p;  s ← s + g²;  p ← p − lr / (1 + (t − 1) η) g / (√s + ε)

    As in PyTorch, parameters given at construction have state from then on.

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        lr_decay: η.
        weight_decay: λ.
        initial_accumulator_value: s at the start.
        eps: ε.
        maximize: go up the gradient instead.
        foreach, differentiable, fused: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    state = {"sum": "initial_accumulator_value"}
    scratch = 1
    eager = True
    gradients = "any"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
                initial_accumulator_value=initial_accumulator_value, foreach=foreach, maximize=maximize,
                differentiable=differentiable, fused=fused,
            ),
        )  # fmt: skip

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        s: Array,
        t: Array,
        *,
        lr: float,
        lr_decay: float,
        weight_decay: float,
        eps: float,
        step: int,
    ) -> None:
        if weight_decay:
            g = g + weight_decay * p
        xp.multiply(g, g, out=t)
        s += t
        xp.sqrt(s, out=t)
        t += eps
        xp.divide(g, t, out=t)
        t *= lr / (1 + (step - 1) * lr_decay)
        p -= t


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adagrad": Adagrad}
