"""Every elementwise optimizer with options that use all of its state, for tests that hold for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

OPTIONS: dict[str, dict[str, Any]] = {
    "ASGD": dict(lr=0.1, lambd=0.01, t0=2, weight_decay=0.1),
    "Adadelta": dict(lr=0.5, weight_decay=0.1),
    "Adagrad": dict(lr=0.1, lr_decay=0.1, initial_accumulator_value=0.1, weight_decay=0.1),
    "Adam": dict(lr=0.1, amsgrad=True, weight_decay=0.1),
    "AdamW": dict(lr=0.1, weight_decay=0.1),
    "Adamax": dict(lr=0.1, weight_decay=0.1),
    "Lion": dict(lr=0.01, weight_decay=0.1),
    "NAdam": dict(lr=0.1, weight_decay=0.1),
    "RAdam": dict(lr=0.1, betas=(0.9, 0.9), weight_decay=0.1),
    "RMSprop": dict(lr=0.1, momentum=0.9, centered=True, weight_decay=0.1),
    "Rprop": dict(lr=0.1),
    "SGD": dict(lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.1),
}
NOT_IN_PYTORCH = {"Lion"}

each = pytest.mark.parametrize("name", OPTIONS)
each_of_pytorchs = pytest.mark.parametrize("name", sorted(OPTIONS.keys() - NOT_IN_PYTORCH))


def make(t: Any, name: str, params: Any, **more: Any) -> Any:
    """The optimizer of library ``t`` with its options."""
    return getattr(t.optim, name)(params, **{**OPTIONS[name], **more})


def parameters(t: Any, dtype: str = "float64", shapes: tuple[tuple[int, ...], ...] = ((2, 3), (3,), (4,))) -> list[Any]:
    """Fresh parameters, the same in every library."""
    rng = np.random.default_rng(1)
    return [t.tensor(rng.standard_normal(s).tolist(), dtype=getattr(t, dtype), requires_grad=True) for s in shapes]


def give_gradients(params: list[Any], k: int) -> None:
    """Gradients by a backward pass; they differ from parameter to parameter and from step to step."""
    sum((p * p).sum() * (i + 1) + (p * (k + 1)).sin().sum() for i, p in enumerate(params)).backward()


def steps(optimizer: Any, params: list[Any], n: int = 3) -> None:
    """``n`` steps."""
    for k in range(n):
        optimizer.zero_grad()
        give_gradients(params, k)
        optimizer.step()
