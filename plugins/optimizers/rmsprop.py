"""RMSprop."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend import Array, ArrayModule
from distgrad.optim import Optimizer


class RMSprop(Optimizer):
    """Gradients divided by their running root mean square (Hinton 2012, lecture 6e; Graves 2013, arXiv:1308.0850).

    g ← g + λ p;  v ← α v + (1 − α) g²;  d ← √v + ε, or √(v − ḡ²) + ε with ḡ ← α ḡ + (1 − α) g if centered;
    p ← p − lr g / d, or b ← μ b + g / d and p ← p − lr b with momentum

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        alpha: α, the smoothing constant.
        eps: ε.
        weight_decay: λ.
        momentum: μ.
        centered: divide by the standard deviation instead.
        maximize: go up the gradient instead.
        capturable, foreach, differentiable: accepted for PyTorch's signature; one implementation serves all.
    """

    scratch = 2

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered, weight_decay=weight_decay,
                capturable=capturable, foreach=foreach, maximize=maximize, differentiable=differentiable,
            ),
        )  # fmt: skip

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return tuple(names)

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        v: Array,
        *arrays: Array,
        lr: float,
        alpha: float,
        eps: float,
        weight_decay: float,
        momentum: float,
        centered: bool,
    ) -> None:
        *more, t, s = arrays
        if weight_decay:
            g = xp.add(xp.multiply(p, weight_decay, out=s), g, out=s)
        v *= alpha
        xp.multiply(g, g, out=t)
        t *= 1 - alpha
        v += t
        if centered:
            mean = more[-1]
            mean += (g - mean) * (1 - alpha)
            xp.sqrt(v - mean * mean, out=t)
        else:
            xp.sqrt(v, out=t)
        t += eps
        xp.divide(g, t, out=t)
        if momentum > 0:
            b = more[0]
            b *= momentum
            b += t
            xp.multiply(b, lr, out=t)
        else:
            t *= lr
        p -= t


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"rmsprop": RMSprop}
