"""What PyTorch lets users do to parameters and gradients, none of which flat storage may get wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim
from tests.optim.every import each, each_of_pytorchs, give_gradients, make as make_one, parameters, steps


def frozen_then_thawed(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    steps(optimizer, params)
    params[1].requires_grad_(False)
    params[1].grad = None
    optimizer.zero_grad()
    give_gradients([params[0], params[2]], 0)
    optimizer.step()
    params[1].requires_grad_(True)
    steps(optimizer, params)
    return params


def frozen_from_the_start(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    params[1].requires_grad_(False)
    optimizer = make(t, params)
    for k in range(3):
        optimizer.zero_grad()
        give_gradients([params[0], params[2]], k)
        optimizer.step()
    params[1].requires_grad_(True)
    steps(optimizer, params)
    return params


def without_a_gradient_nothing_decays(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    for k in range(3):
        optimizer.zero_grad()
        give_gradients(params[:1] + params[2:], k)
        optimizer.step()
    assert params[1] not in optimizer.state or not optimizer.state[params[1]].get("step")
    steps(optimizer, params)
    return params


def data_reassigned(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    steps(optimizer, params)
    own = t.ones(3, dtype=t.float64)
    old = params[1].data
    params[1].data = own
    steps(optimizer, params)
    assert params[1].data_ptr() == own.data_ptr()  # updated where it lies, the alias with it
    assert own.tolist() == params[1].tolist()
    params[1].data = old
    steps(optimizer, params)
    assert params[1].data_ptr() == old.data_ptr()
    return [*params, own]


def written_in_place(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    steps(optimizer, params)
    params[0].data.mul_(0.5)
    with t.no_grad():
        params[1].zero_()
        params[2][1:] += 1
    steps(optimizer, params)
    return params


def gradient_assigned(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    for k in range(3):
        give_gradients(params, k)
        params[1].grad = t.full((3,), 0.5, dtype=t.float64)
        params[0].grad.mul_(0.1)
        optimizer.step()
        optimizer.zero_grad()
    return params


def zeroed_in_place(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    for k in range(3):
        optimizer.zero_grad(set_to_none=False)
        give_gradients(params, k)
        optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert all(p.grad.tolist() == t.zeros_like(p).tolist() for p in params)
    optimizer.step()  # a gradient of zeros still decays and moves by momentum
    return params


def two_optimizers(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    first, second = make(t, params), t.optim.SGD(params[1:], lr=0.01, momentum=0.5)
    for k in range(4):
        first.zero_grad()
        give_gradients(params, k)
        first.step()
        second.step()
    return params


def added_later(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params[:1])
    steps(optimizer, params)
    optimizer.add_param_group({"params": params[1:], "lr": 0.01})
    steps(optimizer, params)
    return params


def two_groups(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, [{"params": params[:1]}, {"params": params[1:], "lr": 0.3, "weight_decay": 0.0}])
    steps(optimizer, params)
    optimizer.param_groups[0]["lr"] = 0.5
    steps(optimizer, params)
    return params


def interleaved_groups(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    make(t, params)  # lays them out in this order
    optimizer = make(t, [{"params": [params[2], params[0]]}, {"params": [params[1]], "lr": 0.3}])
    steps(optimizer, params)
    return params


def accumulated(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    for k in range(6):
        give_gradients(params, k)
        if k % 2:
            optimizer.step()
            optimizer.zero_grad()
    return params


def several_dtypes(t: Any, make: Any) -> list[Any]:
    params = [*parameters(t), *parameters(t, "float32")]
    optimizer = make(t, params)
    for k in range(3):
        optimizer.zero_grad()
        give_gradients(params[:3], k)
        give_gradients(params[3:], k)
        optimizer.step()
    return params


def a_transposed_parameter(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    params[0].data = t.ones(3, 2, dtype=t.float64).t()
    steps(optimizer, params)
    return params


def shared_by_modules(t: Any, make: Any) -> list[Any]:
    """Two layers with one weight: its gradient is the sum, and it is updated once."""
    nn = t.nn
    a, b = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
    with t.no_grad():
        for i, p in enumerate((*a.parameters(), *b.parameters())):
            p.copy_(t.arange(p.numel(), dtype=t.float64).reshape(p.shape) * 0.1 + i)
    b.weight = a.weight
    model = nn.Sequential(a, b)
    optimizer = make(t, list(model.parameters()))
    for k in range(4):
        optimizer.zero_grad()
        (model(t.ones(2, 3, dtype=t.float64) * (k + 1)) ** 2).mean().backward()
        optimizer.step()
    assert a.weight is b.weight
    return list(model.parameters())


def frozen_with_a_gradient(t: Any, make: Any) -> list[Any]:
    """PyTorch updates whatever has a gradient, frozen or not."""
    params = parameters(t)
    optimizer = make(t, params)
    steps(optimizer, params, 2)
    params[1].requires_grad_(False)
    optimizer.step()
    params[1].grad = t.ones(3, dtype=t.float64)
    optimizer.step()
    params[1].requires_grad_(True)
    steps(optimizer, params, 2)
    return params


def a_strided_parameter(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    wide = t.arange(16.0, dtype=t.float64).reshape(2, 8)
    params[0] = wide[:, ::3].detach().requires_grad_()
    optimizer = make(t, params)
    steps(optimizer, params, 2)
    params[2].data = t.arange(12.0, dtype=t.float64)[::3]
    steps(optimizer, params, 2)
    return params


def replaced_by_another_dtype(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = make(t, params)
    steps(optimizer, params, 2)
    params[0].grad = None
    params[0].data = params[0].data.float()
    params[0].grad = t.ones(2, 3, dtype=t.float32)
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)  # in PyTorch, what brings state to the new dtype
    optimizer.step()
    return params


def another_size(t: Any, make: Any) -> list[Any]:
    params = parameters(t)
    optimizer = t.optim.SGD(params, lr=0.1)
    steps(optimizer, params)
    params[1].data = t.ones(5, dtype=t.float64)
    params[1].grad = None
    steps(optimizer, params)
    return params


def maker(name: str) -> Any:
    def make(t: Any, params: Any) -> Any:
        return make_one(t, name, params)

    return make


FREEDOMS = [
    frozen_then_thawed, frozen_from_the_start, without_a_gradient_nothing_decays, data_reassigned, written_in_place,
    gradient_assigned, zeroed_in_place, two_optimizers, added_later, two_groups, interleaved_groups, accumulated,
    several_dtypes, a_transposed_parameter, another_size, shared_by_modules, frozen_with_a_gradient,
    a_strided_parameter, replaced_by_another_dtype,
]  # fmt: skip


@pytest.mark.torch
@each_of_pytorchs
@pytest.mark.parametrize("freedom", FREEDOMS, ids=lambda f: f.__name__)
def test_freedoms_end_where_pytorch_ends(freedom: Any, name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = freedom(distgrad, maker(name))
    theirs = freedom(torch, maker(name))
    for a, b in zip(ours, theirs, strict=True):
        assert str(a.dtype) == str(b.dtype)
        tolerance = 1e-9 if a.dtype is distgrad.float64 else 1e-5
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


@each
@pytest.mark.parametrize("freedom", FREEDOMS, ids=lambda f: f.__name__)
def test_freedoms_do_not_depend_on_storage(freedom: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with every parameter in a storage of its own, so that nothing is updated together."""
    together = freedom(distgrad, maker(name))
    from distgrad import storage

    flatten = storage.flatten
    monkeypatch.setattr(storage, "flatten", lambda params, make=None: [s for p in params for s in flatten([p], make)])
    alone = freedom(distgrad, maker(name))
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_an_old_gradient_kept_by_the_user_keeps_its_values() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    give_gradients(params, 0)
    kept, values = params[0].grad, params[0].grad.tolist()
    optimizer.zero_grad()
    give_gradients(params, 1)
    assert kept.tolist() == values
    assert params[0].grad.tolist() != values
    optimizer.step()
    assert kept.tolist() == values


def test_a_shared_parameter_counts_once() -> None:
    x = distgrad.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.SGD([x, x], lr=0.1)
    (x + x).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(x.detach().numpy(), 0.8)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [x]}, {"params": [x]}], lr=0.1)


@each
def test_moved_to_a_device_after_the_optimizer_was_made(name: str, device_double) -> None:
    def run(move: bool) -> list[Any]:
        params = parameters(distgrad)
        optimizer = make_one(distgrad, name, params)
        steps(optimizer, params)
        if move:
            for p in params:
                p.data = p.data.to("cuda:0")
                p.grad = None
        steps(optimizer, params)
        if move:
            arrays = [v for k, v in optimizer.state[params[0]].items() if v.ndim]
            assert all(v.device.type == "cuda" for v in arrays)
            saved = optimizer.state_dict()
            fresh = make_one(distgrad, name, params)
            fresh.load_state_dict(saved)
            optimizer = fresh
        steps(optimizer, params)
        return params

    moved = run(True)
    assert all(p.device.type == "cuda" and p.grad.device.type == "cuda" for p in moved)
    for a, b in zip(moved, run(False), strict=True):
        np.testing.assert_allclose(a.detach().cpu().numpy(), b.detach().numpy(), rtol=1e-12)


def test_a_gradient_kept_from_before_freezing_keeps_its_values() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    for thaw in (False, True):
        params[1].requires_grad_(True)
        optimizer.zero_grad()
        give_gradients(params, 0)
        optimizer.step()
        kept, values = params[1].grad, params[1].grad.tolist()
        params[1].requires_grad_(False)
        params[1].grad = None
        if thaw:
            params[1].requires_grad_(True)
            optimizer.zero_grad()
            give_gradients(params, 1)
            assert params[1].grad.tolist() != values
        else:
            params[1].grad = distgrad.ones(3, dtype=distgrad.float64)
        optimizer.step()
        assert kept.tolist() == values


def test_a_thawed_parameter_is_updated_with_its_neighbours_again() -> None:
    params = parameters(distgrad)
    optimizer = optim.Adam(params, lr=0.1)
    params[1].requires_grad_(False)
    optimizer.step()
    params[1].requires_grad_(True)
    steps(optimizer, params, 2)
    (segment,) = optimizer._segments[0]
    assert segment.whole(segment.params)
