"""Adafactor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import distgrad
from distgrad import Tensor, hookimpl
from distgrad.optim import Optimizer


class Adafactor(Optimizer):
    """Adam's second moment in two vectors instead of a matrix (Shazeer & Stern 2018, arXiv:1804.04235).

    w ← tᵝ;  ρ ← min(lr, 1 / √t);  α ← max(ε₂, rms(p)) ρ;  p ← p (1 − lr λ);
    R ← (1 − w) R + w mean of g² over columns;  C likewise over rows;  V ← R C / max(mean of R, ε₁)
    (a vector keeps V itself);  u ← g / √max(V, ε₁²);  p ← p − α u / max(1, rms(u) / d)

    Args:
        params: the parameters, or groups of them.
        lr: the largest relative step.
        beta2_decay: β, at most 0.
        eps: ε₁ (None: the dtype's machine epsilon) and ε₂.
        d: the update's largest root mean square, at least 1.
        weight_decay: λ, decoupled.
        foreach: accepted for PyTorch's signature; one implementation serves all.
        maximize: go up the gradient instead.

    >>> w = torch.ones(2, 3, requires_grad=True)
    >>> optimizer = optim.Adafactor([w], lr=0.1)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> bool((w < 1).all())
    True
    """

    elementwise = False
    bounds = {
        "lr": ("learning rate", 0.0, math.inf, True),
        "weight_decay": ("weight_decay value", 0.0, math.inf, True),
        "d": ("clipping threshold d", 1.0, math.inf, True),
        "beta2_decay": ("beta2_decay value", -math.inf, 0.0, True),
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay, foreach=foreach,
                maximize=maximize,
            ),
        )  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        eps1, eps2 = group["eps"]
        if (eps1 is not None and not eps1 >= 0) or not eps2 >= 0:
            raise ValueError(f"Invalid epsilon values: {group['eps']}; they must be at least 0 (the first may be None)")
        if any(p.is_complex() for p in group["params"]):
            raise RuntimeError("Adafactor does not support complex parameters")

    @distgrad.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; see :meth:`distgrad.optim.Optimizer.step`."""
        loss = None
        if closure is not None:
            with distgrad.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, -p.grad if group["maximize"] else p.grad, self._state_of(p), group)
        return loss

    def _state_of(self, p: Tensor) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            state["step"] = distgrad.tensor(0.0)
            if p.ndim > 1:
                state["row_var"] = p.new_zeros((*p.shape[:-1], 1))
                state["col_var"] = p.new_zeros((*p.shape[:-2], 1, p.shape[-1]))
            else:
                state["variance"] = distgrad.zeros_like(p)
        return state

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        t, lr, (eps1, eps2) = float(state["step"]), float(group["lr"]), group["eps"]
        eps1 = distgrad.finfo(p.dtype).eps if eps1 is None else eps1
        alpha = max(eps2, _rms(p)) * min(lr, 1 / math.sqrt(t))
        share = t ** group["beta2_decay"]
        if group["weight_decay"] != 0:
            p.mul_(1 - lr * group["weight_decay"])
        if p.ndim > 1:
            row, column = state["row_var"], state["col_var"]
            squares = g * g
            row.add_(squares.mean(-1, keepdim=True) - row, alpha=share)
            column.add_(squares.mean(-2, keepdim=True) - column, alpha=share)
            second = (row @ column) / row.mean(-2, keepdim=True).clamp(min=eps1)
        else:
            second = state["variance"].add_(g * g - state["variance"], alpha=share)
        u = g * second.clamp(min=eps1 * eps1).rsqrt()
        p.add_(u, alpha=-alpha / max(1.0, _rms(u) / group["d"]))


def _rms(x: Tensor) -> float:
    """The root mean square of all elements."""
    return float(x.norm()) / math.sqrt(x.numel() or 1)


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"adafactor": Adafactor}
