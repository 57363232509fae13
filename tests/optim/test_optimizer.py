"""The optimizer contract: state dicts, groups, hooks, closures, printed form, errors, subclasses in both styles."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim
from distgrad.optim import Optimizer

MAKERS = {
    "SGD": lambda t, p: t.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda t, p: t.optim.Adam(p, lr=0.1, amsgrad=True),
    "RMSprop": lambda t, p: t.optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
}
each_maker = pytest.mark.parametrize("name", MAKERS)


def parameters(t: Any) -> list[Any]:
    rng = np.random.default_rng(1)
    return [t.tensor(rng.standard_normal(s), dtype=t.float64, requires_grad=True) for s in ((2, 3), (3,))]


def step(optimizer: Any, params: list[Any]) -> None:
    optimizer.zero_grad()
    sum((p * p).sum() + p.sin().sum() for p in params).backward()
    optimizer.step()


# --- state ---


@each_maker
def test_a_state_dict_continues_the_run(name: str) -> None:
    params = parameters(distgrad)
    optimizer = MAKERS[name](distgrad, params)
    for _ in range(3):
        step(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    others = [p.detach().clone().requires_grad_() for p in params]
    resumed = MAKERS[name](distgrad, others)
    resumed.load_state_dict(saved)
    for _ in range(3):
        step(optimizer, params)
        step(resumed, others)
    for a, b in zip(params, others, strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.torch
@each_maker
def test_the_layout_is_pytorchs_and_its_state_can_be_loaded(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = parameters(distgrad), parameters(torch)
    a, b = MAKERS[name](distgrad, ours), MAKERS[name](torch, theirs)
    for _ in range(3):
        step(a, ours)
        step(b, theirs)
    mine, yours = a.state_dict(), b.state_dict()
    assert mine["state"].keys() == yours["state"].keys()
    for k in mine["state"]:
        assert mine["state"][k].keys() == yours["state"][k].keys()
        for entry, value in mine["state"][k].items():
            np.testing.assert_allclose(value.numpy(), yours["state"][k][entry].numpy(), rtol=1e-9)
            assert value.shape == yours["state"][k][entry].shape
    for group, other in zip(mine["param_groups"], yours["param_groups"], strict=True):
        assert group.keys() == other.keys()
        assert all(group[k] == other[k] for k in group)
    fresh_params = [distgrad.tensor(p.detach().numpy(), requires_grad=True) for p in theirs]
    fresh = MAKERS[name](distgrad, fresh_params)
    fresh.load_state_dict(yours)
    for _ in range(3):
        step(fresh, fresh_params)
        step(b, theirs)
    for p, q in zip(fresh_params, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-9)


def test_state_is_seen_through_the_parameter() -> None:
    params = parameters(distgrad)
    optimizer = optim.Adam(params, lr=0.1)
    assert not optimizer.state
    step(optimizer, params)
    step(optimizer, params)
    entry = optimizer.state[params[0]]
    assert (entry["step"].item(), entry["exp_avg"].shape) == (2.0, params[0].shape)
    assert set(optimizer.state) == set(params)
    assert optimizer.state_dict()["state"][1]["exp_avg_sq"].shape == params[1].shape


def test_loaded_values_are_copies_and_groups_take_their_options() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    step(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0]["lr"] = 0.5
    other = optim.SGD(parameters(distgrad), lr=0.1, momentum=0.9)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.5
    saved["state"][0]["momentum_buffer"].zero_()
    assert other.state_dict()["state"][0]["momentum_buffer"].abs().sum().item() > 0


def test_state_dicts_that_do_not_fit() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    with pytest.raises(ValueError, match="different number of parameter groups: 2, the optimizer 1"):
        optimizer.load_state_dict({"state": {}, "param_groups": [{"params": [0]}, {"params": [1]}]})
    with pytest.raises(
        ValueError, match="doesn't match the size of optimizer's group: group 0 has 3 parameters, the optimizer's 2"
    ):
        optimizer.load_state_dict({"state": {}, "param_groups": [{"params": [0, 1, 2]}]})
    momentum = optim.SGD(params, lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"'momentum_buffer' has shape \[5\], its parameter \[2, 3\]"):
        momentum.load_state_dict(
            {"state": {0: {"momentum_buffer": distgrad.ones(5)}}, "param_groups": [{"params": [0, 1]}]}
        )


# --- hooks, closures, printed form ---


def test_hooks_around_steps_and_state_dicts() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    calls: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post")),
        optimizer.register_state_dict_pre_hook(lambda o: calls.append("save")),
        optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 1}),
        optimizer.register_load_state_dict_pre_hook(lambda o, d: calls.append("load")),
        optimizer.register_load_state_dict_post_hook(lambda o: calls.append("loaded")),
    ]
    step(optimizer, params)
    saved = optimizer.state_dict()
    assert saved["more"] == 1
    optimizer.load_state_dict(saved)
    assert calls == ["pre", "post", "save", "load", "loaded"]
    for h in handles:
        h.remove()
    step(optimizer, params)
    assert "more" not in optimizer.state_dict()
    assert len(calls) == 5


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
@each_maker
def test_printed_as_pytorch_prints_it(name: str) -> None:
    torch = pytest.importorskip("torch")

    def text(t: Any) -> str:
        params = parameters(t)
        optimizer = MAKERS[name](t, [{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
        return repr(optimizer)

    assert text(distgrad) == text(torch)


@pytest.mark.torch
@each_maker
def test_the_same_arguments_with_the_same_defaults(name: str) -> None:
    import inspect

    torch = pytest.importorskip("torch")
    ours = inspect.signature(getattr(optim, name).__init__).parameters
    theirs = inspect.signature(getattr(torch.optim, name).__init__).parameters
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


# --- bad input ---


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda p: optim.SGD(p[0]), TypeError, "should be an iterable of Tensors or dicts, but got torch.DoubleTensor"),
        (lambda p: optim.SGD([1.0]), TypeError, "can only optimize Tensors, but one of the params is float"),
        (lambda p: optim.SGD([p[0] * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda p: optim.SGD([{"params": set(p)}]), TypeError, "ordered collections"),
        (lambda p: optim.SGD(p, lr=-1), ValueError, "Invalid learning rate: -1; it must be at least 0"),
        (lambda p: optim.SGD(p, lr="fast"), TypeError, "Invalid learning rate: 'fast'"),
        (lambda p: optim.SGD(p, lr=float("nan")), ValueError, "Invalid learning rate: nan"),
        (lambda p: optim.SGD(p, momentum=-0.1), ValueError, "Invalid momentum value: -0.1"),
        (lambda p: optim.SGD(p, weight_decay=-0.1), ValueError, "Invalid weight_decay value: -0.1"),
        (lambda p: optim.SGD(p, nesterov=True), ValueError, "Nesterov momentum requires a momentum and zero dampening"),
        (
            lambda p: optim.Adam(p, betas=(0.9, 1.0)),
            ValueError,
            r"Invalid beta parameter at index 1: 1.0; it must be in \[0, 1\)",
        ),
        (lambda p: optim.Adam(p, eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda p: optim.RMSprop(p, alpha=-1), ValueError, "Invalid alpha value: -1"),
        (lambda p: optim.Adam([{"params": p, "lr": -2}]), ValueError, "Invalid learning rate: -2"),
        (lambda p: optim.SGD(p, speed=1), TypeError, "speed"),
        (lambda p: optim.SGD(p).add_param_group([p[0]]), TypeError, "param_group must be a dict"),
    ],
)
def test_bad_input(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make(parameters(distgrad))


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
