"""RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.jit import compiled
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

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.RMSprop([w], lr=0.01)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    scratch = 2
    one_pass = 1

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
        loop = compiled(_centered_pass if centered else _momentum_pass if momentum > 0 else _pass, p)
        if loop is not None:
            numbers = map(p.dtype.type, (weight_decay, alpha, 1 - alpha, eps, lr, momentum))
            if centered:
                loop(p, g, v, arrays[0] if momentum > 0 else v, arrays[int(momentum > 0)], *numbers)
            elif momentum > 0:
                loop(p, g, v, arrays[0], *numbers)
            else:
                loop(p, g, v, *numbers)
            return
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


def _pass(p, g, v, decay, alpha, gain, eps, lr, _):  # type: ignore[no-untyped-def]
    """:meth:`RMSprop.update` element by element, the same operations in the same order: for :func:`compiled`."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        a = v[i] * alpha + (x * x) * gain
        v[i] = a
        p[i] -= x / (np.sqrt(a) + eps) * lr


def _momentum_pass(p, g, v, b, decay, alpha, gain, eps, lr, momentum):  # type: ignore[no-untyped-def]
    """:func:`_pass` with momentum."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        a = v[i] * alpha + (x * x) * gain
        v[i] = a
        x = b[i] * momentum + x / (np.sqrt(a) + eps)
        b[i] = x
        p[i] -= x * lr


def _centered_pass(p, g, v, b, mean, decay, alpha, gain, eps, lr, momentum):  # type: ignore[no-untyped-def]
    """:func:`_pass`, centered; ``b`` is not touched without momentum."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        a = v[i] * alpha + (x * x) * gain
        v[i] = a
        c = mean[i] + (x - mean[i]) * gain
        mean[i] = c
        x = x / (np.sqrt(a - c * c) + eps)
        if momentum > 0:
            x = b[i] * momentum + x
            b[i] = x
        p[i] -= x * lr


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"rmsprop": RMSprop}
