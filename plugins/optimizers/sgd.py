"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.jit import compiled
from distgrad.optim import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's (Sutskever et al. 2013, PMLR 28:1139).

    g ← g + λ p;  b ← g at the first step, then μ b + (1 − τ) g;  g ← g + μ b if nesterov, else b;  p ← p − lr g

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        momentum: μ.
        dampening: τ.
        weight_decay: λ.
        nesterov: look ahead; needs μ > 0 and τ = 0.
        maximize: go up the gradient instead.
        foreach, differentiable, fused: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000, 1.6000], requires_grad=True)
    """

    counter = None
    gradients = "any"
    scratch = 1
    one_pass = 4096

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
                maximize=maximize, foreach=foreach, differentiable=differentiable, fused=fused,
            ),
        )  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        *arrays: Array,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        step: int,
    ) -> None:
        # scratch is there exactly where NumPy is to do it
        loop = compiled(_momentum_pass if momentum else _pass, p) if len(arrays) == bool(momentum) else None
        if loop is not None:
            number = p.dtype.type
            if momentum:
                numbers = map(number, (weight_decay, momentum, 1 - dampening, lr))
                loop(p, g, arrays[0], *numbers, step == 1, nesterov)
            else:
                loop(p, g, number(weight_decay), number(lr))
            return
        t = arrays[-1]
        if weight_decay:
            xp.multiply(p, weight_decay, out=t)
            t += g
            g = t
        if momentum:
            b = arrays[0]
            if step == 1:
                b[...] = g
            else:
                b *= momentum
                if dampening:
                    g = g * (1 - dampening) if g is not t else xp.multiply(t, 1 - dampening, out=t)
                b += g
            if nesterov:
                g = g + momentum * b
            else:
                g = b
        xp.multiply(g, lr, out=t)
        p -= t


def _pass(p, g, decay, lr):  # type: ignore[no-untyped-def]
    """:meth:`SGD.update` element by element, the same operations in the same order: for :func:`compiled`."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        p[i] -= x * lr


def _momentum_pass(p, g, b, decay, momentum, gain, lr, first, nesterov):  # type: ignore[no-untyped-def]
    """:func:`_pass` with momentum."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        y = x if first else b[i] * momentum + x * gain
        b[i] = y
        if nesterov:
            y = x + y * momentum
        p[i] -= y * lr


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"sgd": SGD}
