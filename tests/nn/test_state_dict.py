"""Saving and loading a module's state."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

import distgrad
from distgrad import nn


def net() -> Any:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))


def values(module: nn.Module) -> list[Any]:
    return [t.tolist() for t in module.state_dict().values()]


def test_keys_order_and_sharing() -> None:
    model = net()
    state = model.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == ["0.weight", "0.bias", "2.weight"]
    assert not any(t.requires_grad for t in state.values())
    assert all(type(t) is distgrad.Tensor for t in state.values())
    with distgrad.no_grad():
        model[0].bias.fill_(9.0)
    assert state["0.bias"].tolist() == [9.0] * 3
    kept = model.state_dict(prefix="m.", keep_vars=True)
    assert list(kept) == ["m.0.weight", "m.0.bias", "m.2.weight"]
    assert kept["m.0.weight"] is model[0].weight
    given: dict[str, Any] = {"other": 1}
    assert model.state_dict(destination=given) is given
    assert list(given) == ["other", "0.weight", "0.bias", "2.weight"]


def test_buffers_and_shared_parameters_are_saved() -> None:
    model = nn.Module()
    model.register_buffer("kept", distgrad.ones(1))
    model.register_buffer("scratch", distgrad.ones(1), persistent=False)
    model.a = nn.Linear(1, 1)
    model.b = model.a
    assert list(model.state_dict()) == ["kept", "a.weight", "a.bias", "b.weight", "b.bias"]


def test_round_trip_copies_in_place_and_answers() -> None:
    one, two = net(), net()
    parameters = list(two.parameters())
    arrays = [p._data for p in parameters]
    found = two.load_state_dict(one.state_dict())
    assert str(found) == repr(found) == "<All keys matched successfully>"
    assert values(one) == values(two)
    assert all(p is q for p, q in zip(parameters, two.parameters(), strict=True))
    assert all(p._data is a for p, a in zip(parameters, arrays, strict=True))
    assert all(p.requires_grad and p.is_leaf for p in two.parameters())
    with distgrad.no_grad():
        one[0].weight.fill_(3.0)
    assert values(one) != values(two)


def test_values_of_another_dtype_are_cast() -> None:
    model = net()
    model.load_state_dict({k: distgrad.ones(*v.shape, dtype=distgrad.float64) for k, v in model.state_dict().items()})
    assert {p.dtype for p in model.parameters()} == {distgrad.float32}
    assert model[2].weight.tolist() == [[1.0, 1.0, 1.0]]


def test_everything_wrong_is_listed_at_once() -> None:
    state = {"0.weight": distgrad.ones(3, 3), "0.bias": 3, "x": distgrad.ones(1), "0.y": distgrad.ones(1)}
    with pytest.raises(RuntimeError) as caught:
        net().load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "2.weight". \n'
        '\tUnexpected key(s) in state_dict: "x", "0.y". \n'
        "\tsize mismatch for 0.weight: copying a param with shape torch.Size([3, 3]) from checkpoint, the shape in "
        "current model is torch.Size([3, 2]).\n"
        '\tWhile copying the parameter named "0.bias", expected torch.Tensor or Tensor-like object from checkpoint but '
        "received <class 'int'>"
    )
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'int'>"):
        net().load_state_dict(3)


def test_not_strict_loads_what_fits() -> None:
    model = net()
    found = model.load_state_dict({"0.bias": distgrad.ones(3), "x": distgrad.ones(1)}, strict=False)
    assert found.missing_keys == ["0.weight", "2.weight"]
    assert repr(found) == "_IncompatibleKeys(missing_keys=['0.weight', '2.weight'], unexpected_keys=['x'])"
    assert model[0].bias.tolist() == [1.0] * 3
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.bias"):
        model.load_state_dict({"0.bias": distgrad.ones(4)}, strict=False)


def test_assign_takes_the_tensors_themselves() -> None:
    model = net()
    given = {k: distgrad.ones(*v.shape, dtype=distgrad.float64) for k, v in model.state_dict().items()}
    model[0].bias.requires_grad_(False)
    model.load_state_dict(given, assign=True)
    assert model[0].weight._data is given["0.weight"]._data
    assert isinstance(model[0].weight, nn.Parameter)
    assert model[0].weight.requires_grad
    assert not model[0].bias.requires_grad


class Counting(nn.Module):
    """Saves more than tensors, and renames an old key."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(distgrad.zeros(1))
        self.n = 0

    def get_extra_state(self) -> Any:
        return {"n": self.n}

    def set_extra_state(self, state: Any) -> None:
        self.n = state["n"]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if prefix + "old" in state_dict:
            state_dict[prefix + "w"] = state_dict.pop(prefix + "old")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def test_extra_state_and_renamed_keys() -> None:
    model = nn.Sequential(Counting())
    model[0].n = 5
    state = model.state_dict()
    assert list(state) == ["0.w", "0._extra_state"]
    other = nn.Sequential(Counting())
    other.load_state_dict(state)
    assert other[0].n == 5
    given = {"0.old": distgrad.ones(1), "0._extra_state": {"n": 2}}
    other.load_state_dict(given)
    assert other[0].w.tolist() == [1.0]
    assert "0.old" in given  # the caller's dictionary is left alone
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0\._extra_state"'):
        other.load_state_dict({"0.w": distgrad.ones(1)})


def test_hooks_run_around_saving_and_loading() -> None:
    model = net()
    seen: list[str] = []
    handles = [
        model[0].register_state_dict_pre_hook(lambda m, prefix, keep_vars: seen.append(f"save {prefix}")),
        model.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(more=1)),
        model[0].register_load_state_dict_pre_hook(lambda m, state, prefix, *rest: seen.append(f"load {prefix}")),
        model.register_load_state_dict_post_hook(lambda m, keys: keys.unexpected_keys.clear()),
    ]
    state = model.state_dict()
    assert state["more"] == 1
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    assert seen == ["save 0.", "load 0."]
    for handle in handles:
        handle.remove()
    assert "more" not in model.state_dict()
    assert seen == ["save 0.", "load 0."]
