"""Checks of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

import distgrad
from distgrad import Tensor, backend, nn
from distgrad.autograd import GradcheckError, gradcheck, gradgradcheck

from ..fake_device.accelerator import device_double
from .loss_trial import SAMPLES, LossTrial
from .report import CheckFailed, NotApplicable, check, demand, must_raise


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
    _as_finite_differences(trial, gradcheck)


@check("loss")
def second_derivative(trial: LossTrial) -> None:
    """So is the gradient of its gradient."""
    _as_finite_differences(trial, gradgradcheck)


def _as_finite_differences(trial: LossTrial, compare: Callable[..., bool]) -> None:
    for loss in trial.each():
        try:
            compare(loss, trial.arguments())
        except GradcheckError as error:  # what follows its first line is the whole Jacobian
            reduction = f" with reduction {loss.reduction!r}" if trial.reductions else ""
            raise CheckFailed(str(error).partition("\n")[0].rstrip(",") + reduction) from error


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
        demand(
            np.isfinite(_numbers(trial.make(), arguments)).all(), f"in {dtype} the loss or its gradient is not finite"
        )


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
    """A batch's loss is that of its shares, weighted by samples, so data parallel training is exact."""
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
