"""LAMB."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class LAMB(Optimizer):
    """Layer-wise adaptive moments, for Adam on large batches (You et al. 2019, arXiv:1904.00962, algorithm 2).

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  u ← m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε) + λ p;
    p ← p − lr φ(‖p‖) / ‖u‖ u, with φ(z) = min(z, clamp), and a ratio of 1 where either norm is 0

    ‖·‖ are the norms of whole tensors: each parameter has its own rate.

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ.
        clamp_value: φ's largest value.
        bias_correction: divide by 1 − βᵗ, as above; False leaves that out.
        maximize: go up the gradient instead.

    >>> w = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = optim.LAMB([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> bool((w < torch.tensor([3.0, 4.0])).all())
    True
    """

    elementwise = False
    state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        clamp_value: float = float("inf"),
        bias_correction: bool = True,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, clamp_value=clamp_value,
                bias_correction=bias_correction, maximize=maximize,
            ),
        )  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not group["clamp_value"] > 0:
            raise ValueError(f"Invalid clamp_value: {group['clamp_value']}; it must be above 0")

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        m: Array,
        v: Array,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        clamp_value: float,
        bias_correction: bool,
        step: int,
    ) -> None:
        b1, b2 = betas
        m += (g - m) * (1 - b1)
        v += (abs(g) ** 2 - v) * (1 - b2)
        c1, c2 = (1 - b1**step, 1 - b2**step) if bias_correction else (1.0, 1.0)
        u = (m / c1) / (xp.sqrt(v / c2) + eps) + weight_decay * p
        length, size = xp.linalg.norm(p.ravel()), xp.linalg.norm(u.ravel())
        moved = (length > 0) & (size > 0)
        ratio = xp.where(moved, xp.minimum(length, clamp_value) / xp.where(moved, size, 1), 1)
        p -= (lr * ratio).astype(p.dtype) * u


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"lamb": LAMB}
