"""Adam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.jit import compiled
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

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.1)
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
        b1, b2 = (float(b) for b in betas)
        correction = math.sqrt(1 - b2**step)
        if weight_decay and decoupled_weight_decay:
            p *= 1 - lr * weight_decay
            weight_decay = 0
        # √(v / c²) + ε = (√v + c ε) / c: the division by c goes into the step size
        small, size = eps * correction, lr * correction / (1 - b1**step)
        loop = compiled(_amsgrad_pass if amsgrad else _pass, p)
        if loop is not None:
            numbers = (weight_decay, b1 / (1 - b1), 1 - b1, b2, 1 - b2, small, size)
            loop(p, g, m, v, *arrays[: int(amsgrad)], *map(p.dtype.type, numbers))
            return
        *most, t, s = arrays
        if weight_decay:
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
        xp.sqrt(v, out=t)
        t += small
        xp.divide(m, t, out=t)
        t *= size
        p -= t


def _pass(p, g, m, v, decay, m_decay, m_gain, v_decay, v_gain, small, size):  # type: ignore[no-untyped-def]
    """:meth:`Adam.update` element by element, the same operations in the same order: for :func:`compiled`."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        a = (m[i] * m_decay + x) * m_gain
        b = v[i] * v_decay + (x * x) * v_gain
        m[i] = a
        v[i] = b
        p[i] -= a / (np.sqrt(b) + small) * size


def _amsgrad_pass(p, g, m, v, most, decay, m_decay, m_gain, v_decay, v_gain, small, size):  # type: ignore[no-untyped-def]
    """:func:`_pass` with the largest second moment so far."""
    for i in range(p.size):
        x = g[i]
        if decay != 0:
            x = p[i] * decay + x
        a = (m[i] * m_decay + x) * m_gain
        b = v[i] * v_decay + (x * x) * v_gain
        m[i] = a
        v[i] = b
        c = most[i]
        if b > c or b != b:
            c = b
            most[i] = b
        p[i] -= a / (np.sqrt(c) + small) * size


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adam": Adam}
