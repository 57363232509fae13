"""How a loss is called by its checks: the inputs it takes, in any dtype and place."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import distgrad
from distgrad import Tensor, nn

from .report import CheckFailed, demand

__all__ = ["INPUTS", "LossTrial", "MakeInputs", "SAMPLES", "TARGETS"]

MakeInputs = Callable[[np.random.Generator, int], tuple[np.ndarray, ...]]

SAMPLES = 6
TARGETS = {"target", "targets", "label", "labels", "y"}  # names of arguments that need no gradient


def _simplex(rng: np.random.Generator, n: int) -> np.ndarray:
    raw = rng.uniform(0.1, 1, (n, 4))
    return raw / raw.sum(1, keepdims=True)


def _signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape)


# What is tried, in this order, until the loss takes it and is finite: for so many arguments, a name, and n samples.
INPUTS: dict[int, dict[str, MakeInputs]] = {
    2: {
        "numbers": lambda rng, n: (rng.standard_normal((n, 4)), rng.standard_normal((n, 4))),
        "probabilities": lambda rng, n: (rng.uniform(0.1, 0.9, (n, 4)), rng.uniform(0.1, 0.9, (n, 4))),
        "log-probabilities and classes": lambda rng, n: (np.log(_simplex(rng, n)), rng.integers(0, 4, n)),
        "numbers and signs": lambda rng, n: (rng.standard_normal((n, 4)), _signs(rng, n, 4)),
    },
    3: {
        "two lists of vectors, and signs": lambda rng, n: (
            rng.standard_normal((n, 4)), rng.standard_normal((n, 4)), _signs(rng, n),
        ),
        "three lists of vectors": lambda rng, n: (
            rng.standard_normal((n, 4)), rng.standard_normal((n, 4)), rng.standard_normal((n, 4)),
        ),
        "two lists of numbers, and signs": lambda rng, n: (
            rng.standard_normal(n), rng.standard_normal(n), _signs(rng, n),
        ),
        "numbers, numbers and variances": lambda rng, n: (
            rng.standard_normal((n, 4)), rng.standard_normal((n, 4)), rng.uniform(0.5, 2, (n, 4)),
        ),
    },
}  # fmt: skip


@dataclasses.dataclass
class LossTrial:
    """A loss's class, and the settings to check it by.

    Args:
        cls: the class.
        options: arguments of its constructor for every check.
        inputs: ``inputs(rng, n)`` makes the arguments of a call as float64 and int64 arrays, of n samples each along
            the first dimension; None: found by trying.  They should lie off the loss's kinks.
        skip: names of checks that do not apply, each with the reason.
    """

    cls: type
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: MakeInputs | None = None
    skip: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.cls, type) and issubclass(self.cls, nn.Module)):
            raise TypeError(f"a loss is a subclass of distgrad.nn.Module, got {self.cls!r}")

    def note(self) -> str:
        """How it was checked."""
        return f"on {self.way[0]}"

    @functools.cached_property
    def way(self) -> tuple[str, MakeInputs]:
        """What it is called with: as told, or the first of :data:`INPUTS` that it takes and is finite on."""
        if self.inputs is not None:
            return "inputs of its own", self.inputs
        candidates = INPUTS.get(len(self.names), {})
        if not candidates:
            raise CheckFailed(f"forward() takes {len(self.names)} arguments; {_TELL}")
        refusals = []
        for name, make in candidates.items():
            try:
                arguments = self.arguments(make=make)
                value = self.make()(*arguments)
                value.sum().backward()
                demand(np.isfinite(value.numpy(force=True)).all(), "not finite")
            except Exception as error:
                refusals.append(f"{name}: {type(error).__name__}: {error}")
            else:
                return name, make
        raise CheckFailed(f"it takes none of what was tried ({'; '.join(refusals)}); {_TELL}")

    @functools.cached_property
    def names(self) -> list[str]:
        """The arguments that forward() needs."""
        parameters = list(inspect.signature(self.cls.forward).parameters.values())[1:]  # type: ignore[attr-defined]
        return [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]

    @property
    def reductions(self) -> tuple[str, ...]:
        """Those it offers, ``()`` where it has no such option."""
        taken = inspect.signature(self.cls.__init__).parameters  # type: ignore[misc]
        return ("none", "mean", "sum") if "reduction" in taken else ()

    def make(self, **options: Any) -> nn.Module:
        """The loss."""
        found: nn.Module = self.cls(**{**self.options, **options})
        return found

    def each(self) -> Iterator[nn.Module]:
        """The loss with every reduction that it offers."""
        if not self.reductions:
            yield self.make()
        for reduction in self.reductions:
            yield self.make(reduction=reduction)

    def arrays(self, n: int = SAMPLES, make: MakeInputs | None = None) -> tuple[np.ndarray, ...]:
        return (make or self.way[1])(np.random.default_rng(3), n)

    def arguments(
        self, dtype: Any = distgrad.float64, device: str = "cpu", rows: slice = slice(None), nudge: float = 0.0,
        make: MakeInputs | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """The arguments of a call; those that a gradient is asked for require it."""
        found = []
        for i, array in enumerate(self.arrays(make=make)):
            array = array[rows]
            if array.dtype.kind != "f":
                found.append(distgrad.tensor(array, device=device))
                continue
            differentiable = i >= len(self.names) or self.names[i] not in TARGETS
            t = distgrad.tensor(array * (1 + nudge) if differentiable else array, dtype=dtype, device=device)
            found.append(t.requires_grad_(differentiable))
        return found


_TELL = (
    "say what it takes: conformance = dict(inputs=lambda rng, n: (rng.standard_normal((n, 4)), …)) in the class makes "
    "the arguments of a call with n samples"
)
