"""The device ``meta``: tensors with a shape and a dtype and no elements, and modules made of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad import nn

META = {"device": "meta"}
CASES: dict[str, Callable[[Any], Any]] = {
    "printed": lambda t: [repr(t.empty(2, 3, dtype=k, **META)) for k in (t.float32, t.float64, t.int64, t.bool)],
    "printed parameter": lambda t: repr(t.nn.Linear(2, 1, **META).weight),
    "printed scalar": lambda t: repr(t.zeros((), **META)),
    "in a context": lambda t: contexts(t),
    "moved there": lambda t: repr(t.ones(2).to("meta")),
    "a sum": lambda t: repr(t.empty(2, 1, **META) + t.empty(3, **META)),
    "a sum with a number": lambda t: repr(t.empty(2, dtype=t.int64, **META) * 1.5),
    "a product": lambda t: repr(t.empty(4, 2, 3, **META) @ t.empty(3, 5, **META)),
    "activations": lambda t: repr(t.nn.functional.relu(t.empty(2, **META)).tanh()),
    "a sum of elements": lambda t: [tuple(t.empty(2, 3, **META).sum(1).shape), t.empty(2, **META).sum().device.type],
    "a comparison": lambda t: repr(t.empty(2, **META) > 0),
    "views": lambda t: [
        tuple(x.shape) for x in (t.empty(2, 3, **META).T, t.empty(2, 3, **META).view(6), t.empty(2, 3, **META)[0, 1:])
    ],
    "strides": lambda t: [t.empty(2, 3, **META).stride(), t.empty(2, 3, **META).T.stride()],
    "a layer": lambda t: tuple(t.nn.Linear(2, 3, **META)(t.empty(5, 2, **META)).shape),
    "layers": lambda t: tuple(
        t.nn.Sequential(t.nn.Linear(2, 4, **META), t.nn.ReLU(), t.nn.Linear(4, 3, **META))(t.empty(5, 2, **META)).shape
    ),
    "types": lambda t: [str(v.dtype) for v in t.nn.BatchNorm1d(2, **META).half().state_dict().values()],
    "to the CPU": lambda t: t.nn.Linear(2, 1, **META).to("cpu"),
    "copied out": lambda t: t.empty(2, **META).cpu(),
    "as a list": lambda t: t.empty(2, **META).tolist(),
    "an item": lambda t: t.empty(1, **META).item(),
    "a condition": lambda t: bool(t.empty(1, **META)),
    "emptied": lambda t: [str(p.device) for p in t.nn.Linear(2, 1, **META).to_empty(device="cpu").parameters()],
    "assigned": lambda t: assigned(t),
    "more than any memory": lambda t: tuple(t.nn.Linear(10**7, 10**7, **META).weight.shape),
    "filled": lambda t: repr(t.empty(2, **META).fill_(3.0).zero_()),
    "is_meta": lambda t: [t.empty(1, **META).is_meta, t.empty(1).is_meta, t.empty(1, **META).is_cpu],
}


def contexts(t: Any) -> list[Any]:
    where = []
    with t.device("meta"):
        where.append(t.nn.Linear(1, 1).weight.device.type)
        with t.device("cpu"):
            where.append(t.ones(1).device.type)
        where += [t.tensor([1.0]).device.type, t.ones(1, device="cpu").device.type, t.get_default_device().type]
    return [*where, t.ones(1).device.type]


def assigned(t: Any) -> list[Any]:
    model = t.nn.Sequential(t.nn.Linear(2, 1, **META), t.nn.BatchNorm1d(1, **META))
    given = t.nn.Sequential(t.nn.Linear(2, 1), t.nn.BatchNorm1d(1))
    model.load_state_dict(given.state_dict(), assign=True)
    same = model(t.ones(3, 2)).tolist() == given(t.ones(3, 2)).tolist()
    return [same, type(model[0].weight).__name__, model[0].weight.requires_grad, model[1].running_var.device.type]


def told(case: str, t: Any) -> Any:
    try:
        return CASES[case](t)
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_the_device_is_pytorchs(case: str) -> None:
    assert told(case, distgrad) == told(case, pytest.importorskip("torch"))


def test_by_hand() -> None:
    x = distgrad.empty(2, 3, **META)
    assert repr(x) == "tensor(..., device='meta', size=(2, 3))"
    assert (x @ x.T).shape == (2, 2)
    assert (x + 1).is_meta
    assert contexts(distgrad) == ["meta", "cpu", "meta", "cpu", "meta", "cpu"]
    assert assigned(distgrad) == [True, "Parameter", True, "cpu"]
    with pytest.raises(NotImplementedError, match="no data"):
        x.cpu()
    with pytest.raises(RuntimeError, match="item"):
        x.sum().item()
    with pytest.raises(RuntimeError, match="meta"):
        x + distgrad.ones(3)
    with pytest.raises(NotImplementedError, match="meta"):
        nn.Conv1d(1, 1, 2, **META)(distgrad.empty(1, 1, 3, **META))


def test_values_that_are_not_taken_are_told_of() -> None:
    layer = nn.Linear(2, 1, **META)
    with pytest.warns(UserWarning, match="which is a no-op"):
        layer.load_state_dict(nn.Linear(2, 1).state_dict())
    assert layer.weight.is_meta


def test_nothing_is_drawn_there_and_other_threads_are_elsewhere() -> None:
    distgrad.manual_seed(0)
    first = distgrad.rand(1)
    distgrad.manual_seed(0)
    seen = []
    with distgrad.device("meta"):
        nn.Linear(20, 20)
        thread = threading.Thread(target=lambda: seen.append(distgrad.ones(1).device.type))
        thread.start()
        thread.join()
    assert seen == ["cpu"]
    assert distgrad.rand(1).equal(first)
