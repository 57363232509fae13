"""Losses with one fault each: the kit names it, and finds nothing wrong with their faultless twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import Tensor
from distgrad.autograd import Function
from distgrad.nn.modules.loss import Loss
from distgrad.testing import check_loss


def reduced(x: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return x if reduction == "none" else x.mean() if reduction == "mean" else x.sum()


class Sound(Loss):
    """log(1 + (x − y)²)."""

    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        return distgrad.log1p((input - target) ** 2)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return reduced(self.elements(input, target), self.reduction)


class WithoutReduction(distgrad.nn.Module):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return ((input - target) ** 2).mean()


class Halved(Function):
    """(x − y)², whose gradient lacks the factor 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return (x - y) ** 2

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * (x - y), None


class WrongGradient(Sound):
    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        return Halved.apply(input, target)


class IgnoresReduction(Sound):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.elements(input, target).mean()


class MeanOverTheWrongNumber(Sound):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        out = super().forward(input, target)
        return out * input.shape[-1] if self.reduction == "mean" else out


class NumPyOnTheDevice(Sound):
    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        weight = distgrad.tensor(np.tanh(target._data), device=target.device)
        return super().elements(input, target) * weight


class HostTensorOnTheDevice(Sound):
    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        return super().elements(input, target) * distgrad.ones(input.shape[-1], dtype=input.dtype)


class InFloat32(Sound):
    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        return super().elements(input.float(), target.float()).to(input.dtype)


class WritesToItsInput(Sound):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        out = super().forward(input, target)
        target.mul_(0.5)
        return out


class DependsOnTheBatch(Sound):
    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        return super().elements(input - input.mean(), target)


class AnyReduction(Sound):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return reduced(self.elements(input, target), self.reduction if self.reduction != "no such" else "mean")


class NoGradient(Sound):
    def elements(self, input: Tensor, target: Tensor) -> Tensor:
        return super().elements(input.detach(), target)


FAULTS: list[tuple[type, str, str]] = [
    (WrongGradient, "gradient", "Jacobian mismatch"),
    (IgnoresReduction, "reductions", 'reduction="none" gives ()'),
    (MeanOverTheWrongNumber, "reductions", 'but the mean of reduction="none" is'),
    (AnyReduction, "reductions", 'reduction="no such" is accepted; it must raise ValueError'),
    (NumPyOnTheDevice, "devices", "numpy.tanh was called on a device array"),
    (HostTensorOnTheDevice, "devices", "Expected all tensors to be on the same device"),
    (InFloat32, "precision", "something is computed in float32"),
    (WritesToItsInput, "inputs_kept", "a call changes its argument 1"),
    (DependsOnTheBatch, "shares", "a sample's loss depends on others"),
    (NoGradient, "constructs", "it takes none of what was tried"),
]


@pytest.mark.parametrize("cls", [Sound, WithoutReduction])
def test_the_faultless_pass(cls: type) -> None:
    report = check_loss(cls)
    assert report.ok, str(report)
    skipped = {r.check: r.why for r in report.results if r.outcome == "skipped"}
    assert skipped == ({} if cls is Sound else {"reductions": "its constructor takes no reduction"})


@pytest.mark.parametrize(("cls", "check", "words"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_the_fault_is_found(cls: type, check: str, words: str) -> None:
    report = check_loss(cls)
    (result,) = [r for r in report.results if r.check == check]
    assert result.outcome == "failed", str(report)
    assert words in result.why


@pytest.mark.parametrize(
    ("cls", "checks"),
    [
        (MeanOverTheWrongNumber, {"reductions"}),
        (AnyReduction, {"reductions"}),
        (NumPyOnTheDevice, {"devices"}),
        (WrongGradient, {"gradient"}),
    ],
)
def test_a_fault_elsewhere_is_not_reported(cls: type, checks: set[str]) -> None:
    report = check_loss(cls)
    assert set(report.failed) == checks, str(report)


def test_a_loss_says_what_it_takes_by_its_attribute() -> None:
    class OfFour(Sound):
        def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:  # type: ignore[override]
            return reduced((a - b) * (c - d), self.reduction)

    report = check_loss(OfFour)
    assert set(report.failed) == {r.check for r in report.results}
    assert "forward() takes 4 arguments; say what it takes: conformance = dict(inputs=" in report.results[0].why
    OfFour.conformance = dict(  # type: ignore[attr-defined]
        inputs=lambda rng, n: tuple(rng.standard_normal((4, n, 2)))
    )
    assert check_loss(OfFour).ok


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a subclass of distgrad.nn.Module, got <class 'int'>"):
        check_loss(int)
