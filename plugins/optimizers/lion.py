"""Lion."""

from __future__ import annotations

from distgrad import hookimpl
from distgrad.backend.protocol import Array, ArrayModule
from distgrad.optim import Optimizer


class Lion(Optimizer):
    """The sign of an interpolated momentum (Chen et al. 2023, arXiv:2302.06675, algorithm 2).

    p ← p (1 − lr λ);  p ← p − lr sign(β₁ m + (1 − β₁) g);  m ← β₂ m + (1 − β₂) g

    PyTorch has no Lion; names and defaults are those of the authors' implementation.

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate; 3 to 10 times smaller than Adam's, say the authors.
        betas: β₁ and β₂.
        weight_decay: λ; correspondingly larger than AdamW's.
        maximize: go up the gradient instead.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.Lion([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    defaults = dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)
    state = ("exp_avg",)

    def update(
        self,
        xp: ArrayModule,
        p: Array,
        g: Array,
        m: Array,
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        b1, b2 = betas
        if weight_decay:
            p *= 1 - lr * weight_decay
        p -= lr * xp.sign(b1 * m + (1 - b1) * g)
        m += (1 - b2) * (g - m)


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"lion": Lion}
