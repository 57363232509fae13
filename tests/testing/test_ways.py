"""Optimizers that are not called on blocks: the kit finds out what they take, and says what it skips and why."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad
from distgrad import enable_grad, no_grad, zeros_like
from distgrad.nn import functional
from distgrad.optim import Optimizer
from distgrad.testing import Report, Trial, check_optimizer

WHOLE = {
    "block_size": "it works on whole tensors, not on blocks of elements",
    "tensor_layout": "it works on whole tensors, not on blocks of elements",
    "sharding": "it works on whole tensors, not on blocks of elements",
}


def skipped(report: Report) -> dict[str, str]:
    return {r.check: r.why for r in report.results if r.outcome == "skipped"}


class ByNorm(Optimizer):
    """The gradient over its norm (1 at the least), with momentum."""

    defaults = dict(lr=0.1, momentum=0.5)
    state = ("kept",)
    elementwise = False

    def update(self, xp: Any, p: Any, g: Any, kept: Any, *, lr: float, momentum: float) -> None:
        kept *= momentum
        kept += g / xp.maximum(xp.sqrt((g * g).sum()), 1)
        p -= lr * kept


class OfMatrices(ByNorm):
    """Whole matrices only, as of Muon."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        if any(p.ndim != 2 for p in self.param_groups[-1]["params"]):
            raise ValueError("matrices only")


class Backtracking(Optimizer):
    """The gradient, with the step halved until the loss falls; as of LBFGS, one group and a closure."""

    def __init__(self, params: Any, lr: float = 0.25) -> None:
        super().__init__(params, dict(lr=lr))
        if len(self.param_groups) > 1:
            raise ValueError("one group only")

    @no_grad()
    def step(self, closure: Any) -> Any:  # type: ignore[override]
        with enable_grad():
            loss = closure()
        (group,) = self.param_groups
        found = [(p, p.clone(), p.grad.clone()) for p in group["params"] if p.grad is not None]
        rate = group["lr"]
        for _ in range(20):
            for p, start, slope in found:
                p.copy_(start - rate * slope)
            with enable_grad():
                if not float(closure()) > float(loss):
                    break
            rate /= 2
        return loss


class OfRows(Optimizer):
    """Row-sparse gradients only, as of SparseAdam, with momentum of the rows."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, dict(lr=lr))

    @no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not p.grad.is_sparse:
                    raise RuntimeError("sparse gradients only")
                state = self.state[p]
                if not state:
                    state["kept"] = zeros_like(p)
                state["kept"].mul_(0.5).add_(p.grad.to_dense())
                p.sub_(group["lr"] * state["kept"])
        return loss


def test_whole_tensors() -> None:
    report = check_optimizer(ByNorm)
    assert report.ok, str(report)
    assert report.note == "on tensors"
    assert skipped(report) == WHOLE


def test_matrices() -> None:
    report = check_optimizer(OfMatrices)
    assert report.ok, str(report)
    assert report.note == "on matrices"
    assert skipped(report) == {**WHOLE, "empty_parameter": "it takes matrices only"}


def test_a_closure_that_is_needed() -> None:
    report = check_optimizer(Backtracking)
    assert report.ok, str(report)
    assert skipped(report) == {
        **WHOLE,
        "param_groups": "it takes one group only: one group only",
        "late_start": "it evaluates a closure, so its step may be of all parameters together",
        "maximize": "it has no option maximize",
    }


@pytest.mark.skipif(not hasattr(functional, "embedding"), reason="no sparse gradients")
def test_sparse_gradients() -> None:
    report = check_optimizer(OfRows)
    assert report.ok, str(report)
    assert report.note == "on sparse gradients"
    assert skipped(report) == {
        **WHOLE,
        "maximize": "it has no option maximize",
        "empty_parameter": "it takes sparse gradients only",
        "strided": "it takes sparse gradients only",
        "ranks": "it takes sparse gradients, of which ranks exchange none",
        "shared_memory": "it takes sparse gradients, of which ranks exchange none",
    }


def test_what_it_takes_may_be_said_and_is_then_held_to() -> None:
    report = check_optimizer(OfMatrices, takes="tensors")
    (result,) = [r for r in report.results if r.check == "constructs"]
    assert (result.outcome, result.why.partition(" (")[0]) == ("failed", "ValueError: matrices only")
    with pytest.raises(ValueError, match="takes must be one of 'tensors', 'matrices', 'sparse gradients', got 'any'"):
        Trial(ByNorm, takes="any")


def test_settings_of_the_class_and_of_the_call() -> None:
    class Declared(ByNorm):
        conformance = dict(options={"lr": 0.2}, skip={"bowl": "it is flat"})

    report = check_optimizer(Declared)
    assert report.note == "on tensors, with lr=0.2"
    assert skipped(report)["bowl"] == "it is flat"
    report = check_optimizer(Declared, skip={}, rosenbrock={"lr": 0.1, "steps": 2})
    assert report.failed == ["rosenbrock"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        check_optimizer(Declared, colour="red")


def test_a_check_changes_nothing_outside() -> None:
    from distgrad import jit
    from distgrad.optim.update import pieces

    before = pieces.BLOCK_BYTES, jit.available, distgrad.cuda.device_count()
    check_optimizer(ByNorm)
    assert (pieces.BLOCK_BYTES, jit.available, distgrad.cuda.device_count()) == before
    assert not distgrad.distributed.is_initialized()
