"""State that users move, keep, exchange or give other memory, as pruning, growing and switching scripts do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad import nn, optim


def stepped(name: str = "adam", n: int = 2, size: int = 4, **options: Any) -> tuple[Any, Any]:
    """A parameter of ones, and its optimizer after ``n`` steps with gradients 0, 1, 2, …"""
    p = nn.Parameter(distgrad.ones(size, dtype=distgrad.float64))
    o = optim.get(name)([p], lr=0.1, **options)
    for _ in range(n):
        p.grad = distgrad.arange(float(size), dtype=distgrad.float64)
        o.step()
    return p, o


PRUNED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "deleted": lambda o, p, st: o.state.__delitem__(p),
    "popped": lambda o, p, st: o.state.pop(p),
    "popped with a default": lambda o, p, st: o.state.pop(p, None),
    "left": lambda o, p, st: None,
}


@pytest.mark.parametrize("how", PRUNED)
@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "nadam", "adagrad"])
def test_state_moved_to_a_pruned_parameter_goes_on(name: str, copied: bool, how: str) -> None:
    p, o = stepped(name)
    q, twin = stepped(name)
    state = copy.deepcopy(o.state[p]) if copied else o.state.get(p)
    for key, value in list(state.items()):
        if value.ndim:
            state[key] = value[2:]
    PRUNED[how](o, p, state)
    new = nn.Parameter(p[2:].detach().requires_grad_())
    o.param_groups[0]["params"][0] = new
    o.state[new] = state
    new.grad = distgrad.arange(4.0, dtype=distgrad.float64)[2:]
    q.grad = distgrad.arange(4.0, dtype=distgrad.float64)
    for _ in range(2):
        o.step()
        twin.step()
    assert distgrad.allclose(new, q[2:], rtol=1e-12)
    assert o.state[new]["step"].item() == 4


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_state_moved_to_a_grown_parameter_goes_on(name: str) -> None:
    options = {"momentum": 0.9} if name == "sgd" else {}
    p, o = stepped(name, **options)
    grown = nn.Parameter(distgrad.cat([p.detach(), distgrad.ones(2, dtype=distgrad.float64)]))
    state = o.state.pop(p)
    for key, value in list(state.items()):
        if value.ndim:
            state[key] = distgrad.cat([value, distgrad.zeros(2, dtype=distgrad.float64)])
    o.param_groups[0]["params"] = [grown]
    o.state[grown] = state
    q, twin = stepped(name, **options)
    grown.grad = distgrad.ones(6, dtype=distgrad.float64)
    q.grad = distgrad.ones(4, dtype=distgrad.float64)
    o.step()
    twin.step()
    assert distgrad.allclose(grown[:4], q, rtol=1e-12)


def momentum() -> tuple[Any, Any, Any]:
    p, q = (nn.Parameter(distgrad.ones(2, dtype=distgrad.float64)) for _ in range(2))
    o = optim.SGD([p, q], lr=1.0, momentum=0.5)
    p.grad, q.grad = distgrad.ones(2, dtype=distgrad.float64), 10 * distgrad.ones(2, dtype=distgrad.float64)
    o.step()
    return p, q, o


def swap_entries(o: Any, p: Any, q: Any) -> None:
    o.state[p], o.state[q] = o.state[q], o.state[p]


def swap_buffers(o: Any, p: Any, q: Any) -> None:
    a, b = o.state[p], o.state[q]
    a["momentum_buffer"], b["momentum_buffer"] = b["momentum_buffer"], a["momentum_buffer"]


@pytest.mark.parametrize("swap", [swap_entries, swap_buffers])
def test_swapped_state_is_swapped(swap: Callable[[Any, Any, Any], None]) -> None:
    p, q, o = momentum()
    swap(o, p, q)
    o.step()
    assert p.tolist() == [1 - 1 - (10 * 0.5 + 1)] * 2
    assert q.tolist() == [1 - 10 - (1 * 0.5 + 10)] * 2


def test_state_that_was_put_aside_is_as_it_was() -> None:
    p, o = stepped("sgd", momentum=0.9)
    kept, values = o.state[p]["momentum_buffer"], o.state[p]["momentum_buffer"].tolist()
    saved = dict(o.state)
    o.state.clear()
    o.step()
    o.step()
    assert kept.tolist() == values
    o.state.clear()
    o.state.update(saved)
    assert o.state_dict()["state"][0]["momentum_buffer"].tolist() == values
    before = p.detach().clone()
    o.step()
    assert distgrad.allclose(p, before - 0.1 * (0.9 * kept + distgrad.arange(4.0, dtype=distgrad.float64)))


def test_loading_one_state_leaves_another_as_it_was() -> None:
    p, o = stepped("sgd", momentum=0.9)
    a = o.state_dict()
    values = a["state"][0]["momentum_buffer"].tolist()
    b = {"state": {0: {"momentum_buffer": distgrad.full((4,), 100.0)}}, "param_groups": a["param_groups"]}
    o.load_state_dict(b)
    assert o.state[p]["momentum_buffer"].tolist() == [100.0] * 4
    assert a["state"][0]["momentum_buffer"].tolist() == values
    o.load_state_dict(a)
    assert o.state[p]["momentum_buffer"].tolist() == values


def test_loading_more_state_than_there_was_takes_all_of_it() -> None:
    p, source = stepped("adam", 3, amsgrad=True)
    q, target = stepped("adam", 1)
    target.load_state_dict(copy.deepcopy(source.state_dict()))
    q.data.copy_(p.data)
    for o, x in ((source, p), (target, q)):
        x.grad = distgrad.ones(4, dtype=distgrad.float64)
        o.step()
    assert q.tolist() == p.tolist()
    assert target.state[q]["step"].item() == 4


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
def test_state_given_other_memory_is_what_is_used(name: str) -> None:
    p, o = stepped("adam")
    q, twin = stepped("adam")
    o.state[p][name].data = distgrad.full((4,), 7.0, dtype=distgrad.float64)
    twin.state[q][name] = distgrad.full((4,), 7.0, dtype=distgrad.float64)
    o.step()
    twin.step()
    assert p.tolist() == q.tolist()


@pytest.mark.parametrize("name", ["sgd", "adam", "muon"])
def test_a_gradient_given_other_memory_is_what_is_used(name: str) -> None:
    """``p.grad.data = …``, before and behind the first step; and what is done to it then is seen."""
    p, q = (nn.Parameter(distgrad.ones(2, 2)) for _ in range(2))
    o, twin = optim.get(name)([p], lr=0.1), optim.get(name)([q], lr=0.1)
    for i in range(3):
        for x, opt in ((p, o), (q, twin)):
            opt.zero_grad()
            (x * distgrad.arange(4.0).view(2, 2)).sum().backward()
        p.grad.data = p.grad.data * -2
        q.grad = q.grad * -2
        if i == 1:
            nn.utils.clip_grad_norm_([p], 0.5)
            nn.utils.clip_grad_norm_([q], 0.5)
        if i == 2:
            p.grad.data = distgrad.ones(2, 2)
            p.grad.mul_(3)
            q.grad = distgrad.full((2, 2), 3.0)
        o.step()
        twin.step()
        assert p.tolist() == q.tolist()
    p.grad.data = distgrad.ones(2, 2)
    o.zero_grad(set_to_none=False)
    assert not bool(p.grad.any())


@pytest.mark.parametrize("freeze", ["requires_grad = False", "requires_grad_", "detach_", "module"])
@pytest.mark.parametrize("optimized", [False, True])
def test_what_is_frozen_between_forward_and_backward_gets_no_gradient(freeze: str, optimized: bool) -> None:
    m, z = nn.Linear(2, 1), distgrad.ones(3, 2, requires_grad=True)
    before = m.weight.tolist(), m.bias.tolist()
    o = optim.SGD(m.parameters(), lr=0.1) if optimized else None
    loss = m(z).sum()
    for p in m.parameters():
        if freeze == "requires_grad = False":
            p.requires_grad = False
        elif freeze == "requires_grad_":
            p.requires_grad_(False)
        elif freeze == "detach_":
            p.detach_()
    if freeze == "module":
        m.requires_grad_(False)
    loss.backward()
    assert z.grad is not None
    assert m.weight.grad is None
    assert m.bias.grad is None
    if o is not None:
        o.step()
    assert (m.weight.tolist(), m.bias.tolist()) == before


GROUPS: dict[str, Callable[[Any, Any], Any]] = {
    "popped and added": lambda o, new: (o.param_groups.pop(0), o.add_param_group({"params": [new]})),  # type: ignore[func-returns-value]
    "cleared and added": lambda o, new: (o.param_groups.clear(), o.add_param_group({"params": [new]})),  # type: ignore[func-returns-value]
    "replaced and added": lambda o, new: (
        setattr(o, "param_groups", []), o.add_param_group({"params": [new]}),  # type: ignore[func-returns-value]
    ),
    "appended": lambda o, new: o.param_groups.append({**o.param_groups[0], "params": [new]}),
    "exchanged": lambda o, new: o.param_groups.__setitem__(0, {**o.param_groups[0], "params": [new]}),
    "reversed": lambda o, new: (
        o.param_groups.append({**o.param_groups[0], "params": [new]}), o.param_groups.reverse(),  # type: ignore[func-returns-value]
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", GROUPS)
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_groups_changed_by_hand_are_followed(name: str, how: str) -> None:
    p, other = (nn.Parameter(distgrad.ones(2)) for _ in range(2))
    o = optim.get(name)([{"params": [p]}, {"params": [other]}], lr=0.5)
    p.grad, other.grad = distgrad.ones(2), distgrad.ones(2)
    o.step()
    new = nn.Parameter(distgrad.ones(2))
    GROUPS[how](o, new)
    inside = [x for g in o.param_groups for x in g["params"]]
    before = {id(x): x.tolist() for x in (p, other, new)}
    p.grad = other.grad = new.grad = distgrad.ones(2)
    o.step()
    for x in (p, other, new):
        assert (x.tolist() != before[id(x)]) == any(x is y for y in inside)


def test_state_of_a_shape_that_the_parameter_no_longer_has() -> None:
    """As in PyTorch nobody looks at it until there is a gradient; then it is an error."""
    p, o = stepped("sgd", momentum=0.9)
    p.grad = None
    p.data = p.data[:1]
    o.step()
    twin, others = copy.deepcopy((p, o))
    others.step()
    assert twin.tolist() == p.tolist()
    p.grad = distgrad.ones(1, dtype=distgrad.float64)
    with pytest.raises(RuntimeError, match="shape"):
        o.step()
    o.state[p]["momentum_buffer"] = distgrad.ones(1, dtype=distgrad.float64)
    before = p.item()
    o.step()
    assert p.item() == pytest.approx(before - 0.1 * 1.9)
