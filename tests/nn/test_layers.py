"""Layers, containers, activations and nn.functional; every exported activation is tested unasked."""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.autograd import gradcheck, gradgradcheck
from distgrad.nn import functional as F
from distgrad.nn.modules import activation

ACTIVATIONS = {name: getattr(activation, name) for name in activation.__all__}
ARGUMENTS: dict[str, tuple[Any, ...]] = {"Threshold": (0.3, -2.0), "Softmax": (1,), "Softmin": (1,), "LogSoftmax": (1,)}
IN_PLACE = [n for n, c in ACTIVATIONS.items() if "inplace" in inspect.signature(c).parameters]
X = [[-8.0, -1.4, -0.3, 0.4], [0.9, 2.2, 4.1, 9.0]]  # clear of every kink


def made(name: str, **options: Any) -> Any:
    return ACTIVATIONS[name](*ARGUMENTS.get(name, ()), **options)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


DEFINITIONS: dict[str, Any] = {
    "CELU": lambda x: max(0.0, x) + min(0.0, math.expm1(x)),
    "ELU": lambda x: x if x > 0 else math.expm1(x),
    "GELU": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "Hardsigmoid": lambda x: min(max(x + 3, 0.0), 6.0) / 6,
    "Hardswish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "Hardtanh": lambda x: min(max(x, -1.0), 1.0),
    "Hardshrink": lambda x: 0.0 if -0.5 <= x <= 0.5 else x,
    "LeakyReLU": lambda x: x if x > 0 else 0.01 * x,
    "LogSigmoid": lambda x: math.log(sigmoid(x)),
    "Mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "PReLU": lambda x: x if x > 0 else 0.25 * x,
    "ReLU": lambda x: max(x, 0.0),
    "ReLU6": lambda x: min(max(x, 0.0), 6.0),
    "SELU": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "SiLU": lambda x: x * sigmoid(x),
    "Sigmoid": sigmoid,
    "Softplus": lambda x: math.log1p(math.exp(x)),
    "Softshrink": lambda x: x - 0.5 if x > 0.5 else x + 0.5 if x < -0.5 else 0.0,
    "Softsign": lambda x: x / (1 + abs(x)),
    "Tanh": math.tanh,
    "Tanhshrink": lambda x: x - math.tanh(x),
    "Threshold": lambda x: x if x > 0.3 else -2.0,
}


def along(name: str, row: list[float]) -> list[float]:
    """A row of Softmax, Softmin or LogSoftmax, by definition."""
    sign = -1 if name == "Softmin" else 1
    total = sum(math.exp(sign * x) for x in row)
    found = [math.exp(sign * x) / total for x in row]
    return [math.log(p) for p in found] if name == "LogSoftmax" else found


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_follow_their_definitions(name: str) -> None:
    x = distgrad.tensor(X, dtype=distgrad.float64)
    found = made(name).double()(x)
    expected = [[DEFINITIONS[name](v) for v in row] if name in DEFINITIONS else along(name, row) for row in X]
    np.testing.assert_allclose(found.tolist(), expected, rtol=1e-12, atol=1e-15)
    assert x.tolist() == X


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_of_activations(name: str) -> None:
    layer = made(name).double()
    x = distgrad.tensor(X, dtype=distgrad.float64, requires_grad=True)
    assert gradcheck(layer, (x,))
    assert gradgradcheck(layer, (x,))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_finite_at_large_inputs(name: str) -> None:
    x = distgrad.tensor([[-1e4, -50.0, 50.0, 1e4]], requires_grad=True)
    y = made(name)(x)
    y.sum().backward()
    assert y.dtype is distgrad.float32
    assert np.isfinite(y.tolist()).all()
    assert x.grad is not None
    assert np.isfinite(x.grad.tolist()).all()


@pytest.mark.parametrize("name", IN_PLACE)
def test_activations_in_place(name: str) -> None:
    x = distgrad.tensor(X, dtype=distgrad.float64, requires_grad=True)
    mine = x * 1
    made(name, inplace=True)(mine).sum().backward()
    assert mine.tolist() == made(name)(x).tolist()
    given, x.grad = x.grad, None
    made(name)(x).sum().backward()
    assert given is not None
    assert x.grad is not None
    np.testing.assert_allclose(given.tolist(), x.grad.tolist(), rtol=1e-12)


PRINTED = {
    "ReLU()": nn.ReLU(), "ReLU(inplace=True)": nn.ReLU(True), "Sigmoid()": nn.Sigmoid(),
    "Softmax(dim=1)": nn.Softmax(1), "Softmax(dim=None)": nn.Softmax(),
    "LeakyReLU(negative_slope=0.01)": nn.LeakyReLU(),
    "ELU(alpha=1.0, inplace=True)": nn.ELU(1.0, True), "GELU(approximate='none')": nn.GELU(),
    "Hardtanh(min_val=-1, max_val=1, inplace=True)": nn.Hardtanh(-1, 1, True), "Hardswish()": nn.Hardswish(True),
    "Softplus(beta=1.0, threshold=20.0)": nn.Softplus(), "Threshold(threshold=0.1, value=20)": nn.Threshold(0.1, 20),
    "PReLU(num_parameters=1)": nn.PReLU(), "Identity()": nn.Identity(3, a=4),
    "Dropout(p=0.5, inplace=False)": nn.Dropout(), "Flatten(start_dim=1, end_dim=-1)": nn.Flatten(),
    "Unflatten(dim=1, unflattened_size=(2, 3))": nn.Unflatten(1, (2, 3)), "Sequential()": nn.Sequential(),
    "ParameterList(  (0): Parameter containing: [torch.float32 of size 2x3])": nn.ParameterList([distgrad.ones(2, 3)]),
    "ParameterDict(  (a): Parameter containing: [torch.FloatTensor of size 2])": nn.ParameterDict(
        {"a": distgrad.ones(2)}
    ),
    "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)": nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()]),
    "ModuleDict(\n  (a): ReLU()\n)": nn.ModuleDict({"a": nn.ReLU()}),
}  # fmt: skip


@pytest.mark.parametrize("text", PRINTED)
def test_printed_forms(text: str) -> None:
    assert repr(PRINTED[text]) == text


def test_linear() -> None:
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": distgrad.tensor([[1.0, 2, 3], [4, 5, 6]]), "bias": distgrad.tensor([0.5, -0.5])})
    x = distgrad.tensor([1.0, 0.0, -1.0])
    assert layer(x).tolist() == [-1.5, -2.5]
    assert layer(distgrad.ones(2, 4, 3)).shape == (2, 4, 2)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert list(nn.Linear(3, 2, False).state_dict()) == ["weight"]
    assert nn.Linear(3, 2, dtype=distgrad.float64)(x.double()).dtype is distgrad.float64
    double = layer.double()
    assert gradcheck(lambda x, w, b: F.linear(x, w, b), (x.double().requires_grad_(), double.weight, double.bias))
    with pytest.raises(RuntimeError, match=r"^Linear\(in_features=3, out_features=2, bias=True\): mat1 and mat2 must"):
        double(x)


def test_flatten_and_unflatten() -> None:
    x = distgrad.arange(24).reshape(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Unflatten(2, (2, -1))(x).tolist() == x.reshape(2, 3, 2, 2).tolist()
    with pytest.raises(TypeError, match="must be a tuple of ints, but found 'ab'"):
        nn.Unflatten(1, "ab")  # type: ignore[arg-type]


def test_dropout() -> None:
    distgrad.manual_seed(3)
    layer = nn.Dropout(0.25)
    x = distgrad.ones(200, 200, requires_grad=True)
    y = layer(x)
    kept = y.detach().numpy() != 0
    assert abs(kept.mean() - 0.75) < 5 * math.sqrt(0.25 * 0.75 / 40000)
    np.testing.assert_allclose(y.detach().numpy()[kept], 1 / 0.75, rtol=1e-6)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == y.tolist()
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(distgrad.ones(3)).tolist() == [0.0] * 3
    mine = distgrad.ones(100)
    assert nn.Dropout(0.5, inplace=True)(mine) is mine
    assert set(mine.tolist()) == {0.0, 2.0}
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1, but got 2"):
        nn.Dropout(2)


def test_sequential() -> None:
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    model = nn.Sequential(a, b)
    assert model.append(c) is model
    assert len(model) == 3
    assert list(model) == [a, b, c]
    assert model[-1] is c
    assert list(model[:2]) == [a, b]
    assert isinstance(model[1:], nn.Sequential)
    x = distgrad.ones(4, 2)
    assert model(x).tolist() == c(b(a(x))).tolist()
    tanh = nn.Tanh()
    model.insert(1, tanh)
    assert list(model) == [a, tanh, b, c]
    assert [n for n, _ in model.named_children()] == ["0", "1", "2", "3"]
    del model[1]
    assert [n for n, _ in model.named_children()] == ["0", "1", "2"]
    assert model.pop(1) is b
    model[0] = tanh
    assert list(model) == [tanh, c]
    assert list(nn.Sequential(a).extend([b, c])) == list(nn.Sequential(a) + nn.Sequential(b, c)) == [a, b, c]
    assert list(nn.Sequential(b) * 2) == [b, b]
    named = nn.Sequential(OrderedDict(first=a, then=b))
    assert named.first is a
    assert [n for n, _ in named.named_parameters()] == ["first.weight", "first.bias"]
    assert [n for n, _ in named[:1].named_children()] == ["first"]


def test_lists_and_dictionaries() -> None:
    a, b = nn.Linear(1, 1), nn.ReLU()
    several = nn.ModuleList([a])
    several += [b]
    assert list(several) == [a, b]
    assert len(list(several.parameters())) == 2
    assert isinstance(several[:1], nn.ModuleList)
    assert list(several + nn.ModuleList([b])) == [a, b, b]
    by_name = nn.ModuleDict([("one", a)])
    by_name["two"] = b
    assert list(by_name) == list(by_name.keys()) == ["one", "two"]
    assert "one" in by_name
    assert by_name["two"] is by_name.two is b
    assert dict(by_name.items())["one"] is a
    assert list(by_name.values()) == [a, b]
    assert by_name.pop("one") is a
    by_name.clear()
    assert len(by_name) == 0
    parameters = nn.ParameterList([distgrad.zeros(1), nn.Parameter(distgrad.ones(2))])
    assert [n for n, _ in parameters.named_parameters()] == ["0", "1"]
    assert parameters[-1].tolist() == [1.0, 1.0]
    parameters[0] = distgrad.ones(3)
    assert isinstance(parameters[0], nn.Parameter)
    assert len(parameters[:1]) == 1
    chosen = nn.ParameterDict({"w": distgrad.zeros(1)})
    chosen["v"] = distgrad.ones(1)
    assert [n for n, _ in chosen.named_parameters()] == list(chosen) == ["w", "v"]
    assert chosen.pop("w").tolist() == [0.0]
    del chosen["v"]
    assert len(chosen) == 0


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (lambda: nn.Sequential(3), TypeError, "int is not a Module subclass"),
        (lambda: nn.Sequential(nn.ReLU())[1], IndexError, "index 1 is out of range: there are 1 modules"),
        (lambda: nn.Sequential().insert(5, nn.ReLU()), IndexError, "Index out of range: 5"),
        (lambda: nn.Sequential().insert(0, 5), TypeError, "int is not a Module subclass"),  # type: ignore[arg-type]
        (lambda: nn.Sequential() + 3, ValueError, "add operator supports only objects of Sequential class"),
        (lambda: nn.Sequential() * 0, ValueError, "Non-positive multiplication factor 0"),
        (lambda: nn.ModuleList(3), TypeError, "iterable of modules, but got int"),  # type: ignore[arg-type]
        (lambda: nn.ModuleList([nn.ReLU()])(1), NotImplementedError, 'missing the required "forward" function'),
        (lambda: nn.ModuleDict(3), TypeError, "iterable of key/value pairs, but got int"),  # type: ignore[arg-type]
        (lambda: nn.ModuleDict([(1, 2, 3)]), ValueError, "element #0 has length 3; 2 is required"),  # type: ignore[list-item]
        (lambda: nn.ModuleDict({"a": 3}), TypeError, "int is not a Module subclass"),  # type: ignore[arg-type]
        (lambda: nn.ParameterList([3]), TypeError, "ParameterList holds parameters and tensors.*got int"),
        (lambda: nn.ParameterList([])[0], IndexError, "index 0 is out of range: there are 0 parameters"),
        (lambda: nn.Hardtanh(1, 0), ValueError, "max_val must be larger than min_val, got min_val=1, max_val=0"),
        (lambda: nn.PReLU(3)(distgrad.ones(2, 2)), RuntimeError, "parameter numbers = 3 and channel size = 2"),
        (lambda: F.dropout(distgrad.ones(1), 1.5), ValueError, "between 0 and 1, but got 1.5"),
        (lambda: F.one_hot(distgrad.tensor([0.5])), RuntimeError, "only applicable to index tensor"),
        (lambda: F.one_hot(distgrad.tensor([-1])), RuntimeError, "must be non-negative, the smallest is -1"),
        (lambda: F.one_hot(distgrad.tensor([3]), 3), RuntimeError, r"smaller than num_classes \(3\), the largest is 3"),
        (lambda: F.one_hot(distgrad.tensor([], dtype=distgrad.int64)), RuntimeError, "from empty tensor"),
    ],
)
def test_what_is_refused(run: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run()


def test_functional() -> None:
    assert F.one_hot(distgrad.tensor([0, 2, 1])).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert F.one_hot(distgrad.tensor([[1]]), num_classes=3).tolist() == [[[0, 1, 0]]]
    assert F.one_hot(distgrad.tensor([1])).dtype is distgrad.int64
    x = distgrad.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=distgrad.float64, requires_grad=True)
    assert F.normalize(x).tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert F.normalize(x, p=1.0, dim=0).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert gradcheck(lambda x: F.normalize(x[:1]), (x,))
    mine = distgrad.tensor([-1.0, 1.0])
    assert F.relu(mine, inplace=True) is mine
    assert mine.tolist() == [0.0, 1.0]
    slopes = distgrad.tensor([0.5, 2.0])
    assert F.prelu(distgrad.full((1, 2, 1), -1.0), slopes).tolist() == [[[-0.5], [-2.0]]]
    for name in F.__all__:
        assert callable(getattr(F, name))


def test_a_line_is_learned_from_every_start() -> None:
    """y = 2x + 1 on 0 … 10: the loss falls below 1e-4 within 1000 epochs, whatever the initial weights."""
    x = distgrad.arange(11, dtype=distgrad.float32).reshape(-1, 1)
    y = 2 * x + 1
    for seed in range(5):
        distgrad.manual_seed(seed)
        model = nn.Linear(1, 1)
        criterion = nn.MSELoss()
        for _ in range(1000):
            model.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            with distgrad.no_grad():
                for p in model.parameters():
                    p.sub_(0.01 * p.grad)
        assert criterion(model(x), y).item() < 1e-4
        assert model.weight.item() == pytest.approx(2, abs=0.01)
