"""Modules and losses on a device: the strict double of CuPy, and CuPy itself where there is a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn import init
from distgrad.nn.modules import activation


@pytest.fixture(name="device", params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def _device(request: pytest.FixtureRequest) -> str:
    if request.param == "double":
        request.getfixturevalue("device_double")
    return "cuda:0"


def close(on_device: Any, on_host: Any) -> None:
    assert str(on_device.device) == "cuda:0"
    np.testing.assert_allclose(on_device.detach().cpu().numpy(), on_host.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_model_moves_trains_and_comes_back(device: str) -> None:
    distgrad.manual_seed(0)
    host = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    there = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).to(device)
    there.register_buffer("seen", distgrad.zeros(1, device=device))
    there.load_state_dict(host.state_dict(), strict=False)  # from the host to the device
    x, y = distgrad.randn(5, 2, 3), distgrad.tensor([0, 2, 1, 1, 0])
    for model, where in ((host, "cpu"), (there, device)):
        nn.CrossEntropyLoss()(model(x.to(where)), y.to(where)).backward()
    for p, q in zip(there.parameters(), host.parameters(), strict=True):
        close(p, q)
        assert p.grad is not None
        close(p.grad, q.grad)
    before = list(there.parameters())
    there.cpu()
    assert list(there.parameters()) == before
    assert {str(t.device) for t in there.state_dict().values()} == {"cpu"}
    assert {str(p.grad.device) for p in there.parameters() if p.grad is not None} == {"cpu"}
    there.cuda().double()
    assert there[1].weight.dtype is distgrad.float64
    assert str(there[1].weight.device) == "cuda:0"
    host.load_state_dict(there.state_dict(), strict=False)  # and back


def test_layers_and_parameters_made_there(device: str) -> None:
    layer = nn.Linear(3, 2, device=device, dtype=distgrad.float64)
    assert str(layer.weight.device) == str(layer.bias.device) == "cuda:0"
    assert "device='cuda:0'" in repr(layer.weight)
    for name in ("kaiming_normal_", "xavier_uniform_", "trunc_normal_", "orthogonal_", "eye_", "ones_"):
        getattr(init, name)(layer.weight)
        assert str(layer.weight.device) == "cuda:0"
        assert np.isfinite(layer.weight.tolist()).all()
    assert layer.weight.tolist() == [[1.0] * 3] * 2
    assert nn.Dropout(1.0)(layer.weight).tolist() == [[0.0] * 3] * 2
    dropped = nn.Dropout(0.5)(distgrad.ones(64, device=device))
    assert set(dropped.tolist()) == {0.0, 2.0}


def test_a_host_input_names_the_layer_and_both_devices(device: str) -> None:
    with pytest.raises(RuntimeError, match=r"Linear\(in_features=3.*cuda:0 and cpu"):
        nn.Linear(3, 2, device=device)(distgrad.ones(1, 3))


@pytest.mark.parametrize("name", activation.__all__)
def test_activations(name: str, device: str) -> None:
    arguments = {"Threshold": (0.3, -2.0), "Softmax": (1,), "Softmin": (1,), "LogSoftmax": (1,)}.get(name, ())
    layer = getattr(nn, name)(*arguments)
    results = []
    for where in (device, "cpu"):
        x = distgrad.tensor([[-4.0, -1.0, 0.5], [2.0, 0.2, 7.0]], device=where, requires_grad=True)
        y = layer.to(where)(x)
        (y * y).sum().backward()
        results.append((y, x.grad))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1])


P = distgrad.tensor([[0.1, 0.2, 0.7], [0.8, 0.15, 0.05]])
WEIGHT = distgrad.tensor([0.5, 1.0, 2.0])
INDICES = distgrad.tensor([2, -100])
LOSSES: dict[str, tuple[Any, ...]] = {
    "mse": ("MSELoss", {}, P, P + 1),
    "l1": ("L1Loss", {}, P, P + 1),
    "bce": ("BCELoss", {"weight": WEIGHT}, P, 1 - P),
    "bce logits": ("BCEWithLogitsLoss", {}, P, 1 - P),
    "bce logits, all": ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT}, P, 1 - P),
    "ce": ("CrossEntropyLoss", {}, P, distgrad.tensor([2, 0])),
    "ce, all": ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.1}, P, INDICES),
    "ce, all ignored": ("CrossEntropyLoss", {}, P, INDICES * 0 - 100),
    "ce, smoothing": ("CrossEntropyLoss", {"label_smoothing": 0.1}, P, INDICES),
    "ce, probabilities": ("CrossEntropyLoss", {"weight": WEIGHT}, P, P),
    "nll": ("NLLLoss", {"weight": WEIGHT}, P, INDICES),
    "smooth l1": ("SmoothL1Loss", {"beta": 0.5}, P, P + 1),
    "huber": ("HuberLoss", {"delta": 0.5}, P, P * 3),
    "soft margin": ("SoftMarginLoss", {}, P, P.sign()),
    "hinge": ("HingeEmbeddingLoss", {}, P, P.sign()),
    "poisson": ("PoissonNLLLoss", {"full": True}, P, P * 7),
    "ranking": ("MarginRankingLoss", {}, P, P + 1, P.sign()),
    "cosine": ("CosineEmbeddingLoss", {}, P, 1 - P, distgrad.tensor([1, -1])),
    "triplet": ("TripletMarginLoss", {"swap": True}, P, 1 - P, P * P),
    "gaussian": ("GaussianNLLLoss", {}, P, 1 - P, P * P),
    "gaussian, a number": ("GaussianNLLLoss", {}, P, 1 - P, 0.5),
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("case", LOSSES)
def test_losses(case: str, reduction: str, device: str) -> None:
    name, options, x, *others = LOSSES[case]
    results = []
    for where in (device, "cpu"):
        loss = getattr(nn, name)(**options, reduction=reduction).to(where)  # weights move with it
        t = x.to(where).clone().requires_grad_()
        out = loss(t, *(y.to(where) if isinstance(y, distgrad.Tensor) else y for y in others))
        out.sum().backward()
        results.append((out, t.grad))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1])
