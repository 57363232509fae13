"""The optimizer contract: state dicts, groups, hooks, closures, printed form, errors, subclasses in both styles."""

from __future__ import annotations

import copy
import importlib
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim
from distgrad.optim import Optimizer
from distgrad.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)
from tests.optim import every
from tests.optim.every import each, each_of_pytorchs, make

TWO = ((2, 3), (3,))


def parameters(t: Any) -> list[Any]:
    return every.parameters(t, shapes=TWO)


def step(optimizer: Any, params: list[Any]) -> None:
    every.steps(optimizer, params, 1)


# --- state ---


@each
def test_a_state_dict_continues_the_run(name: str) -> None:
    params = parameters(distgrad)
    optimizer = make(distgrad, name, params)
    for _ in range(3):
        step(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    others = [p.detach().clone().requires_grad_() for p in params]
    resumed = make(distgrad, name, others, lr=0.7)
    resumed.load_state_dict(saved)
    for _ in range(3):
        step(optimizer, params)
        step(resumed, others)
    for a, b in zip(params, others, strict=True):
        assert a.tolist() == b.tolist()


def partly(t: Any, name: str) -> tuple[Any, list[Any]]:
    """An optimizer in mid-run, two groups; one parameter is frozen, one has had fewer steps than the others."""
    params = every.parameters(t, shapes=((2, 3), (3,), (4,), ()))
    optimizer = make(t, name, [{"params": params[:2]}, {"params": params[2:], "lr": 0.05}])
    params[2].requires_grad_(False)
    for k in range(4):
        optimizer.zero_grad()
        every.give_gradients(params[:2] if k == 1 else [params[0], params[1], params[3]], k)
        optimizer.step()
    return optimizer, params


def continued(optimizer: Any, params: list[Any]) -> list[np.ndarray]:
    params[2].requires_grad_(True)
    every.steps(optimizer, params, 4)
    return [p.detach().numpy() for p in params]


@pytest.mark.torch
@each_of_pytorchs
def test_the_layout_is_pytorchs_and_its_state_can_be_loaded(name: str) -> None:
    torch = pytest.importorskip("torch")
    (a, _), (b, theirs) = partly(distgrad, name), partly(torch, name)
    mine, yours = a.state_dict(), b.state_dict()
    assert mine.keys() == yours.keys()
    assert list(mine["state"]) == list(yours["state"])
    for k in mine["state"]:
        assert list(mine["state"][k]) == list(yours["state"][k])
        for entry, value in mine["state"][k].items():
            np.testing.assert_allclose(value.numpy(), yours["state"][k][entry].numpy(), rtol=1e-9)
            assert tuple(value.shape) == tuple(yours["state"][k][entry].shape)
            assert str(value.dtype) == str(yours["state"][k][entry].dtype)
    for group, other in zip(mine["param_groups"], yours["param_groups"], strict=True):
        assert list(group) == list(other)
        assert all(group[k] == other[k] for k in group)
    fresh_params = [distgrad.tensor(p.detach().numpy().copy(), requires_grad=True) for p in theirs]
    fresh = make(distgrad, name, [{"params": fresh_params[:2]}, {"params": fresh_params[2:]}])
    fresh.load_state_dict(yours)
    for p, q in zip(continued(fresh, fresh_params), continued(b, theirs), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-9)


@pytest.mark.torch
@each_of_pytorchs
def test_pytorch_loads_our_state(name: str) -> None:
    torch = pytest.importorskip("torch")
    a, ours = partly(distgrad, name)
    saved = a.state_dict()
    entries = {i: {k: torch.tensor(v.numpy()) for k, v in entry.items()} for i, entry in saved["state"].items()}
    theirs = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in ours]
    b = make(torch, name, [{"params": theirs[:2]}, {"params": theirs[2:]}])
    b.load_state_dict({**copy.deepcopy(saved), "state": entries})
    for p, q in zip(continued(a, ours), continued(b, theirs), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-9)


@each
def test_state_is_there_for_what_has_had_a_gradient(name: str) -> None:
    optimizer, params = partly(distgrad, name)
    eager = name == "Adagrad"  # whose state is there from construction on, as in PyTorch
    assert set(optimizer.state) == ({*params} if eager else {params[0], params[1], params[3]})
    assert set(optimizer.state_dict()["state"]) == ({0, 1, 2, 3} if eager else {0, 1, 3})
    again, others = partly(distgrad, name)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert set(again.state) == ({*others} if eager else {others[0], others[1], others[3]})


@each
def test_a_copy_goes_its_own_way(name: str) -> None:
    params = parameters(distgrad)
    optimizer = make(distgrad, name, params)
    optimizer.register_step_post_hook(lambda *a: calls.append(1))
    calls: list[int] = []
    step(optimizer, params)
    twin = copy.deepcopy(optimizer)
    others = twin.param_groups[0]["params"]
    assert len(calls) == 1
    assert all(a is not b and a.tolist() == b.tolist() for a, b in zip(params, others, strict=True))
    for _ in range(2):
        step(optimizer, params)
    assert others[0].tolist() != params[0].tolist()
    for _ in range(2):
        step(twin, others)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]
    assert len(calls) == 3
    assert repr(twin) == repr(optimizer)


def restarted(t: Any, name: str, how: str) -> list[np.ndarray]:
    params = every.parameters(t)
    optimizer = make(t, name, params)
    every.steps(optimizer, params)
    if how == "cleared":
        optimizer.state.clear()
    elif how == "replaced":
        optimizer.state = defaultdict(dict)
    elif how == "one deleted":
        del optimizer.state[params[1]]
    elif how == "one changed":
        entry = optimizer.state[params[1]]
        for k in entry:
            if k != "step":
                entry[k] = entry[k] * 0.5
    elif how == "written to":
        for k, v in optimizer.state[params[0]].items():
            v.mul_(2 if k == "step" else 0.5)
    every.steps(optimizer, params)
    return [p.detach().numpy() for p in params]


@pytest.mark.torch
@pytest.mark.parametrize("how", ["cleared", "replaced", "one deleted", "one changed", "written to"])
@each_of_pytorchs
def test_what_users_do_to_the_state_counts(name: str, how: str) -> None:
    torch = pytest.importorskip("torch")
    for a, b in zip(restarted(distgrad, name, how), restarted(torch, name, how), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_cleared_state_starts_anew() -> None:
    params, others = parameters(distgrad), parameters(distgrad)
    optimizer = make(distgrad, "Adam", params)
    step(optimizer, params)
    with distgrad.no_grad():
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    optimizer.state.clear()
    step(optimizer, params)
    step(make(distgrad, "Adam", others), others)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]
    assert optimizer.state[params[0]]["step"].item() == 1


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


def around(t: Any, pre: Any, post: Any) -> tuple[list[Any], Any, Any]:
    """What hooks see and do, in order."""
    seen: list[Any] = []
    params = parameters(t)
    optimizer = make(t, "SGD", params)

    def note(word: str) -> Any:
        def hook(*given: Any) -> None:
            same = len(given) > 1 and isinstance(given[1], tuple) and given[1][0] is given[0]
            seen.append((word, same, len(given[1]) if same else None))

        return hook

    def replace(o: Any, args: Any, kwargs: Any) -> Any:
        return (o, lambda: 7.0), {}

    handles = [
        pre(note("every pre")),
        post(note("every post")),
        optimizer.register_step_pre_hook(note("pre")),
        optimizer.register_step_pre_hook(replace),
        optimizer.register_step_pre_hook(note("pre after")),
        optimizer.register_step_post_hook(note("post")),
    ]
    result = optimizer.step()
    for word in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
        register = getattr(optimizer, f"register_{word}_hook")
        register(note(word))
        register(note(f"{word} first"), prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    for h in handles:
        h.remove()
    optimizer.step(lambda: 3.0)
    return seen, result, optimizer.step(closure=lambda: 4.0)


def test_hooks_replace_arguments_and_stand_in_order() -> None:
    seen, result, last = around(distgrad, register_optimizer_step_pre_hook, register_optimizer_step_post_hook)
    assert (result, last) == (7.0, 4.0)
    assert seen[:5] == [
        ("every pre", True, 1), ("pre", True, 1), ("pre after", True, 2), ("post", True, 2), ("every post", True, 2),
    ]  # fmt: skip
    assert [word for word, *_ in seen[5:]] == [
        "state_dict_pre first", "state_dict_pre", "state_dict_post first", "state_dict_post",
        "load_state_dict_pre first", "load_state_dict_pre", "load_state_dict_post first", "load_state_dict_post",
    ]  # fmt: skip


@pytest.mark.torch
def test_hooks_are_called_as_pytorch_calls_them() -> None:
    torch = pytest.importorskip("torch")
    theirs = importlib.import_module(f"{torch.__name__}.optim.optimizer")
    assert around(distgrad, register_optimizer_step_pre_hook, register_optimizer_step_post_hook) == around(
        torch, theirs.register_optimizer_step_pre_hook, theirs.register_optimizer_step_post_hook
    )


def test_a_hook_that_returns_something_else_is_an_error() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    optimizer.register_step_pre_hook(lambda *a: 3)
    with pytest.raises(RuntimeError, match=r"None or a pair \(args, kwargs\), but .* returned 3"):
        optimizer.step()


def test_a_step_that_calls_its_parents_runs_hooks_once() -> None:
    class Mine(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    params = parameters(distgrad)
    optimizer = Mine(params, lr=0.1)
    calls = []
    optimizer.register_step_post_hook(lambda *a: calls.append(1))
    step(optimizer, params)
    assert calls == [1]


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


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("ASGD", dict(lr=-1), "at least 0"),
    ("ASGD", dict(weight_decay=-1), "at least 0"),
    ("Adadelta", dict(lr=-1), "at least 0"),
    ("Adadelta", dict(rho=1.1), r"in \[0, 1\]"),
    ("Adadelta", dict(rho=-0.1), r"in \[0, 1\]"),
    ("Adadelta", dict(eps=-1), "at least 0"),
    ("Adadelta", dict(weight_decay=-1), "at least 0"),
    ("Adagrad", dict(lr=-1), "at least 0"),
    ("Adagrad", dict(lr_decay=-1), "at least 0"),
    ("Adagrad", dict(weight_decay=-1), "at least 0"),
    ("Adagrad", dict(initial_accumulator_value=-1), "at least 0"),
    ("Adagrad", dict(eps=-1), "at least 0"),
    ("RMSprop", dict(lr=-1), "at least 0"),
    ("RMSprop", dict(alpha=-1), "at least 0"),
    ("RMSprop", dict(eps=-1), "at least 0"),
    ("RMSprop", dict(momentum=-1), "at least 0"),
    ("RMSprop", dict(weight_decay=-1), "at least 0"),
    ("Rprop", dict(lr=-1), "at least 0"),
    ("Rprop", dict(etas=(0.0, 1.2)), "0 < η₋ < 1 < η₊"),
    ("Rprop", dict(etas=(0.5, 1.0)), "0 < η₋ < 1 < η₊"),
    ("SGD", dict(lr=-1), "at least 0"),
    ("SGD", dict(momentum=-1), "at least 0"),
    ("SGD", dict(weight_decay=-1), "at least 0"),
    ("SGD", dict(nesterov=True, momentum=0.9, dampening=0.1), "zero dampening"),
    *(
        (name, options, text)
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
        for options, text in (
            (dict(lr=-1), "at least 0"),
            (dict(lr=float("nan")), "at least 0"),
            (dict(betas=(1.0, 0.9)), r"index 0: 1.0; it must be in \[0, 1\)"),
            (dict(betas=(0.9, -0.1)), r"index 1: -0.1; it must be in \[0, 1\)"),
            (dict(eps=-1), "at least 0"),
            (dict(weight_decay=-1), "at least 0"),
        )
    ),
    ("NAdam", dict(momentum_decay=-1), "at least 0"),
]
OURS_ALONE: list[tuple[str, dict[str, Any], str]] = [
    ("ASGD", dict(lambd=float("nan")), "lambd value: nan"),
    ("ASGD", dict(alpha=float("nan")), "alpha value: nan"),
    ("ASGD", dict(t0=float("nan")), "t0 value: nan"),
    ("Lion", dict(lr=-1), "at least 0"),
    ("Lion", dict(betas=(0.9, 1.0)), "index 1"),
    ("Lion", dict(weight_decay=-1), "at least 0"),
    ("Rprop", dict(step_sizes=(1.0, 0.5)), "the first must be at most the second"),
    ("SGD", dict(dampening=float("nan")), "dampening value: nan"),
    ("Adam", dict(betas=(0.9,)), "it must be 2 values"),
]


@pytest.mark.parametrize(("name", "options", "text"), [*BAD, *OURS_ALONE], ids=str)
def test_bad_hyperparameters(name: str, options: dict[str, Any], text: str) -> None:
    params = parameters(distgrad)
    with pytest.raises(ValueError, match=text):
        getattr(optim, name)(params, **options)
    if "nesterov" in options:
        return
    with pytest.raises(ValueError, match=text):
        getattr(optim, name)([{"params": params, **options}])


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options", "text"), BAD, ids=str)
def test_pytorch_refuses_them_likewise(name: str, options: dict[str, Any], text: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError):
        getattr(torch.optim, name)(parameters(torch), **options)


@each
def test_every_number_among_the_hyperparameters_is_checked(name: str) -> None:
    defaults = getattr(optim, name)(parameters(distgrad)).defaults
    for option, value in defaults.items():
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            with pytest.raises(ValueError, match="nan"):
                getattr(optim, name)(parameters(distgrad), **{option: float("nan")})
        if isinstance(value, tuple):
            with pytest.raises(ValueError, match="nan"):
                getattr(optim, name)(parameters(distgrad), **{option: (value[0], float("nan"))})


def test_tensors_of_several_elements_and_ways_that_exclude_each_other() -> None:
    params = parameters(distgrad)
    with pytest.raises(ValueError, match="a Tensor of 2 elements; it must be 1-element"):
        optim.Adam(params, lr=distgrad.ones(2))
    with pytest.raises(RuntimeError, match="fused=True does not go together"):
        optim.Adam(params, fused=True, foreach=True)


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
