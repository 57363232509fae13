"""Optimizer state: what is saved and loaded, in both directions, what users see of it, and what they do to it."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim
from tests.optim import every
from tests.optim.every import each, each_of_pytorchs, make

TWO = ((2, 3), (3,))


def parameters(t: Any) -> list[Any]:
    return every.parameters(t, shapes=TWO)


def step(optimizer: Any, params: list[Any]) -> None:
    every.steps(optimizer, params, 1)


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


@pytest.mark.torch
def test_state_that_options_do_not_use_now_is_kept() -> None:
    torch = pytest.importorskip("torch")

    def run(t: Any, saved: Any) -> tuple[list[Any], list[Any]]:
        params = parameters(t)
        optimizer = t.optim.SGD(params, lr=0.1, momentum=0.9)
        optimizer.load_state_dict(saved)
        step(optimizer, params)
        optimizer.param_groups[0]["momentum"] = 0.5
        step(optimizer, params)
        return [p.detach().tolist() for p in params], list(optimizer.state_dict()["state"])

    theirs = parameters(torch)
    giver = torch.optim.SGD(theirs, lr=0.1, momentum=0.9)
    step(giver, theirs)
    saved = giver.state_dict()
    saved["param_groups"][0]["momentum"] = 0
    a, b = run(distgrad, copy.deepcopy(saved)), run(torch, copy.deepcopy(saved))
    np.testing.assert_allclose(a[0][0], b[0][0], rtol=1e-12)
    assert a[1] == b[1] == [0, 1]
