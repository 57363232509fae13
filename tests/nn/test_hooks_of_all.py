"""Hooks of all modules, of what modules are given, and around states; set_submodule, to_empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad import nn
from distgrad.nn.modules import module as of_all


def kinds(t: Any) -> Any:
    if t is distgrad:
        return of_all
    import importlib

    return importlib.import_module("torch.nn.modules.module")


def order_of_hooks(t: Any) -> list[Any]:
    log: list[Any] = []
    m = kinds(t)
    handles = [
        m.register_module_forward_pre_hook(lambda m, a: log.append(("all before", type(m).__name__))),
        m.register_module_forward_hook(lambda m, a, o: log.append(("all after", type(m).__name__))),
        m.register_module_full_backward_pre_hook(lambda m, g: log.append(("all back", type(m).__name__))),
        m.register_module_full_backward_hook(lambda m, gi, go: log.append(("all done", type(m).__name__, len(gi)))),
    ]
    layer = t.nn.Linear(2, 1)
    layer.register_forward_hook(lambda m, a, o: log.append("after"))
    layer.register_forward_pre_hook(lambda m, a: log.append("before"))
    layer.register_full_backward_hook(lambda m, gi, go: log.append("done"))
    layer.register_full_backward_pre_hook(lambda m, go: log.append("back"))
    model = t.nn.Sequential(layer, t.nn.Tanh())
    model(t.ones(1, 2, requires_grad=True)).sum().backward()
    for handle in handles:
        handle.remove()
    model(t.ones(1, 2))
    return log


def test_hooks_of_all_modules_come_before_the_modules_own() -> None:
    log = order_of_hooks(distgrad)
    assert log == [
        ("all before", "Sequential"), ("all before", "Linear"), "before", ("all after", "Linear"), "after",
        ("all before", "Tanh"), ("all after", "Tanh"), ("all after", "Sequential"), ("all back", "Sequential"),
        ("all back", "Tanh"), ("all done", "Tanh", 1), ("all back", "Linear"), "back", ("all done", "Linear", 1),
        "done", ("all done", "Sequential", 1), "before", "after",
    ]  # fmt: skip


def what_is_told(t: Any) -> list[Any]:
    log: list[Any] = []
    m = kinds(t)
    names = ("module", "parameter", "buffer")

    def told(kind: str) -> Callable[..., None]:
        return lambda m, name, what: log.append((kind, type(m).__name__, name, type(what).__name__))

    handles = [getattr(m, f"register_module_{kind}_registration_hook")(told(kind)) for kind in names]
    t.nn.Sequential(t.nn.BatchNorm1d(2))
    layer = t.nn.Linear(1, 1)
    layer.weight = t.nn.Parameter(t.ones(1, 1))
    layer.other = t.nn.ReLU()
    layer.register_buffer("seen", t.ones(1))
    layer.seen = t.zeros(1)
    layer.register_parameter("none", None)
    for handle in handles:
        handle.remove()
    t.nn.Linear(1, 1)
    return log


def test_what_modules_are_given_is_told() -> None:
    assert what_is_told(distgrad)[:6] == [
        ("parameter", "BatchNorm1d", "weight", "Parameter"), ("parameter", "BatchNorm1d", "bias", "Parameter"),
        ("buffer", "BatchNorm1d", "running_mean", "Tensor"), ("buffer", "BatchNorm1d", "running_var", "Tensor"),
        ("buffer", "BatchNorm1d", "num_batches_tracked", "Tensor"), ("module", "Sequential", "0", "BatchNorm1d"),
    ]  # fmt: skip


def states(t: Any) -> list[Any]:
    log: list[Any] = []
    layer = t.nn.Linear(2, 1)
    layer.register_state_dict_pre_hook(lambda m, prefix, keep: log.append((prefix, keep)))
    layer.register_state_dict_post_hook(lambda m, s, prefix, local: log.append((list(s), prefix, local)))
    layer._register_state_dict_hook(lambda m, s, prefix, local: log.append(list(s)))
    state = t.nn.Sequential(layer).state_dict()
    log.append(dict(state._metadata))
    layer.register_load_state_dict_pre_hook(lambda m, *rest: log.append((type(m).__name__, len(rest))))
    layer._register_load_state_dict_pre_hook(lambda *rest: log.append((len(rest), dict(rest[2]))))
    layer._register_load_state_dict_pre_hook(lambda *rest: log.append(len(rest)), with_module=True)
    layer.register_load_state_dict_post_hook(lambda m, keys: log.append(str(keys)))
    layer.load_state_dict(t.nn.Linear(2, 1).state_dict())
    other = t.nn.Linear(2, 1)
    other._register_state_dict_hook(lambda m, s, prefix, local: {"a": 1})
    log.append(other.state_dict())
    return log


def test_hooks_around_states_are_given_what_pytorch_gives() -> None:
    assert states(distgrad)[:3] == [
        ("0.", False), (["0.weight", "0.bias"], "0.", {"version": 1}), ["0.weight", "0.bias"],
    ]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("told", [order_of_hooks, what_is_told, states])
def test_hooks_are_told_what_pytorch_tells(told: Callable[[Any], Any]) -> None:
    assert told(distgrad) == told(pytest.importorskip("torch"))


def test_a_hook_that_is_always_called() -> None:
    class Fails(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("x")

    seen: list[Any] = []
    layer = Fails()
    layer.register_forward_hook(lambda m, args, out: seen.append("never"))
    layer.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(ValueError, match="x"):
        layer(1)
    assert seen == [None]

    def keep(m: Any, args: Any, kwargs: Any, out: Any) -> None:
        seen.append(kwargs)

    handle = of_all.register_module_forward_hook(keep, with_kwargs=True, always_call=True)
    with handle, pytest.raises(ValueError, match="x"):
        layer(x=1)
    assert seen == [None, {"x": 1}, None]
    layer.register_forward_hook(lambda m, args, out: 1 / 0, always_call=True)
    with pytest.warns(UserWarning, match="was silenced"), pytest.raises(ValueError, match="x"):
        layer(1)


def test_hooks_replace_what_is_given() -> None:
    with of_all.register_module_parameter_registration_hook(lambda m, n, p: nn.Parameter(p.double())):
        layer = nn.Linear(1, 1)
    assert layer.weight.dtype is distgrad.float64
    for post, kind in (("register_state_dict_post_hook", RuntimeError), ("load", AssertionError)):
        layer = nn.Linear(1, 1)
        if post == "load":
            layer.register_load_state_dict_post_hook(lambda m, keys: 3)
            with pytest.raises(kind):
                layer.load_state_dict(layer.state_dict())
        else:
            getattr(layer, post)(lambda m, *rest: 3)
            with pytest.raises(kind, match="must return None"):
                layer.state_dict()


SET: dict[str, tuple[str, Any, bool]] = {
    "there": ("1.0", nn.Tanh(), True),
    "new": ("1.3", nn.Tanh(), False),
    "new, strictly": ("1.4", nn.Tanh(), True),
    "nowhere": ("7.0", nn.Tanh(), False),
    "no name": ("", nn.Tanh(), False),
    "no module": ("1.0", 3, False),
    "a parameter": ("0.weight", nn.Tanh(), False),
    "below a parameter": ("0.weight.x", nn.Tanh(), False),
}


@pytest.mark.torch
@pytest.mark.parametrize("case", SET)
def test_modules_are_put_where_pytorch_puts_them(case: str) -> None:
    torch = pytest.importorskip("torch")
    said = []
    for t in (distgrad, torch):
        target, new, strict = SET[case]
        model = t.nn.Sequential(t.nn.Linear(1, 1), t.nn.Sequential(t.nn.ReLU()))
        try:
            model.set_submodule(target, t.nn.Tanh() if isinstance(new, nn.Module) else new, strict)
            said.append(repr(model))
        except Exception as error:
            said.append((type(error).__name__, str(error)))
    assert said[0] == said[1]


def test_a_module_moves_without_its_values() -> None:
    layer = nn.Linear(2, 3).double()
    kept = layer.weight
    assert layer.to_empty(device="cpu") is layer
    assert layer.weight is kept
    assert layer.weight.shape == (3, 2)
    assert layer.weight.dtype is distgrad.float64


def test_hooks_of_the_last_operation() -> None:
    seen: list[Any] = []
    layer = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    handle = layer.register_backward_hook(lambda m, given, out: seen.append((m, len(given), out[0].tolist())))
    x = distgrad.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert seen == [(layer, 1, [[1.0]])]
    assert len(layer._backward_hooks) == 1
    with pytest.raises(RuntimeError, match="Cannot use both"):
        layer.register_full_backward_hook(lambda *args: None)
    handle.remove()
    layer.register_full_backward_hook(lambda *args: None)
    with pytest.raises(RuntimeError, match="Cannot use both"):
        layer.register_backward_hook(lambda *args: None)

    class Several(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"none": 1, "twice": x * 2}

    several = Several()
    several.register_backward_hook(lambda m, given, out: (given[0] * 10, *given[1:]))
    x.grad = None
    several(x)["twice"].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[20.0, 20.0]]


def test_bases_behind_module_are_set_up_if_wanted() -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    class Both(nn.Module, Named):
        call_super_init = True

    assert Both(name="x").name == "x"
    with pytest.raises(TypeError):
        nn.Module(name="x")


def test_a_state_says_of_which_version_it_is() -> None:
    layer = nn.BatchNorm1d(1)
    state = layer.state_dict()
    assert state._metadata == {"": {"version": 2}}  # type: ignore[attr-defined]
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        layer.load_state_dict(state)
    layer.load_state_dict(dict(state))  # of any version
    with pytest.warns(FutureWarning, match="Positional args are being deprecated"):
        found = layer.state_dict({}, "p.")
    assert next(iter(found)) == "p.weight"
