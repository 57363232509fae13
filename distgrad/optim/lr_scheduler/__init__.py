"""Learning-rate schedules (the standard: ``torch.optim.lr_scheduler``).

A schedule with a rule of the shape "the present rate times a factor" can be chained with others; see each class.
"""

from __future__ import annotations

from typing import Any as _Any

from ..._names import absent as _absent
from .base import LRScheduler, _LRScheduler as _LRScheduler
from .composed import ChainedScheduler, SequentialLR
from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .cycles import CyclicLR, OneCycleLR
from .decay import ConstantLR, ExponentialLR, LinearLR, MultiStepLR, PolynomialLR, StepLR
from .functions import LambdaLR, MultiplicativeLR
from .plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):  # probes of the interpreter and of tools
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise _absent(__name__, name, "schedule", __all__)
