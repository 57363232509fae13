"""Optimizers with one fault each: the kit names it, and finds nothing wrong with their faultless twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
import distgrad.distributed as dist
from distgrad.distributed.shared_memory import region
from distgrad.jit import available, compiled
from distgrad.optim import Optimizer
from distgrad.testing import CHECKS, check_optimizer, subject


class Sound(Optimizer):
    """Momentum, with decoupled decay."""

    defaults = dict(lr=0.1, beta=0.9, weight_decay=0.0)
    state = ("exp_avg",)

    def update(self, xp: Any, p: Any, g: Any, exp_avg: Any, *, lr: float, beta: float, weight_decay: float) -> None:
        p *= 1 - lr * weight_decay
        exp_avg *= beta
        exp_avg += g
        p -= lr * exp_avg


class InPyTorchsWay(Optimizer):
    """The same with a step of its own, in tensors."""

    def __init__(
        self, params: Any, lr: float = 0.1, beta: float = 0.9, weight_decay: float = 0.0, maximize: bool = False
    ) -> None:
        super().__init__(params, dict(lr=lr, beta=beta, weight_decay=weight_decay, maximize=maximize))

    @distgrad.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with distgrad.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not self.state[p]:
                    self.state[p]["exp_avg"] = distgrad.zeros_like(p)
                exp_avg = self.state[p]["exp_avg"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                exp_avg.mul_(group["beta"]).add_(-p.grad if group["maximize"] else p.grad)
                p.sub_(group["lr"] * exp_avg)
        return loss


class StateNotSaved(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        if not hasattr(self, "kept"):
            self.kept: dict[int, Any] = {}
        m = self.kept.get(id(p))
        self.kept[id(p)] = m = g.copy() if m is None or m.shape != g.shape else 0.9 * m + g
        p -= lr * m


class StepsNotSaved(Optimizer):
    defaults = dict(lr=0.1)
    count = 0

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        return super().step(closure)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= lr / self.count * g


class DependsOnBlocks(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= lr * g / (xp.abs(g).max() + 1)


class DependsOnRank(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        rank = dist.get_rank() if dist.is_initialized() else 0
        p -= lr * (1 + 1e-9 * rank) * g


class ComputesAheadOfItsLoop(Optimizer):
    """In one pass, of something else than the gradient as it came."""

    defaults = dict(lr=0.1)
    one_pass = 1

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        loop = compiled(_descend, p)
        if loop is None:
            p += -g * lr
        else:
            loop(p, -g, p.dtype.type(lr))


def _descend(p, g, lr):  # type: ignore[no-untyped-def]
    for i in range(p.size):
        p[i] += g[i] * lr


class GradientInFloat32(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= (lr * g.astype(xp.float32)).astype(p.dtype)


class RateInFloat32(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= float(np.float32(lr)) * g


class StateInFloat32(InPyTorchsWay):
    @distgrad.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p].setdefault("exp_avg", distgrad.zeros(p.shape, device=p.device))
        return super().step(closure)


class NumPyOnTheDevice(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= lr * np.tanh(g)


class HostArrayOnTheDevice(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= np.full(len(p), lr, p.dtype) * g


class FetchesFromTheDevice(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        if (g * g >= 0).all():
            p -= lr * g


class IgnoresGroups(Sound):
    def update(self, xp: Any, p: Any, g: Any, exp_avg: Any, *, beta: float, weight_decay: float) -> None:
        super().update(xp, p, g, exp_avg, lr=self.defaults["lr"], beta=beta, weight_decay=weight_decay)


class IgnoresDecay(Sound):
    def update(self, xp: Any, p: Any, g: Any, exp_avg: Any, *, lr: float, beta: float) -> None:
        super().update(xp, p, g, exp_avg, lr=lr, beta=beta, weight_decay=0.0)


class MovesWithoutAGradient(InPyTorchsWay):
    @distgrad.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
        return loss


class MovesOnOldMomentum(InPyTorchsWay):
    @distgrad.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None and self.state[p]:
                    p.sub_(group["lr"] * self.state[p]["exp_avg"])
        return loss


class NoBounds(Sound):
    bounds = {}


class OneCounterForAll(InPyTorchsWay):
    @distgrad.no_grad()
    def step(self, closure: Any = None) -> Any:
        self.count = getattr(self, "count", 0) + 1
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.state[p]["step"] = self.count
                    p.sub_(group["lr"] / self.count * (-p.grad if group["maximize"] else p.grad))
        return closure() if closure else None


class IgnoresMaximize(InPyTorchsWay):
    def __init__(self, params: Any, lr: float = 0.1, maximize: bool = False) -> None:
        super().__init__(params, lr)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        self.param_groups[-1]["maximize"] = False


class DrawsNumbers(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= lr * g * np.random.default_rng().uniform(0.9, 1.1)


class DividesByTheGradient(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= lr * g / xp.abs(g)


class GoesUp(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p += lr * g


class StandsStill(Sound):
    def update(self, xp: Any, p: Any, g: Any, exp_avg: Any, *, lr: float, beta: float, weight_decay: float) -> None:
        return


class Raises(Sound):
    def update(self, xp: Any, p: Any, g: Any, exp_avg: Any, *, lr: float, beta: float, weight_decay: float) -> None:
        raise KeyError("exp_avg")


class WritesTheGradient(Optimizer):
    defaults = dict(lr=0.1, weight_decay=0.0)

    def update(self, xp: Any, p: Any, g: Any, *, lr: float, weight_decay: float) -> None:
        g += weight_decay * p
        p -= lr * g


class CountsInItsOwnState(Optimizer):
    defaults = dict(lr=0.1)
    state = ("step",)

    def update(self, xp: Any, p: Any, g: Any, count: Any, *, lr: float) -> None:
        count += 1
        p -= lr / count * g


class MethodOnOneRank(Sound):
    def forget(self) -> None:
        if not dist.is_initialized() or dist.get_rank() == 0:
            for entry in self.state.values():
                entry["exp_avg"].zero_()


class MethodOnAPart(Sound):
    """As if state were this rank's part, flat."""

    def forget(self) -> None:
        for several in self._segments:
            for segment in several:
                for name in segment.state:
                    segment.state[name][: len(segment.state[name]) // 2] = 0


class MethodBesideStep(Sound):
    def forget(self) -> None:
        for p in self.param_groups[0]["params"]:
            if self.state[p]:
                assert self.state[p]["exp_avg"].shape == p.shape
                self.state[p]["exp_avg"].mul_(0.5).addcmul_(p.grad, p.grad, value=0.1)


# The fault, a check that must find it, and a part of what it must say.
FAULTS: list[tuple[type, str, str]] = [
    (StateNotSaved, "state_dict", "must all be in its state, which has"),
    (StateNotSaved, "saved_file", "must all be in its state"),
    (StepsNotSaved, "state_dict", "must all be in its state"),
    (StepsNotSaved, "late_start", "count steps for each parameter"),
    (OneCounterForAll, "late_start", "count steps for each parameter"),
    (DependsOnBlocks, "block_size", "update() must treat each element by itself"),
    (DependsOnBlocks, "tensor_layout", "end elsewhere"),
    (DependsOnBlocks, "sharding", "updated in shares"),
    (DependsOnRank, "ranks", "rank 1 ends elsewhere than rank 0"),
    (DependsOnRank, "shared_memory", "end up to"),
    (ComputesAheadOfItsLoop, "shared_memory", "bad operand type for unary -: 'Mean'"),
    (GradientInFloat32, "precision", "something is computed in float32"),
    (RateInFloat32, "precision", "something is computed in float32"),
    (StateInFloat32, "state_layout", "is torch.float32, its parameter torch.float64"),
    (NumPyOnTheDevice, "devices", "numpy.tanh was called on a device array"),
    (HostArrayOnTheDevice, "devices", "Unsupported type <class 'numpy.ndarray'>"),
    (FetchesFromTheDevice, "devices", "fetches something from the device"),
    (IgnoresGroups, "param_groups", "with lr=0.05 in one group's options"),
    (IgnoresGroups, "options_change", "param_groups[0]['lr'] = 0.05"),
    (IgnoresDecay, "options_change", "weight_decay is not used"),
    (MovesWithoutAGradient, "no_gradient", "a parameter without a gradient moved"),
    (MovesWithoutAGradient, "frozen", "a frozen parameter moved"),
    (MovesOnOldMomentum, "no_gradient", "moved at a step at which its gradient was None"),
    (NoBounds, "bad_input", "lr=-1.0 is accepted; it must raise ValueError"),
    (OneCounterForAll, "closure", "gradients switched off"),
    (IgnoresMaximize, "maximize", "is not the step on the loss"),
    (DrawsNumbers, "reproducible", "draws random numbers"),
    (DividesByTheGradient, "zero_gradient", "not finite"),
    (GoesUp, "bowl", "came down to"),
    (GoesUp, "rosenbrock", "came down to"),
    (StandsStill, "narrow_dtypes", "nothing moves"),
    (StandsStill, "options_change", "lr is not used"),
    (WritesTheGradient, "keeps_gradient", "a step changes p.grad"),
    (CountsInItsOwnState, "constructs", "declares 'step', which is the number of steps that each parameter has had"),
    (MethodOnOneRank, "methods", "with forget called before each step, "),
    (MethodOnAPart, "methods", "with forget called before each step, "),
    (Raises, "constructs", "it cannot make a step, with whatever parameters: tensors: KeyError: 'exp_avg'"),
]


def shows_in_shared_memory(cls: type) -> bool:
    """Whether a fault that does so can be found here."""
    return region.why_not() is None and (available() or cls is not ComputesAheadOfItsLoop)


@pytest.mark.parametrize("cls", [Sound, InPyTorchsWay])
def test_the_faultless_pass(cls: type) -> None:
    report = check_optimizer(cls)
    assert report.ok, str(report)
    skipped = {r.check for r in report.results if r.outcome == "skipped"}
    expected = set() if cls is Sound else {"block_size", "tensor_layout", "sharding"}
    assert skipped == expected | ({"shared_memory"} if region.why_not() else set())


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "check", "words"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_the_fault_is_found(cls: type, check: str, words: str) -> None:
    if check == "shared_memory" and not shows_in_shared_memory(cls):
        pytest.skip("ranks cannot share memory here, or loops are not compiled")
    result = CHECKS["optimizer"][check].run(subject("optimizer", cls))
    assert result.outcome == "failed", result
    assert words in result.why


@pytest.mark.slow
def test_a_fault_elsewhere_is_not_reported() -> None:
    """Faults of one kind fail the checks of that kind only, so that a report can be read."""
    for cls, checks in {
        DependsOnRank: {"ranks", "shared_memory"},
        ComputesAheadOfItsLoop: {"shared_memory"},
        GradientInFloat32: {"precision"},
        NumPyOnTheDevice: {"devices"},
        NoBounds: {"bad_input"},
        RateInFloat32: {"precision"},
        GoesUp: {"bowl", "rosenbrock"},
        WritesTheGradient: {"keeps_gradient"},
    }.items():
        report = check_optimizer(cls)
        expected = checks if shows_in_shared_memory(cls) else checks - {"shared_memory"}
        assert set(report.failed) == expected, str(report)


def test_a_method_beside_step_works_on_whole_parameters() -> None:
    assert CHECKS["optimizer"]["methods"].run(subject("optimizer", MethodBesideStep)).outcome == "passed"


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a subclass of distgrad.optim.Optimizer, got <class 'int'>"):
        check_optimizer(int)
