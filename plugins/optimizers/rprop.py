"""Rprop."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class Rprop(Optimizer):
    """A step size for each element, by the signs of successive gradients (Riedmiller & Braun 1993, ICNN 586).

    h ← min(η₊ h, h_max) where g has the sign of the gradient before; where it has the other, h ← max(η₋ h, h_min) and
    g ← 0;  p ← p − h sign(g)

    Args:
        params: the parameters, or groups of them.
        lr: h at the start.
        etas: η₋ and η₊.
        step_sizes: h_min and h_max.
        maximize: go up the gradient instead.
        capturable, foreach, differentiable: accepted for PyTorch's signature; one implementation serves all.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Rprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    state = {"prev": 0.0, "step_size": "lr"}
    scratch = 2

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, etas=etas, step_sizes=step_sizes, foreach=foreach, maximize=maximize,
                differentiable=differentiable, capturable=capturable,
            ),
        )  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        (minus, plus), (low, high) = group["etas"], group["step_sizes"]
        if not 0 < minus < 1 < plus:
            raise ValueError(f"Invalid eta values: {minus}, {plus}; they must be 0 < η₋ < 1 < η₊")
        if not low <= high:
            raise ValueError(f"Invalid step_sizes: {low}, {high}; the first must be at most the second")

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        prev: Array,
        size: Array,
        t: Array,
        s: Array,
        *,
        etas: tuple[float, float],
        step_sizes: tuple[float, float],
    ) -> None:
        minus, plus = etas
        xp.multiply(g, prev, out=s)
        turned = s < 0
        t.fill(1)
        xp.copyto(t, plus, where=s > 0)
        xp.copyto(t, minus, where=turned)
        size *= t
        xp.clip(size, *step_sizes, out=size)
        prev[...] = g
        xp.copyto(prev, 0, where=turned)
        xp.sign(prev, out=t)
        t *= size
        p -= t


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"rprop": Rprop}
