"""The optimizer contract: closures, printed form, groups, subclasses in both styles."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim
from distgrad.optim import Optimizer
from distgrad.optim.optimizer import (
    required,
)
from tests.optim import every
from tests.optim.every import each_of_pytorchs, make

TWO = ((2, 3), (3,))


def parameters(t: Any) -> list[Any]:
    return every.parameters(t, shapes=TWO)


def step(optimizer: Any, params: list[Any]) -> None:
    every.steps(optimizer, params, 1)


def test_a_closure_is_evaluated_with_recording_and_its_loss_returned() -> None:
    (x,) = (distgrad.tensor([3.0], requires_grad=True),)
    optimizer = optim.SGD([x], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with distgrad.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert x.item() == pytest.approx(2.4)
    assert optimizer.step() is None


@pytest.mark.torch
@each_of_pytorchs
def test_printed_as_pytorch_prints_it(name: str) -> None:
    torch = pytest.importorskip("torch")

    def text(t: Any) -> str:
        params = parameters(t)
        return repr(make(t, name, [{"params": params[:1]}, {"params": params[1:], "lr": 0.5}]))

    assert text(distgrad) == text(torch)


def test_names_are_printed() -> None:
    params = parameters(distgrad)
    optimizer = optim.Lion([("weight", params[0]), ("bias", params[1])], lr=0.1)
    assert repr(optimizer) == (
        "Lion (\nParameter Group 0\n    betas: (0.9, 0.99)\n    lr: 0.1\n    maximize: False\n"
        "    param_names: ['weight', 'bias']\n    weight_decay: 0.0\n)"
    )


@pytest.mark.torch
@each_of_pytorchs
def test_the_same_arguments_with_the_same_defaults(name: str) -> None:
    import inspect

    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(optim, name).__init__).parameters
    theirs = inspect.signature(getattr(torch.optim, name).__init__).parameters
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]
    params = parameters(distgrad), parameters(torch)
    assert getattr(optim, name)(params[0]).defaults == getattr(torch.optim, name)(params[1]).defaults


def test_a_failed_group_leaves_the_optimizer_as_it_was() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params[:1], lr=0.1)
    with pytest.raises(ValueError, match="learning rate"):
        optimizer.add_param_group({"params": params[1:], "lr": -1})
    assert len(optimizer.param_groups) == 1
    step(optimizer, params)


def test_named_parameters() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD([("weight", params[0]), ("bias", params[1])], lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    step(optimizer, params)


def test_a_learning_rate_in_a_tensor() -> None:
    params, others = parameters(distgrad), parameters(distgrad)
    step(optim.SGD(params, lr=distgrad.tensor(0.25)), params)
    step(optim.SGD(others, lr=0.25), others)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]


def test_options_of_a_group_that_nobody_reads_are_kept() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD([{"params": params, "lr_scale": 3}], lr=0.1)
    step(optimizer, params)
    assert optimizer.param_groups[0]["lr_scale"] == optimizer.state_dict()["param_groups"][0]["lr_scale"] == 3


def test_a_group_is_the_dict_that_was_given() -> None:
    params, others = parameters(distgrad), parameters(distgrad)
    group: dict[str, Any] = {"params": params}
    optimizer = optim.SGD([group], lr=0.1)
    assert optimizer.param_groups[0] is group
    group["lr"] = 0.5
    step(optimizer, params)
    step(optim.SGD(others, lr=0.5), others)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]


def test_names_for_some_only_and_required_options() -> None:
    params = parameters(distgrad)
    with pytest.raises(ValueError, match="with/without names; 1 of 2 have none"):
        optim.SGD([("weight", params[0]), params[1]], lr=0.1)
    optimizer = optim.SGD([("weight", params[0])], lr=0.1)
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": params[1:]})

    class Needy(Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": required})

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Needy(params)
    assert Needy([{"params": params, "lr": 1}]).param_groups[0]["lr"] == 1


# --- subclasses ---


class Lion(Optimizer):
    """Sign of an interpolated momentum (Chen et al. 2023, arXiv:2302.06675, algorithm 2)."""

    defaults = dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)
    state = ("exp_avg",)  # zeros like the parameter

    def update(self, xp, p, g, exp_avg, *, lr, betas, weight_decay):  # type: ignore[no-untyped-def, override]
        b1, b2 = betas
        p *= 1 - lr * weight_decay
        p -= lr * xp.sign(b1 * exp_avg + (1 - b1) * g)
        exp_avg += (1 - b2) * (g - exp_avg)


def test_twenty_lines_are_an_optimizer() -> None:
    params = parameters(distgrad)
    p, m = [q.detach().numpy().copy() for q in params], [0.0, 0.0]
    optimizer = Lion(params, 0.01, weight_decay=0.1)
    for _ in range(5):
        step(optimizer, params)
        for i in range(2):
            g = 2 * p[i] + np.cos(p[i])
            p[i] = p[i] * (1 - 0.01 * 0.1) - 0.01 * np.sign(0.9 * m[i] + 0.1 * g)
            m[i] = m[i] + 0.01 * (g - m[i])
    for q, expected in zip(params, p, strict=True):
        np.testing.assert_allclose(q.detach().numpy(), expected, rtol=1e-12)
    assert optimizer.defaults["betas"] == (0.9, 0.99)
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'momentum'; it takes lr, betas, weight_decay, maximize"
    ):
        Lion(params, momentum=1)
    with pytest.raises(TypeError, match="at most 3 hyperparameters"):
        Lion(params, 1, 2, 3, 4)


def test_every_optimizer_can_go_uphill() -> None:
    down, up = parameters(distgrad), parameters(distgrad)
    a, b = Lion(down, 0.01), Lion(up, 0.01, maximize=True)
    before = up[0].tolist()
    step(a, down)
    step(b, up)
    np.testing.assert_allclose(np.array(before) - down[0].tolist(), np.array(up[0].tolist()) - before)


class Plain(Optimizer):
    """As PyTorch's subclasses are written."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, dict(lr=lr))

    @distgrad.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["sum"] = distgrad.zeros_like(p)
                state["sum"].addcmul_(p.grad, p.grad)
                p.addcdiv_(p.grad, state["sum"].sqrt() + 1e-10, value=-group["lr"])


def test_pytorchs_way_of_writing_an_optimizer() -> None:
    params = parameters(distgrad)
    optimizer = Plain(params)
    calls = []
    optimizer.register_step_post_hook(lambda *a: calls.append(1))
    first = [p.detach().clone() for p in params]
    step(optimizer, params)
    for p, q in zip(params, first, strict=True):
        np.testing.assert_allclose((q - p.detach()).abs().numpy(), 0.1, rtol=1e-6)  # the first step is ±lr
    assert calls == [1]
    saved = copy.deepcopy(optimizer.state_dict())
    assert saved["state"][0].keys() == {"sum"}
    others = [p.detach().clone().requires_grad_() for p in params]
    resumed = Plain(others)
    resumed.load_state_dict(saved)
    step(optimizer, params)
    step(resumed, others)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]


class NormScaled(Optimizer):
    """Needs whole tensors: divides by the gradient's norm."""

    defaults = dict(lr=0.1)
    elementwise = False

    def update(self, xp, p, g, *, lr):  # type: ignore[no-untyped-def, override]
        p -= lr * g / xp.linalg.norm(g)


def test_an_optimizer_of_whole_tensors() -> None:
    params = parameters(distgrad)
    before = [p.detach().clone() for p in params]
    step(NormScaled(params), params)
    for p, q in zip(params, before, strict=True):
        assert (p - q).norm().item() == pytest.approx(0.1)


def test_an_optimizer_with_neither_update_nor_step() -> None:
    class Nothing(Optimizer):
        defaults = dict(lr=0.1)

    params = parameters(distgrad)
    with pytest.raises(NotImplementedError, match="Nothing has neither an update"):
        step(Nothing(params), params)


class Decaying(Optimizer):
    """State that starts elsewhere than at zero, and a number for each parameter."""

    defaults = dict(lr=0.5, start=3.0)
    state = {"peak": "start", "count": 1.0}
    numbers = {"rate": "lr"}

    def advance(self, *, rate, step):  # type: ignore[no-untyped-def]
        return {"rate": rate / 2, "now": rate, "half": step / 2}

    def update(self, xp, p, g, peak, count, *, rate, now, half):  # type: ignore[no-untyped-def, override]
        xp.maximum(peak, g, out=peak)
        count += half
        p -= now * g
        assert rate == now / 2  # what advance() returned


def test_numbers_and_starts() -> None:
    params = parameters(distgrad)
    optimizer = Decaying(params, start=2.0)
    values = [p.detach().numpy().copy() for p in params]
    for k in range(3):
        for i, p in enumerate(params):
            p.grad = None if (k, i) == (0, 1) else distgrad.full_like(p, k + 1.5)
        if k == 1:
            optimizer.param_groups[0]["lr"] = 0.25  # where the second parameter's rate starts
        optimizer.step()
    np.testing.assert_allclose(params[0].detach().numpy(), values[0] - 0.5 * 1.5 - 0.25 * 2.5 - 0.125 * 3.5)
    np.testing.assert_allclose(params[1].detach().numpy(), values[1] - 0.25 * 2.5 - 0.125 * 3.5)
    first, second = (optimizer.state[p] for p in params)
    assert list(first) == ["step", "rate", "peak", "count"]
    assert (first["rate"].item(), second["rate"].item()) == (0.0625, 0.0625)
    assert (first["step"].item(), second["step"].item()) == (3, 2)
    assert first["peak"].tolist() == [[3.5] * 3] * 2
    assert first["count"].tolist() == [[1 + 0.5 + 1 + 1.5] * 3] * 2
    others = [p.detach().clone().requires_grad_() for p in params]
    resumed = Decaying(others)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(optimizer, params)
    step(resumed, others)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]


def test_an_update_that_asks_for_what_nobody_gives() -> None:
    class Asking(Optimizer):
        defaults = dict(lr=0.1)

        def update(self, xp, p, g, *, lr, speed):  # type: ignore[no-untyped-def, override]
            p -= speed * g

    with pytest.raises(TypeError, match=r"Asking asks for speed; there are its hyperparameters \(lr, maximize\), step"):
        Asking(parameters(distgrad))


def test_every_optimizer_is_listed_and_says_what_it_computes_and_where_that_is_from() -> None:
    assert {*every.OPTIONS, "Optimizer"} <= set(dir(optim))
    for name in every.OPTIONS:
        text = getattr(optim, name).__doc__
        assert "←" in text, f"{name}: no formula"
        assert re.search(r"\b(19|20)\d\d\b", text), f"{name}: no paper"
