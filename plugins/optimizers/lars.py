"""LARS."""

from __future__ import annotations

from typing import Any

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling, for SGD on large batches (You, Gitman & Ginsburg 2017, arXiv:1708.03888).

    r ← η ‖p‖ / (‖g‖ + λ ‖p‖ + ε), 1 where either norm is 0;  b ← μ b + lr r (g + λ p);  p ← p − b,
    or with nesterov p ← p − (lr r (g + λ p) + μ b)

    ‖·‖ are the norms of whole tensors: each parameter has its own rate.

    Args:
        params: the parameters, or groups of them; biases and normalisation layers are best put in a group with
            ``weight_decay=0, trust_coefficient=0`` (0: r is 1).
        lr: the learning rate.
        momentum: μ.
        weight_decay: λ.
        trust_coefficient: η.
        eps: ε.
        nesterov: look ahead.
        maximize: go up the gradient instead.

    >>> w = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = optim.LARS([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> bool((w < torch.tensor([3.0, 4.0])).all())
    True
    """

    counter = None
    elementwise = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, momentum=momentum, weight_decay=weight_decay, trust_coefficient=trust_coefficient, eps=eps,
                nesterov=nesterov, maximize=maximize,
            ),
        )  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["trust_coefficient"] < 0:
            raise ValueError(f"Invalid trust_coefficient: {group['trust_coefficient']}; it must be at least 0")
        if group["nesterov"] and group["momentum"] <= 0:
            raise ValueError(f"Nesterov momentum requires a momentum above 0, but momentum is {group['momentum']}")

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        *state: Array,
        lr: float,
        momentum: float,
        weight_decay: float,
        trust_coefficient: float,
        eps: float,
        nesterov: bool,
    ) -> None:
        length, slope = xp.linalg.norm(p.ravel()), xp.linalg.norm(g.ravel())
        ratio = trust_coefficient * length / (slope + weight_decay * length + eps)
        if trust_coefficient == 0:
            ratio = 1.0
        step = (g + weight_decay * p) * xp.where((length > 0) & (slope > 0), lr * ratio, lr).astype(p.dtype)
        if momentum:
            (b,) = state
            b *= momentum
            b += step
            step = step + momentum * b if nesterov else b
        p -= step


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"lars": LARS}
