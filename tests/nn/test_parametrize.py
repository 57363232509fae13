"""Parametrized weights: by hand, and beside PyTorch with the same values behind them."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn.utils import parametrizations, parametrize

rng = np.random.default_rng(3)
LAYERS: dict[str, Callable[[Any], Any]] = {
    "tall": lambda t: t.nn.Linear(3, 4, dtype=t.float64),
    "wide": lambda t: t.nn.Linear(4, 3, dtype=t.float64),
    "square": lambda t: t.nn.Linear(4, 4, dtype=t.float64),
    "convolution": lambda t: t.nn.Conv2d(2, 3, 2, dtype=t.float64),
    "transposed": lambda t: t.nn.ConvTranspose1d(2, 3, 2, dtype=t.float64),
}
MAPS: dict[str, Callable[[Any, Any], Any]] = {
    "weight_norm": lambda q, m: q.weight_norm(m),
    "weight_norm columns": lambda q, m: q.weight_norm(m, dim=1),
    "weight_norm whole": lambda q, m: q.weight_norm(m, dim=None),
    "spectral_norm": lambda q, m: q.spectral_norm(m),
    "orthogonal": lambda q, m: q.orthogonal(m),
    "cayley": lambda q, m: q.orthogonal(m, orthogonal_map="cayley"),
    "householder": lambda q, m: q.orthogonal(m, orthogonal_map="householder"),
    "householder alone": lambda q, m: q.orthogonal(m, orthogonal_map="householder", use_trivialization=False),
    "matrix_exp alone": lambda q, m: q.orthogonal(m, orthogonal_map="matrix_exp", use_trivialization=False),
    "cayley alone": lambda q, m: q.orthogonal(m, orthogonal_map="cayley", use_trivialization=False),
}


def numbers(x: Any) -> Any:
    return x.detach().numpy()


class Double(nn.Module):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def right_inverse(self, x: Any) -> Any:
        return x / 2


class Plus(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1


@pytest.mark.torch
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("layer", LAYERS)
def test_values_gradients_and_keys_are_pytorchs(layer: str, name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = LAYERS[layer](torch)
    ours = LAYERS[layer](distgrad)
    for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
        values = rng.standard_normal(tuple(p.shape))
        p.data.copy_(torch.tensor(values))
        q.data.copy_(distgrad.tensor(values))
    MAPS[name](torch.nn.utils.parametrizations, theirs)
    MAPS[name](parametrizations, ours)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    for key, value in theirs.state_dict().items():  # what is drawn is taken over, all else is equal already
        if not ("0._" in key or "base" in key):
            np.testing.assert_allclose(numbers(ours.state_dict()[key]), value.numpy(), atol=1e-12, err_msg=key)
    ours.load_state_dict({k: distgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    a, b = ours.weight, theirs.weight
    np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-9, atol=1e-12)
    w = rng.standard_normal(tuple(a.shape))
    found = distgrad.autograd.grad((a * distgrad.tensor(w)).sum(), list(ours.parameters()), allow_unused=True)
    expected = torch.autograd.grad((b * torch.tensor(w)).sum(), list(theirs.parameters()), allow_unused=True)
    for g, h in zip(found, expected, strict=True):
        assert (g is None) == (h is None)
        if g is not None:
            np.testing.assert_allclose(numbers(g), numbers(h), rtol=1e-8, atol=1e-10)
    parametrize.remove_parametrizations(ours, "weight")
    torch.nn.utils.parametrize.remove_parametrizations(theirs, "weight")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    np.testing.assert_allclose(numbers(ours.weight), numbers(theirs.weight), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"orthogonal_map": "cayley"}, {"orthogonal_map": "householder"}])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (4, 4)])
def test_orthogonal_weights_stay_so_when_they_are_trained(shape: tuple[int, int], options: dict[str, str]) -> None:
    distgrad.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(*shape, dtype=distgrad.float64), **options)
    optimizer = distgrad.optim.SGD(layer.parameters(), 0.3)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(distgrad.ones(5, shape[0], dtype=distgrad.float64)) ** 3).sum().backward()
        optimizer.step()
    w = numbers(layer.weight)
    w = w if w.shape[0] >= w.shape[1] else w.T
    np.testing.assert_allclose(w.T @ w, np.eye(w.shape[1]), atol=1e-9)
    wanted = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    if shape == (4, 4):
        layer.weight = distgrad.tensor(wanted)
        np.testing.assert_allclose(numbers(layer.weight), wanted, atol=1e-12)


def test_weight_norm_by_hand() -> None:
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data.copy_(distgrad.tensor([[3.0, 4.0]]))
    parametrizations.weight_norm(layer)
    parts = layer.parametrizations.weight
    assert (parts.original0.tolist(), parts.original1.tolist()) == ([[5.0]], [[3.0, 4.0]])
    with distgrad.no_grad():
        parts.original0.fill_(10.0)
    assert layer.weight.tolist() == [[6.0, 8.0]]
    layer.weight = distgrad.tensor([[0.0, 2.0]])
    assert (parts.original0.tolist(), parts.original1.tolist()) == ([[2.0]], [[0.0, 2.0]])


def test_the_spectral_norm_goes_to_one() -> None:
    layer = nn.Linear(3, 3, bias=False, dtype=distgrad.float64)
    layer.weight.data.copy_(distgrad.diag(distgrad.tensor([1.0, 4.0, 2.0], dtype=distgrad.float64)))
    parametrizations.spectral_norm(layer, n_power_iterations=50)
    np.testing.assert_allclose(numbers(layer.weight), np.diag([0.25, 1.0, 0.5]), atol=1e-9)
    u = layer.parametrizations.weight[0]._u.clone()
    layer.eval()
    _ = layer.weight
    assert layer.parametrizations.weight[0]._u.equal(u)


def test_parametrizations_follow_one_another_and_go() -> None:
    layer: Any = nn.Linear(1, 1)
    layer.weight.data.fill_(3.0)
    kept = layer.weight
    parametrize.register_parametrization(layer, "weight", Double())
    parametrize.register_parametrization(layer, "weight", Plus())
    parts = layer.parametrizations.weight
    assert (parts.original.item(), layer.weight.item()) == (1.5, 4.0)
    assert parts.original is kept
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert parametrize.is_parametrized(layer)
    assert not parametrize.is_parametrized(layer, "bias")
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        layer.weight = distgrad.ones(1, 1)
    layer(distgrad.ones(1, 1)).sum().backward()
    assert kept.grad is not None
    assert kept.grad.item() == 2.0
    assert parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False) is layer
    assert type(layer) is nn.Linear
    assert layer.weight is kept
    assert layer.weight.item() == 1.5


def test_copies_are_parametrized_by_themselves() -> None:
    layer: Any = parametrize.register_parametrization(nn.Linear(1, 1), "weight", Double())
    other = copy.deepcopy(layer)
    assert other.weight.item() == layer.weight.item()
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(other)
    assert other.weight.item() == layer.weight.item()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        other.__reduce_ex__(2)
    made: Any = parametrize.transfer_parametrizations_and_params(other, nn.Linear(1, 1))
    assert made.weight.item() == other.weight.item()
    assert made.parametrizations.weight.original is not other.parametrizations.weight.original


def test_what_is_computed_is_kept_while_cached() -> None:
    layer: Any = parametrize.register_parametrization(nn.Linear(1, 1), "weight", Double())
    assert layer.weight is not layer.weight
    with parametrize.cached():
        kept = layer.weight
        assert layer.weight is kept
        with parametrize.cached():
            assert layer.weight is kept
        assert layer.weight is kept
    assert layer.weight is not kept


class Halves(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.double()


class Row(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(-1)


class Nothing(nn.Module):
    def forward(self, x: Any) -> Any:
        return None


class NoInverse(nn.Module):
    def forward(self, x: Any) -> Any:
        return x

    def right_inverse(self, x: Any) -> Any:
        raise NotImplementedError


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no such": (lambda: parametrize.register_parametrization(nn.Linear(1, 1), "w", Double()), ValueError, "'w'"),
    "dtype": (lambda: parametrize.register_parametrization(nn.Linear(1, 1), "bias", Halves()), ValueError, "dtype"),
    "shape": (lambda: parametrize.register_parametrization(nn.Linear(2, 1), "weight", Row()), ValueError, "shape"),
    "none": (
        lambda: parametrize.register_parametrization(nn.Linear(1, 1), "bias", Nothing()), ValueError, "return a tensor"
    ),
    "not there": (
        lambda: parametrize.remove_parametrizations(nn.Linear(1, 1), "weight"), ValueError, "does not have a param"
    ),
    "several": (
        lambda: parametrize.remove_parametrizations(parametrizations.weight_norm(nn.Linear(1, 1)), "weight", False),
        ValueError, "sequence of tensors",
    ),
    "map": (lambda: parametrizations.orthogonal(nn.Linear(1, 1), orthogonal_map="x"), ValueError, "has to be one of"),
    "vector": (lambda: parametrizations.orthogonal(nn.Linear(1, 1), "bias"), ValueError, "1 dimensions"),
    "steps": (lambda: parametrizations.spectral_norm(nn.Linear(1, 1), n_power_iterations=0), ValueError, "positive"),
    "dim": (lambda: parametrizations.spectral_norm(nn.Linear(1, 1), dim=3), IndexError, "out of range"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    call, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text):
        call()


def test_no_inverse_is_as_none() -> None:
    layer: Any = parametrize.register_parametrization(nn.Linear(1, 1), "weight", NoInverse())
    parametrize.register_parametrization(layer, "weight", NoInverse())
    assert len(layer.parametrizations.weight) == 2


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_older_weight_norm() -> None:
    layer: Any = nn.Linear(2, 1, bias=False)
    layer.weight.data.copy_(distgrad.tensor([[3.0, 4.0]]))
    nn.utils.weight_norm(layer)
    assert list(layer.state_dict()) == ["weight_g", "weight_v"]
    layer.weight_g.data.fill_(10.0)
    layer(distgrad.ones(1, 2)).sum().backward()
    assert layer.weight.tolist() == [[6.0, 8.0]]
    assert layer.weight_g.grad.item() == pytest.approx(7 / 5)
    with pytest.raises(RuntimeError, match="two weight_norm hooks"):
        nn.utils.weight_norm(layer)
    newer: Any = parametrizations.weight_norm(nn.Linear(2, 1, bias=False))
    newer.load_state_dict(layer.state_dict())
    assert newer.weight.tolist() == [[6.0, 8.0]]
    nn.utils.remove_weight_norm(layer)
    assert list(layer.state_dict()) == ["weight"]
    assert layer(distgrad.ones(1, 2)).item() == 14.0
    with pytest.raises(ValueError, match="not found"):
        nn.utils.remove_weight_norm(layer)
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.utils.weight_norm(layer)


def test_the_older_spectral_norm() -> None:
    layer: Any = nn.Linear(2, 2, bias=False, dtype=distgrad.float64)
    layer.weight.data.copy_(distgrad.diag(distgrad.tensor([1.0, 4.0], dtype=distgrad.float64)))
    nn.utils.spectral_norm(layer, n_power_iterations=60)
    layer(distgrad.ones(1, 2, dtype=distgrad.float64)).sum().backward()
    np.testing.assert_allclose(numbers(layer.weight), np.diag([0.25, 1.0]), atol=1e-9)
    # with u and v of the second axis: dw = 1/4 everywhere, but for w₂₂, which takes (1 · w₁₁ + 1 · w₂₂) / 16 off
    np.testing.assert_allclose(numbers(layer.weight_orig.grad), [[0.25, 0.25], [0.25, 0.25 - 5 / 16]], atol=1e-9)
    with pytest.raises(RuntimeError, match="two spectral_norm hooks"):
        nn.utils.spectral_norm(layer)
    nn.utils.remove_spectral_norm(layer)
    assert list(layer.state_dict()) == ["weight"]
    with pytest.raises(ValueError, match="not found"):
        nn.utils.remove_spectral_norm(layer)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_the_older_ways_are_pytorchs(layer: str, name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = LAYERS[layer](torch), LAYERS[layer](distgrad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for t, m in ((torch, theirs), (distgrad, ours)):
            getattr(t.nn.utils, name)(m)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: distgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = rng.standard_normal({"convolution": (1, 2, 3, 3), "transposed": (1, 2, 3), "tall": (2, 3)}.get(layer, (2, 4)))
    for _ in range(2):
        a, b = ours(distgrad.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-9, atol=1e-12)
    (a * a).sum().backward()
    (b * b).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(numbers(p.grad), numbers(q.grad), rtol=1e-9, atol=1e-11)
    assert repr(ours) == repr(theirs)


def test_the_exponential_of_a_rotation() -> None:
    from distgrad.nn.utils._matrix_maps import matrix_exp

    for angle in (0.0, 1e-3, 1.0, 30.0):
        a = distgrad.tensor([[0.0, -angle], [angle, 0.0]], dtype=distgrad.float64)
        c, s = math.cos(angle), math.sin(angle)
        np.testing.assert_allclose(matrix_exp(a).numpy(), [[c, -s], [s, c]], atol=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["weight_hh_l0", "bias_ih_l0"])
def test_recurrent_layers_read_what_is_computed(name: str) -> None:
    layer: Any = nn.LSTM(2, 3)
    x = distgrad.randn(4, 2)
    before = layer(x)[0]
    parametrize.register_parametrization(layer, name, Double())
    np.testing.assert_allclose(numbers(layer(x)[0]), numbers(before), rtol=1e-5, atol=1e-6)
    with distgrad.no_grad():
        layer.parametrizations[name].original.zero_()
    layer(x)[0].sum().backward()
    assert layer.parametrizations[name].original.grad.abs().sum() > 0
