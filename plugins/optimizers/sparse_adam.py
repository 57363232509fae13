"""Adam for gradients of which most rows are zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from distgrad import Tensor, backend, enable_grad, hookimpl, zeros_like
from distgrad.optim import Optimizer


class SparseAdam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) of the rows that a sparse gradient names, and of no other.

    For these rows:  m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;
    p ← p − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε),  t the number of steps of the whole tensor.

    For parameters whose gradient is sparse, as ``nn.Embedding(sparse=True)`` makes them.  A row that a step does not
    name keeps its value and its moments, where Adam would decay them.

    Args:
        params: the parameters, or groups of them.
        lr: above 0.
        betas: β₁, β₂ in [0, 1).
        eps: ε, above 0.
        maximize: go up the gradient instead.

    Raises:
        RuntimeError: from ``step()``, for a dense gradient.
        ValueError: a hyperparameter out of range, a complex or a sparse parameter.

    >>> table = nn.Embedding(3, 2, sparse=True)
    >>> optimizer = optim.SparseAdam(table.parameters(), lr=0.1)
    >>> before = table.weight.detach().clone()
    >>> table(torch.tensor([1])).sum().backward()
    >>> optimizer.step()
    >>> (table.weight != before).any(1)
    tensor([False,  True, False])
    """

    gradients = "sparse"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, maximize=maximize))

    def check(self, group: dict[str, Any]) -> None:
        lr = group["lr"]
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"Tensor lr must be 1-element, got {lr.numel()} elements")
        for name, words in (("lr", "learning rate"), ("eps", "epsilon value")):
            if not float(group[name]) > 0.0:
                raise ValueError(f"Invalid {words}: {group[name]}; it must be above 0")
        super().check(group)
        for kind, wrong in (
            ("Sparse", [k for k, p in enumerate(group["params"]) if p.is_sparse]),
            ("Complex", [k for k, p in enumerate(group["params"]) if p.is_complex()]),
        ):
            if wrong:
                raise ValueError(f"{kind} params at indices {wrong}: SparseAdam requires dense, real parameter tensors")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            sparse = [p for p in group["params"] if p.grad is not None]
            if not all(p.grad.is_sparse for p in sparse):
                raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
            for p in sparse:
                self._update(p, self.state[p], group)
        return loss

    def _update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, exp_avg=zeros_like(p.detach()), exp_avg_sq=zeros_like(p.detach()))
        state["step"] += 1
        assert p.grad is not None
        grad = p.grad.coalesce()  # the update is not linear, so a row must come once
        if not grad._nnz():
            return
        t, (b1, b2) = int(state["step"]), group["betas"]
        scale = float(group["lr"]) * math.sqrt(1 - b2**t) / (1 - b1**t)
        with backend.where_it_lies(p._data):
            rows, g = tuple(grad._data.indices), grad._data.values
            xp = backend.array_module(g)
            if group["maximize"]:
                g = -g
            first, second = state["exp_avg"]._data, state["exp_avg_sq"]._data
            m, v = first[rows], second[rows]
            m += (g - m) * (1 - b1)
            v += (g * g - v) * (1 - b2)
            first[rows], second[rows] = m, v
            p._data[rows] -= scale * (m / (xp.sqrt(v) + group["eps"]))
        p._bump()


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"sparse_adam": SparseAdam}
