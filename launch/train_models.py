"""The models that ``train.py`` knows.  To add one: a function of input shape and outputs, and its row in MODELS."""

from __future__ import annotations

import math
from collections.abc import Callable

from distgrad import nn

__all__ = ["MODELS", "linear", "mlp"]


def linear(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs))


def mlp(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Two hidden layers, of 512 and 256, with dropout."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 512),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, outputs),
    )


MODELS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {"linear": linear, "mlp": mlp}
