"""Optimizers as strangers write them from their papers, in the contract's way: nothing in them knows of ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import distgrad
from distgrad.optim import Optimizer


class Sophia(Optimizer):
    """Sophia-G (Liu et al. 2023, arXiv:2305.14342, algorithm 3): a clipped step by a diagonal of the Hessian.

    m ← β₁ m + (1 − β₁) g;  p ← p (1 − lr λ) − lr clip(m / max(ρ h, ε), 1);  every k steps :meth:`update_hessian`:
    h ← β₂ h + (1 − β₂) b ĝ², where ĝ is the gradient for labels drawn from the model, of b samples
    """

    defaults = dict(lr=1e-2, betas=(0.965, 0.99), rho=0.04, weight_decay=0.0, eps=1e-15)
    state = ("exp_avg", "hessian")

    def update(self, xp, p, g, m, h, *, lr, betas, rho, weight_decay, eps):  # type: ignore[no-untyped-def, override]
        p *= 1 - lr * weight_decay
        m += (1 - betas[0]) * (g - m)
        p -= lr * xp.clip(m / xp.maximum(rho * h, eps), -1, 1)

    @distgrad.no_grad()
    def update_hessian(self, samples: int = 10) -> None:
        for group in self.param_groups:
            b2 = group["betas"][1]
            for p in group["params"]:
                if p.grad is not None and self.state[p]:
                    h: Any = self.state[p]["hessian"]
                    h.mul_(b2).addcmul_(p.grad, p.grad, value=(1 - b2) * samples)


class ScheduleFree(Optimizer):
    """Schedule-Free SGD (Defazio et al. 2024, arXiv:2405.15682): the parameters are y in training, x in evaluation.

    c ← γ² / Σ γ²;  y ← (1 − c) y + c z + γ (β (1 − c) − 1) g;  z ← z − γ g;  y = (1 − β) z + β x
    """

    defaults = dict(lr=0.1, beta=0.9)
    state = {"z": lambda xp, p: p}
    numbers = {"weight_sum": 0.0}
    conformance = dict(rosenbrock=dict(lr=0.3, steps=6000))

    def advance(self, *, lr, weight_sum):  # type: ignore[no-untyped-def]
        return {"weight_sum": weight_sum + lr * lr, "c": lr * lr / (weight_sum + lr * lr) if lr else 0.0}

    def update(self, xp, p, g, z, *, lr, beta, c):  # type: ignore[no-untyped-def, override]
        p += c * (z - p)
        p += lr * (beta * (1 - c) - 1) * g
        z -= lr * g

    def eval(self) -> None:
        self._move(lambda beta: 1 - 1 / beta)

    def train(self) -> None:
        self._move(lambda beta: 1 - beta)

    @distgrad.no_grad()
    def _move(self, weight: Callable[[float], float]) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if self.state[p]:
                    p.lerp_(self.state[p]["z"], weight(group["beta"]))


def matrix(p: Any) -> tuple[int, int]:
    """The rows and columns of a parameter seen as a matrix."""
    rows = p.shape[0] if p.ndim else 1
    return rows, p.size // max(rows, 1)


class Shampoo(Optimizer):
    """Shampoo (Gupta et al. 2018, arXiv:1802.09568, algorithm 1); a parameter is seen as a matrix.

    L ← L + g gᵀ;  R ← R + gᵀ g;  p ← p − lr L^(−¼) g R^(−¼), where L and R begin with ε I
    """

    defaults = dict(lr=0.1, eps=1e-4)
    elementwise = False
    state = {
        "left": lambda xp, p, *, eps: eps * xp.eye(matrix(p)[0]),
        "right": lambda xp, p, *, eps: eps * xp.eye(matrix(p)[1]),
    }

    def update(self, xp, p, g, left, right, *, lr):  # type: ignore[no-untyped-def, override]
        m = g.reshape(len(left), len(right))
        left += m @ m.T
        right += m.T @ m
        p -= lr * (_root(xp, left) @ m @ _root(xp, right)).reshape(p.shape)


def _root(xp: Any, a: Any) -> Any:
    """a^(−¼) of a symmetric positive matrix."""
    values, vectors = xp.linalg.eigh(a)
    return (vectors * xp.maximum(values, 1e-30) ** -0.25) @ vectors.T


class Prodigy(Optimizer):
    """Prodigy (Mishchenko & Defazio 2023, arXiv:2306.06101, algorithm 4): Adam that finds its learning rate.

    r ← √β₂ r + (1 − √β₂) γ d² ⟨g, x₀ − p⟩;  s ← √β₂ s + (1 − √β₂) γ d² g;  m ← β₁ m + (1 − β₁) d g;
    v ← β₂ v + (1 − β₂) d² g²;  p ← p − γ d (m / (√v + d ε) + λ p);  d ← max(d, r / ‖s‖₁), over all parameters
    """

    defaults = dict(lr=1.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, d0=1e-6)
    state = {"exp_avg": 0.0, "exp_avg_sq": 0.0, "s": 0.0, "x0": lambda xp, p: p}
    common = {"d": "d0", "r": 0.0}
    sums = ("inner", "s_norm")

    def measure(self, xp, p, g, m, v, s, x0, *, lr, betas, d):  # type: ignore[no-untyped-def]
        new = (1 - betas[1] ** 0.5) * lr * d * d
        s *= betas[1] ** 0.5
        s += new * g
        return new * xp.sum(g * (x0 - p)), xp.sum(xp.abs(s))

    def conclude(self, *, inner, s_norm, betas, d, r):  # type: ignore[no-untyped-def]
        r = betas[1] ** 0.5 * r + inner
        return {"r": r, "d": max(d, r / s_norm) if s_norm else d, "now": d}

    def update(self, xp, p, g, m, v, s, x0, *, lr, betas, eps, weight_decay, now):  # type: ignore[no-untyped-def, override]
        m += (1 - betas[0]) * (now * g - m)
        v += (1 - betas[1]) * (now * now * g * g - v)
        p -= lr * now * (m / (xp.sqrt(v) + now * eps) + weight_decay * p)


class AdEMAMix(Optimizer):
    """AdEMAMix (Pagliardini et al. 2024, arXiv:2409.03137, algorithm 1): Adam with a second, slower average.

    p ← p − lr ((m₁ / (1 − β₁ᵗ) + α m₂) / (√(v / (1 − β₂ᵗ)) + ε) + λ p), where α and β₃ of m₂ grow over T steps
    """

    defaults = dict(lr=1e-3, betas=(0.9, 0.999, 0.9999), alpha=5.0, eps=1e-8, weight_decay=0.0, warmup=0)
    state = ("fast", "slow", "exp_avg_sq")

    def update(self, xp, p, g, m1, m2, v, *, lr, betas, alpha, eps, weight_decay, warmup, step):  # type: ignore[no-untyped-def, override]
        b1, b2, b3 = betas
        if step < warmup:
            t = step / warmup
            alpha *= t
            b3 = min(math.exp(math.log(b1) * math.log(b3) / ((1 - t) * math.log(b3) + t * math.log(b1))), b3)
        m1 += (1 - b1) * (g - m1)
        m2 += (1 - b3) * (g - m2)
        v += (1 - b2) * (g * g - v)
        p -= lr * ((m1 / (1 - b1**step) + alpha * m2) / (xp.sqrt(v / (1 - b2**step)) + eps) + weight_decay * p)


ALL: dict[str, tuple[type[Optimizer], tuple[str, ...]]] = {  # with the methods that a training calls before step()
    "sophia": (Sophia, ("update_hessian",)),
    "schedule_free": (ScheduleFree, ("eval", "train")),
    "shampoo": (Shampoo, ()),
    "prodigy": (Prodigy, ()),
    "ademamix": (AdEMAMix, ()),
}
