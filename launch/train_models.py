"""The models that ``train.py`` knows.  To add one: a function of input shape and classes, and its row in MODELS."""

from __future__ import annotations

import math
from collections.abc import Callable

from distgrad import nn

__all__ = ["MODELS"]


def linear(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def mlp(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Two hidden layers of 128 and 64."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


MODELS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {"linear": linear, "mlp": mlp}
