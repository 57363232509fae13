"""Modules beside PyTorch's: the same program, run with each library, prints, refuses and computes the same."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn.modules import activation

pytestmark = pytest.mark.torch

Program = Callable[[Any], Any]  # takes distgrad or torch


@pytest.fixture(name="torch")
def _torch() -> Any:
    return pytest.importorskip("torch")


def model(lib: Any) -> Any:
    """Nested, with a shared layer, a missing bias, buffers and parameters in containers."""

    class Model(lib.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = lib.nn.Sequential(lib.nn.Flatten(), lib.nn.Linear(6, 4), lib.nn.ReLU(inplace=True))
            self.head = lib.nn.Linear(4, 4, bias=False)
            self.again = self.head
            self.many = lib.nn.ModuleList([lib.nn.Linear(4, 4), lib.nn.Linear(4, 4), lib.nn.Dropout(0.1)])
            self.named = lib.nn.ModuleDict(OrderedDict(a=lib.nn.Tanh(), b=lib.nn.Sequential()))
            self.free = lib.nn.Parameter(lib.ones(2, 3))
            self.listed = lib.nn.ParameterList([lib.nn.Parameter(lib.ones(1)), lib.nn.Parameter(lib.ones(2))])
            self.register_parameter("none", None)
            self.register_buffer("kept", lib.ones(2))
            self.register_buffer("scratch", lib.ones(2), persistent=False)

        def forward(self, x: Any) -> Any:
            x = self.again(self.head(self.body(x)))
            for layer in self.many:
                x = layer(x)
            return self.named["a"](x) * self.free.sum()

    return Model()


SAME: dict[str, Program] = {
    "repr": lambda lib: repr(model(lib)),
    "state keys": lambda lib: list(model(lib).state_dict(prefix="p.")),
    "parameters": lambda lib: [(n, tuple(p.shape)) for n, p in model(lib).named_parameters()],
    "duplicates": lambda lib: [n for n, _ in model(lib).named_parameters(remove_duplicate=False)],
    "own": lambda lib: [n for n, _ in model(lib).named_parameters("x", recurse=False)],
    "buffers": lambda lib: [n for n, _ in model(lib).named_buffers()],
    "modules": lambda lib: [(n, type(m).__name__) for n, m in model(lib).named_modules()],
    "modules, duplicates": lambda lib: [n for n, _ in model(lib).named_modules(remove_duplicate=False)],
    "children": lambda lib: [n for n, _ in model(lib).named_children()],
    "parameter": lambda lib: repr(lib.nn.Parameter(lib.ones(2, 2))),
    "frozen parameter": lambda lib: repr(lib.nn.Parameter(lib.ones(2), requires_grad=False)),
    "dtypes": lambda lib: [str(t.dtype) for t in model(lib).half().state_dict().values()],
    "loaded": lambda lib: repr(model(lib).load_state_dict(model(lib).state_dict())),
    "not strict": lambda lib: repr(lib.nn.Linear(1, 1).load_state_dict({"x": lib.ones(1)}, strict=False)),
    "copied": lambda lib: [n for n, _ in copy.deepcopy(model(lib)).named_parameters()],
    "sequential": lambda lib: repr(lib.nn.Sequential(OrderedDict(a=lib.nn.ReLU(), b=lib.nn.Softmax(dim=1)))[1:]),
    "parameter dict": lambda lib: repr(lib.nn.ParameterDict({"a": lib.nn.Parameter(lib.ones(2, 3))})),
}
REFUSED: dict[str, Program] = {
    "loading": lambda lib: model(lib).load_state_dict({"free": lib.ones(3), "x.y": lib.ones(1), "head.weight": 3}),
    "weight": lambda lib: setattr(lib.nn.Linear(1, 1), "weight", 3),
    "attribute": lambda lib: lib.nn.Linear(1, 1).foo,
    "dot": lambda lib: lib.nn.Linear(1, 1).register_buffer("a.b", None),
    "taken": lambda lib: lib.nn.Linear(1, 1).add_module("forward", None),
    "submodule": lambda lib: model(lib).get_submodule("body.7"),
    "parameter": lambda lib: model(lib).get_parameter("head"),
    "integers": lambda lib: lib.nn.Linear(1, 1).to(lib.int32),
    "no module": lambda lib: lib.nn.Sequential(3),
    "no forward": lambda lib: lib.nn.ModuleList([])(3),
    "pairs": lambda lib: lib.nn.ModuleDict([(1, 2, 3)]),
    "dropout": lambda lib: lib.nn.Dropout(-0.5),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_answer(name: str, torch: Any) -> None:
    assert SAME[name](distgrad) == SAME[name](torch)


@pytest.mark.parametrize("name", REFUSED)
def test_the_same_error(name: str, torch: Any) -> None:
    with pytest.raises(Exception) as ours:  # whatever PyTorch raises
        REFUSED[name](distgrad)
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    assert type(ours.value) is type(theirs.value)
    assert str(ours.value).startswith(str(theirs.value).rstrip("."))  # ours may say more


@pytest.mark.parametrize("name", activation.__all__)
def test_activations_print_and_compute_the_same(name: str, torch: Any) -> None:
    arguments = {"Threshold": (0.3, -2.0), "Softmax": (1,), "Softmin": (1,), "LogSoftmax": (1,)}.get(name, ())
    x = np.random.default_rng(3).standard_normal((5, 6)) * 4
    found = []
    for lib in (distgrad, torch):
        layer = getattr(lib.nn, name)(*arguments).double()
        t = lib.tensor(x, requires_grad=True)
        out = layer(t)
        out.backward(lib.tensor(x**2))
        found.append((repr(layer), out.detach().numpy(), t.grad.numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-7, atol=1e-12)  # PyTorch's 1 / 6 is a float32


def test_a_step_of_the_whole_model_is_the_same(torch: Any) -> None:
    x = np.random.default_rng(4).standard_normal((3, 2, 3))
    ours, theirs = model(distgrad).double().eval(), model(torch).double().eval()
    ours.load_state_dict({k: distgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    for m, lib in ((ours, distgrad), (theirs, torch)):
        m(lib.tensor(x)).sum().backward()
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if q.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_linear_starts_with_the_same_spread(torch: Any) -> None:
    for ours, theirs in zip(nn.Linear(50, 200).parameters(), torch.nn.Linear(50, 200).parameters(), strict=True):
        assert abs(ours.detach().numpy()).max() == pytest.approx(abs(theirs.detach().numpy()).max(), rel=0.05)
        assert ours.detach().numpy().std() == pytest.approx(theirs.detach().numpy().std(), rel=0.15)
