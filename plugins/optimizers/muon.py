"""Muon."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer

ADJUSTMENTS = (None, "original", "match_rms_adamw")


class Muon(Optimizer):
    """Momentum, orthogonalised: for matrices (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

    b ← μ b + (1 − μ) g;  u ← (1 − μ) g + μ b if nesterov, else b;  p ← p (1 − lr λ) − lr s NS(u)

    NS(u) is close to U Vᵀ of u's singular value decomposition: X ← u / max(‖u‖, ε), then k times
    X ← a X + (b A + c A²) X with A = X Xᵀ, in bfloat16.  s is √max(1, rows / columns), or 0.2 √max(rows, columns) for
    ``adjust_lr_fn="match_rms_adamw"`` (Liu et al. 2025, arXiv:2502.16982).

    Args:
        params: matrices, or groups of them; give biases, embeddings and the like to another optimizer.
        lr: the learning rate.
        weight_decay: λ, decoupled.
        momentum: μ.
        nesterov: look ahead.
        ns_coefficients: a, b and c.
        eps: ε.
        ns_steps: k, below 100.
        adjust_lr_fn: how the step depends on the shape: ``"original"`` (the same as None) or ``"match_rms_adamw"``.

    Raises:
        ValueError: a parameter that is no matrix, or a hyperparameter out of bounds.

    >>> w = torch.eye(2, requires_grad=True)
    >>> optimizer = optim.Muon([w], lr=0.1)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> w.shape
    torch.Size([2, 2])
    """

    counter = None
    elementwise = False
    state = ("momentum_buffer",)
    conformance = dict(
        skip={
            "dtypes": "the direction is computed in bfloat16, as PyTorch's",
            "precision": "the direction is computed in bfloat16, as PyTorch's",
        }
    )

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov,
                ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn,
            ),
        )  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["adjust_lr_fn"] not in ADJUSTMENTS:
            raise ValueError(
                f"Adjust learning rate function {group['adjust_lr_fn']} is not supported; it must be one of "
                f"{', '.join(map(repr, ADJUSTMENTS))}"
            )
        if not 0 <= group["ns_steps"] < 100:
            raise ValueError(f"Invalid ns_steps value: {group['ns_steps']}; it must be at least 0 and less than 100")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"ns_coefficients must be exactly 3 values, but got {group['ns_coefficients']}")
        for p in group["params"]:
            if p.ndim != 2:
                raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")
            if p.is_complex():
                raise RuntimeError("Muon does not support complex parameters")

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        b: Array,
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        ns_coefficients: tuple[float, float, float],
        eps: float,
        ns_steps: int,
        adjust_lr_fn: str | None,
    ) -> None:
        b += (g - b) * (1 - momentum)
        u = g + (b - g) * momentum if nesterov else b
        rows, columns = p.shape
        scale = (
            0.2 * math.sqrt(max(rows, columns))
            if adjust_lr_fn == "match_rms_adamw"
            else math.sqrt(max(1, rows / columns))
        )
        direction = _orthogonal(xp, u, ns_coefficients, ns_steps, eps)
        p *= 1 - lr * weight_decay
        p -= (lr * scale) * direction.astype(p.dtype)


def _orthogonal(xp: ArrayModule, u: Array, coefficients: tuple[float, float, float], steps: int, eps: float) -> Array:
    """Newton and Schulz's iteration; float32 holding bfloat16 values."""
    a, b, c = coefficients
    x = _bfloat16(xp, u.astype(np.float32))
    tall = len(x) > x.shape[1]
    if tall:
        x = x.T
    norm = _bfloat16(xp, xp.sqrt(xp.sum(x * x)).reshape(1))
    x = _bfloat16(xp, x / xp.maximum(norm, _bfloat16(xp, xp.full(1, eps, np.float32))))
    for _ in range(steps):
        square = _bfloat16(xp, x @ x.T)
        polynomial = _bfloat16(xp, _fused(b, square, np.float32(c) * (square @ square)))
        x = _bfloat16(xp, _fused(a, x, polynomial @ x))
    return x.T if tall else x


def _fused(a: float, x: Array, y: Array) -> Array:
    """``a x + y`` of float32, rounded once: PyTorch's order of operations, down to the bits on small matrices."""
    return (np.float64(np.float32(a)) * x.astype(np.float64) + y).astype(np.float32)


def _bfloat16(xp: ArrayModule, x: Array) -> Array:
    """Float32 ``x`` rounded to bfloat16's 8 bits, half to even; what neither NumPy nor CuPy computes in."""
    bits = xp.ascontiguousarray(x).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) & 0xFFFF0000).astype(np.uint32, copy=False).view(np.float32)


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"muon": Muon}
