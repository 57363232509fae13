"""Checks of losses."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import distgrad
from distgrad import Tensor, backend, nn
from distgrad.autograd import gradcheck, gradgradcheck

from .double import device_double
from .report import CheckFailed, NotApplicable, check, demand
from .trial import must_raise

__all__ = ["INPUTS", "LossTrial", "MakeInputs"]

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
        "two lists of numbers, and signs": lambda rng, n: (
            rng.standard_normal(n), rng.standard_normal(n), _signs(rng, n),
        ),
        "numbers, numbers and variances": lambda rng, n: (
            rng.standard_normal((n, 4)), rng.standard_normal((n, 4)), rng.uniform(0.5, 2, (n, 4)),
        ),
        "three lists of vectors": lambda rng, n: (
            rng.standard_normal((n, 4)), rng.standard_normal((n, 4)), rng.standard_normal((n, 4)),
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


def _numbers(loss: nn.Module, arguments: list[Tensor]) -> np.ndarray:
    """The loss and its gradients, as one row on the host."""
    value = loss(*arguments)
    value.sum().backward()
    found = [value.detach(), *(t.grad for t in arguments if t.requires_grad and t.grad is not None)]
    return np.concatenate([backend.to_host(t._data).reshape(-1).astype(np.float64) for t in found])


@check("loss")
def constructs(trial: LossTrial) -> None:
    """It is made from its defaults, prints itself, and gives a tensor."""
    loss = trial.make()
    demand(repr(loss).startswith(trial.cls.__name__), f"repr() is {loss!r}, which does not begin with the class's name")
    value = loss(*trial.arguments())
    demand(isinstance(value, Tensor), f"a call gives {type(value).__name__}, not a Tensor")
    demand(value.requires_grad, "what a call gives has no gradient; compute with tensors, not with their arrays")
    wanted = tuple(value.shape) == () or bool(trial.reductions)
    demand(wanted, f"a call gives the shape {tuple(value.shape)}; a loss is one number unless asked otherwise")


@check("loss")
def reductions(trial: LossTrial) -> None:
    """reduction="mean" and "sum" are those of "none", and another is a ValueError."""
    if not trial.reductions:
        raise NotApplicable("its constructor takes no reduction")
    arguments = trial.arguments()
    each, mean, total = (trial.make(reduction=r)(*arguments) for r in ("none", "mean", "sum"))
    demand(len(each.shape) > 0 and len(each) == SAMPLES, f'reduction="none" gives {tuple(each.shape)}, no sample apart')
    demand(tuple(mean.shape) == tuple(total.shape) == (), 'reduction="mean" or "sum" does not give one number')
    for name, got, want in (("mean", mean, each.mean()), ("sum", total, each.sum())):
        demand(
            np.isclose(got.item(), want.item(), rtol=1e-12, atol=1e-14),
            f'reduction="{name}" gives {got.item():.6g}, but the {name} of reduction="none" is {want.item():.6g}',
        )
    must_raise(ValueError, lambda: trial.make(reduction="no such")(*arguments), 'reduction="no such"')


@check("loss")
def gradient(trial: LossTrial) -> None:
    """Its gradient is that of finite differences."""
    for loss in trial.each():
        gradcheck(loss, trial.arguments())


@check("loss")
def second_derivative(trial: LossTrial) -> None:
    """So is the gradient of its gradient."""
    for loss in trial.each():
        gradgradcheck(loss, trial.arguments())


@check("loss")
def dtypes(trial: LossTrial) -> None:
    """It keeps float32 and float64, and the two agree to float32's precision."""
    for loss in trial.each():
        wide = _numbers(loss, trial.arguments())
        narrow = trial.arguments(distgrad.float32)
        value = loss(*narrow)
        demand(value.dtype == distgrad.float32, f"of float32 it makes {value.dtype}")
        demand(loss(*trial.arguments()).dtype == distgrad.float64, "of float64 it makes another dtype")
        worst = np.abs(_numbers(loss, narrow) - wide).max()
        demand(worst < 1e-4 * max(1, np.abs(wide).max()), f"in float32 it is up to {worst:.1g} from float64's values")


@check("loss")
def narrow_dtypes(trial: LossTrial) -> None:
    """In float16 and bfloat16 it is finite."""
    for dtype in (distgrad.float16, distgrad.bfloat16):
        arguments = trial.arguments(dtype)
        value = trial.make()(*arguments)
        demand(value.dtype == dtype, f"of {dtype} it makes {value.dtype}")
        demand(np.isfinite(_numbers(trial.make(), arguments)).all(), f"in {dtype} the loss or its gradient is not finite")


@check("loss")
def precision(trial: LossTrial) -> None:
    """float64 is computed in float64: changes of 1e-8 in what goes in come out in proportion."""
    for loss in trial.each():
        a, b, c = (_numbers(loss, trial.arguments(nudge=nudge)) for nudge in (0.0, 1e-8, 2e-8))
        off = np.abs((c - a) - 2 * (b - a)) / np.maximum(np.abs(a), 1)
        demand(off.max() < 1e-11, f"float64 is rounded by up to {off.max():.1g}: something is computed in float32")


@check("loss")
def inputs_kept(trial: LossTrial) -> None:
    """It does not write to what it is given."""
    arguments = trial.arguments()
    before = [t.numpy(force=True).copy() for t in arguments]
    for loss in trial.each():
        loss(*arguments).sum().backward()
    for i, (old, t) in enumerate(zip(before, arguments, strict=True)):
        demand((old == t.numpy(force=True)).all(), f"a call changes its argument {i}")


@check("loss")
def shares(trial: LossTrial) -> None:
    """The loss of a batch is that of its shares, weighted by samples: data parallel training is exact."""
    cut = 2
    weights: Mapping[str, tuple[float, float]] = {
        "mean": (cut / SAMPLES, 1 - cut / SAMPLES), "sum": (1.0, 1.0),
    }  # fmt: skip
    for reduction, (w, v) in weights.items():
        if reduction == "sum" and not trial.reductions:
            break
        loss = trial.make(reduction=reduction) if trial.reductions else trial.make()
        whole = loss(*trial.arguments()).item()
        parts = [loss(*trial.arguments(rows=rows)).item() for rows in (slice(0, cut), slice(cut, None))]
        demand(
            np.isclose(w * parts[0] + v * parts[1], whole, rtol=1e-12, atol=1e-14),
            f"with reduction {reduction!r} a batch of {SAMPLES} gives {whole:.6g}, its shares of {cut} and "
            f"{SAMPLES - cut} together {w * parts[0] + v * parts[1]:.6g}: a sample's loss depends on others, or the "
            "mean is not over samples",
        )


@check("loss")
def devices(trial: LossTrial) -> None:
    """It does on a device what it does on the host, and copies no host array there."""
    for reduction in trial.reductions or ("",):
        options = {"reduction": reduction} if reduction else {}
        host = _numbers(trial.make(**options), trial.arguments())
        with device_double() as accelerator:
            for place in ("cuda:0", "cuda:1"):  # the current device, and another
                loss, arguments = trial.make(**options).to(place), trial.arguments(device=place)
                before = accelerator.uploads  # what it fetches, it asks for: a loss may look at its input's range
                value = loss(*arguments)
                value.sum().backward()
                up = accelerator.uploads - before
                demand(str(value.device) == place, f"on {place} it gives a tensor on {value.device}")
                demand(not up, f"a call and its gradient copy host arrays to the device {up} times")
                worst = np.abs(_numbers(loss, trial.arguments(device=place)) - host).max()
                demand(worst < 1e-12, f"on a device it is up to {worst:.1g} from what it is on the host")
