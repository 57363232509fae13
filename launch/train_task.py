"""The task behind the data: what a model has to give, what its loss is called with, and how well it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import distgrad as dg
from distgrad import nn

__all__ = ["Task", "needs_more", "takes_values"]

# What stands behind a model that ends in plain numbers, by what a loss says that it takes.
LAST_LAYER: dict[str, Callable[[], nn.Module]] = {
    "probabilities": nn.Sigmoid,
    "log_probabilities": lambda: nn.LogSoftmax(dim=1),
}


def needs_more(loss: type) -> bool:
    """Whether the loss says that a model's outputs and a target do not suffice it."""
    return getattr(loss, "targets", "one_hot") == "others"


def takes_values(loss: type) -> bool:
    """Whether the loss takes measured values, by what it says of itself, and not classes alone.

    A loss of numbers is one of values unless it names class numbers or signs, probabilities as outputs, or [0, 1] as
    the targets' range.
    """
    stated = getattr(loss, "targets", "one_hot"), getattr(loss, "inputs", "outputs")
    return stated == ("one_hot", "outputs") and getattr(loss, "target_range", None) != (0.0, 1.0)


@dataclass(frozen=True)
class Task:
    """How outputs (n, outputs) are held against what the data says of n samples.

    Attributes:
        classes: how many; 0 where the data says values, float32 (n, outputs).
        single: whether one output tells two classes, the second by numbers above the first's.
        targets, inputs: what the loss takes, in its own words.
    """

    classes: int
    single: bool = False
    targets: str = "one_hot"
    inputs: str = "outputs"

    @property
    def metric(self) -> str:
        """What is measured beside the loss."""
        return "accuracy" if self.classes else "mean absolute error"

    @property
    def given(self) -> str:
        """What the loss is called with, in words."""
        if not self.classes:
            return "values"
        one = "0 or 1" if self.single else "one-hot vectors"
        return {"classes": "class numbers, int64", "signs": "1 and -1"}.get(self.targets, one)

    def shown(self, value: float) -> str:
        """A value of the metric as people read it."""
        return f"{value:.2%}" if self.classes else f"{value:.4g}"

    def completed(self, model: nn.Module) -> nn.Module:
        """The model with the last layer that the loss wants."""
        return nn.Sequential(model, LAST_LAYER[self.inputs]()) if self.inputs in LAST_LAYER else model

    def loss(self, loss: Any, outputs: dg.Tensor, labels: dg.Tensor) -> dg.Tensor:
        """The loss of outputs against labels (n,), int64, or values."""
        if not self.classes or self.targets == "classes":
            return loss(outputs, labels)
        if self.single:
            targets = labels.unsqueeze(1).to(outputs.dtype)
        else:
            classes = dg.arange(outputs.shape[1], device=labels.device)
            targets = (labels.unsqueeze(1) == classes).to(outputs.dtype)
        return loss(outputs, targets * 2 - 1 if self.targets == "signs" else targets)

    def score(self, outputs: dg.Tensor, labels: dg.Tensor) -> float:
        """The metric's sum over the samples."""
        if not self.classes:
            return (outputs.detach() - labels).abs().mean(1).sum().item()
        if self.single:
            found = outputs.squeeze(1) > (0.5 if self.inputs == "probabilities" else 0.0)
            return (found == (labels == 1)).sum().item()
        return (outputs.argmax(1) == labels).sum().item()
