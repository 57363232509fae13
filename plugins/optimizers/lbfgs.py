"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distgrad_optimizers._strong_wolfe import Point, strong_wolfe

import distgrad
from distgrad import Tensor, hookimpl
from distgrad.optim import Optimizer


class LBFGS(Optimizer):
    """Limited-memory BFGS (Liu & Nocedal 1989, Math. Programming 45:503), as PyTorch and minFunc do it.

    d ← −H g by the two-loop recursion over the last pairs s = t d, y = change of g (kept where y·s > 1e-10);
    p ← p + t d, with t = lr (at first lr min(1, 1 / ‖g‖₁)), or found by a line search from there

    Args:
        params: the parameters; one group, on one device, real.
        lr: the step length, t.
        max_iter: as many iterations in one :meth:`step` at most.
        max_eval: as many evaluations of the closure in one :meth:`step` at most; default ``max_iter * 5 // 4``.
        tolerance_grad: ends when the gradient's largest element is at most this.
        tolerance_change: ends when the loss or every parameter changes by less.
        history_size: how many pairs are kept; each takes twice the parameters' memory.
        line_search_fn: ``"strong_wolfe"`` or None.

    Raises:
        ValueError: several groups, or a hyperparameter out of bounds.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 3) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    ...
    >>> loss = optimizer.step(closure)
    >>> torch.round(w)
    tensor([3., 3.], grad_fn=<RoundBackward0>)
    """

    elementwise = False
    gradients = "any"
    conformance = dict(
        skip={
            "no_gradient": "all parameters are one vector, as PyTorch's: one without a gradient moves along old steps",
            "dtypes": "its next direction magnifies a rounding of the last one",
            "narrow_dtypes": "a bfloat16 loss changes by less than tolerance_change, so it ends",
            "precision": "its next direction magnifies a rounding of the last one",
        }
    )

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            dict(
                lr=lr, max_iter=max_iter, max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
                tolerance_grad=tolerance_grad, tolerance_change=tolerance_change, history_size=history_size,
                line_search_fn=line_search_fn,
            ),
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError(
                f"LBFGS doesn't support per-parameter options (parameter groups), but got {len(self.param_groups)} "
                "groups; it can have one"
            )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if any(p.is_complex() for p in group["params"]):
            raise RuntimeError("LBFGS does not support complex parameters")
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, or None, but got {group['line_search_fn']!r}")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        """All gradients, one behind the other; zeros where there is none."""
        found = [distgrad.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in self._params]
        return distgrad.cat([g.reshape(-1) for g in found])

    def _move(self, t: float, d: Tensor) -> None:
        """p ← p + t d."""
        start = 0
        for p in self._params:
            p.add_(d[start : start + p.numel()].view_as(p), alpha=t)
            start += p.numel()

    @distgrad.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to ``max_iter`` iterations.

        Args:
            closure: clears the gradients, evaluates the model, calls ``backward()`` and returns the loss.

        Returns:
            The first loss.
        """
        if closure is None:
            raise TypeError("LBFGS.step() needs a closure that evaluates the model again and returns the loss")
        closure = distgrad.enable_grad()(closure)
        group, state = self.param_groups[0], self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        first = closure()
        loss, g = float(first), self._gradient()
        evaluations = 1
        state["func_evals"] += 1
        if float(g.abs().max()) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                state.update(d=g.neg(), old_dirs=[], old_stps=[], ro=[], H_diag=1)
                t = min(1.0, 1.0 / float(g.abs().sum())) * lr
            else:
                self._remember(state, g)
                state["d"] = self._direction(state, g)
                t = lr
            d = state["d"]
            state["prev_flat_grad"], before = g.clone(), loss
            state["prev_loss"], state["t"] = loss, t
            slope = float(g.dot(d))
            if slope > -tolerance:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = Point(0.0, loss, g.clone(), slope)
                longest, most = float(d.abs().max()), group["max_eval"] - evaluations
                found, used = strong_wolfe(self._along(closure, d), start, t, longest, most=most)
                t, loss, g = found.t, found.f, found.g
                self._move(t, d)
            else:
                self._move(t, d)
                if iteration != group["max_iter"]:  # else nobody would look at it
                    loss, g = float(closure()), self._gradient()
                    used = 1
            state["t"] = t
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or float(g.abs().max()) <= group["tolerance_grad"]
                or float(d.abs().max()) * abs(t) <= tolerance
                or abs(loss - before) < tolerance
            ):
                break
        return first

    def _along(self, closure: Callable[[], Any], d: Tensor) -> Callable[[float], Point]:
        """The loss at the present parameters + t d, as a function of t."""
        here = [p.clone() for p in self._params]

        def evaluate(t: float) -> Point:
            self._move(t, d)
            loss, g = float(closure()), self._gradient()
            for p, at in zip(self._params, here, strict=True):
                p.copy_(at)
            return Point(t, loss, g, float(g.dot(d)))

        return evaluate

    def _remember(self, state: dict[str, Any], g: Tensor) -> None:
        """Keep the last step and the change of gradient it made."""
        y, s = g.sub(state["prev_flat_grad"]), state["d"].mul(state["t"])
        ys = float(y.dot(s))
        if ys <= 1e-10:
            return
        kept = (state["old_dirs"], state["old_stps"], state["ro"])
        for values, value in zip(kept, (y, s, 1.0 / ys), strict=True):
            if len(values) == self.param_groups[0]["history_size"]:
                del values[0]
            values.append(value)
        state["H_diag"] = ys / float(y.dot(y))

    def _direction(self, state: dict[str, Any], g: Tensor) -> Tensor:
        """−H g (Nocedal & Wright 2006, algorithm 7.4)."""
        pairs = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
        q, along = g.neg(), []
        for y, s, rho in reversed(pairs):
            along.append(float(s.dot(q)) * float(rho))
            q.add_(y, alpha=-along[-1])
        q = q.mul(float(state["H_diag"]))
        for y, s, rho in pairs:
            q.add_(s, alpha=along.pop() - float(y.dot(q)) * float(rho))
        return q


@hookimpl
def distgrad_optimizers() -> dict[str, type]:
    return {"lbfgs": LBFGS}
