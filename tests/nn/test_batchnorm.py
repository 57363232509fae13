"""Batch normalization: by hand, its gradients, far from zero, half precisions, on a device, beside PyTorch's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.autograd import gradcheck, gradgradcheck
from distgrad.nn import functional as F

SHAPES = [(5, 3), (4, 3, 1), (4, 3, 5), (2, 3, 2, 4), (2, 3, 2, 1, 3)]
LAYERS = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def f64(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def by_definition(x: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """In float64."""
    x = x.astype(np.float64)
    over = tuple(i for i in range(x.ndim) if i != 1)
    return np.asarray((x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + eps))


def test_by_hand() -> None:
    layer = nn.BatchNorm1d(2, eps=0.25, momentum=0.5, dtype=distgrad.float64)
    x = distgrad.tensor([[1.0, 0.0], [1 + 2 * 0.75**0.5, 4.0]], dtype=distgrad.float64)  # variances 0.75 and 4
    out = layer(x)
    np.testing.assert_allclose(out.tolist(), [[-(0.75**0.5), -2 / 4.25**0.5], [0.75**0.5, 2 / 4.25**0.5]])
    np.testing.assert_allclose(layer.running_mean.tolist(), [0.5 * (1 + 0.75**0.5), 1.0])
    np.testing.assert_allclose(layer.running_var.tolist(), [0.5 + 0.75, 0.5 + 4])  # 2 values: unbiased is twice
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    np.testing.assert_allclose(layer(x)[0, 1].item(), -1 / 4.75**0.5)
    assert layer.num_batches_tracked.item() == 1


@shapes
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("given", ["both", "weight", "bias", "neither"])
def test_derivatives(shape: tuple[int, ...], training: bool, given: str) -> None:
    mean, var = distgrad.tensor(f64(3, seed=1)), distgrad.tensor(f64(3, seed=2) ** 2 + 0.5)
    inputs = [distgrad.tensor(f64(*shape) * 2 + 1).requires_grad_()]
    names = {"both": ("weight", "bias"), "neither": ()}.get(given, (given,))
    inputs += [distgrad.tensor(f64(3, seed=3 + i)).requires_grad_() for i in range(len(names))]

    def run(x: Any, *others: Any) -> Any:
        return F.batch_norm(x, mean.clone(), var.clone(), training=training, **dict(zip(names, others, strict=True)))

    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


@shapes
def test_what_it_means(shape: tuple[int, ...]) -> None:
    x = f64(*shape)
    out = getattr(nn, LAYERS[len(shape)])(3, dtype=distgrad.float64)(distgrad.tensor(x))
    np.testing.assert_allclose(out.detach().numpy(), by_definition(x), rtol=1e-10)
    assert out.grad_fn.name() == "NativeBatchNormBackward0"


@pytest.mark.parametrize("shape", [(200, 3), (20, 3, 50)], ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e2, -1e4])
def test_far_from_zero_nothing_is_lost(shape: tuple[int, ...], offset: float) -> None:
    """In float32, with means up to 10^6 standard deviations."""
    x = (f64(*shape) * 0.01 + offset).astype(np.float32)
    there = distgrad.tensor(x).requires_grad_()
    layer = nn.BatchNorm1d(3, momentum=1.0)
    out = layer(there)
    np.testing.assert_allclose(out.detach().numpy(), by_definition(x), atol=5e-6)
    over = tuple(i for i in range(x.ndim) if i != 1)
    np.testing.assert_allclose(layer.running_mean.numpy(), x.astype(float).mean(over), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(layer.running_var.numpy(), x.astype(float).var(over, ddof=1), rtol=1e-5)
    (out**3).sum().backward()
    wide = distgrad.tensor(x.astype(np.float64) - offset).requires_grad_()
    (F.batch_norm(wide, None, None, training=True) ** 3).sum().backward()
    np.testing.assert_allclose(there.grad.numpy(), wide.grad.numpy(), rtol=1e-3, atol=2e-2)


def test_a_channel_that_does_not_vary() -> None:
    x = distgrad.full((7, 2), 1e4 + 0.1).requires_grad_()
    out = F.batch_norm(x, None, None, training=True)
    out.sum().backward()
    assert out.abs().max().item() < 1e-2
    assert np.isfinite(x.grad.numpy()).all()


def test_the_mean_of_all_batches() -> None:
    layer = nn.BatchNorm1d(2, momentum=None, dtype=distgrad.float64)
    batches = [f64(4, 2, seed=i) for i in range(5)]
    for batch in batches:
        layer(distgrad.tensor(batch))
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0))
    np.testing.assert_allclose(layer.running_var.numpy(), np.mean([b.var(0, ddof=1) for b in batches], 0))
    layer.reset_running_stats()
    assert [t.tolist() for t in layer.buffers()] == [[0.0, 0.0], [1.0, 1.0], 0]


def test_without_statistics_or_weights() -> None:
    x = distgrad.tensor(f64(4, 3))
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert not list(layer.parameters())
    assert not list(layer.buffers())
    assert not layer.state_dict()
    expected = by_definition(x.numpy())
    np.testing.assert_allclose(layer(x).numpy(), expected)
    np.testing.assert_allclose(layer.eval()(x).numpy(), expected)  # the batch's here, too
    layer = nn.BatchNorm1d(3, bias=False)
    assert layer.bias is None
    assert [n for n, _ in layer.named_parameters()] == ["weight"]


def test_statistics_change_after_the_fact() -> None:
    """A gradient in evaluation is of the values then, though the statistics have moved on since."""
    layer = nn.BatchNorm1d(2, momentum=1.0, dtype=distgrad.float64).eval()
    x = distgrad.tensor(f64(3, 2)).requires_grad_()
    out = layer(x)
    layer.train()(distgrad.tensor(f64(5, 2) * 9))
    (g,) = distgrad.autograd.grad(out.sum(), x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), 1 / np.sqrt(1 + 1e-5))
    assert not layer.running_mean.requires_grad


def test_state() -> None:
    layer = nn.BatchNorm2d(2)
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layer(distgrad.tensor(f64(2, 2, 3, 3)).float())
    other = nn.BatchNorm2d(2)
    other.load_state_dict(layer.state_dict())
    assert other.running_mean.tolist() == layer.running_mean.tolist()
    assert other.num_batches_tracked.item() == 1
    old = {k: v for k, v in layer.state_dict().items() if k != "num_batches_tracked"}
    assert str(other.load_state_dict(old)) == "<All keys matched successfully>"
    assert other.num_batches_tracked.item() == 1
    assert copy.deepcopy(layer).running_var.tolist() == layer.running_var.tolist()
    halved = nn.Sequential(nn.BatchNorm1d(2)).half()[0]
    assert halved.running_mean.dtype is distgrad.float16
    assert halved.num_batches_tracked.dtype is distgrad.int64


def test_nothing_to_normalize() -> None:
    layer = nn.BatchNorm1d(3)
    x = distgrad.zeros(0, 3).requires_grad_()
    layer(x).sum().backward()
    assert tuple(x.grad.shape) == (0, 3)
    assert layer.running_mean.tolist() == [0.0] * 3
    assert layer.running_var.tolist() == [1.0] * 3
    assert layer.weight.grad.tolist() == [0.0] * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("beside", ["itself", "float32"])
def test_half_precision(dtype: str, beside: str) -> None:
    """Computed in float32, rounded once."""
    kind = getattr(distgrad, dtype)
    x = distgrad.tensor(f64(40, 3, 6) + 3).to(kind).requires_grad_()
    layer = nn.BatchNorm1d(3, dtype=kind if beside == "itself" else distgrad.float32)
    wide = nn.BatchNorm1d(3, dtype=distgrad.float64)
    y = x.detach().double().requires_grad_()
    out, expected = layer(x), wide(y)
    assert out.dtype is kind
    eps = float(distgrad.finfo(kind).eps)
    np.testing.assert_allclose(out.detach().double().numpy(), expected.detach().numpy(), rtol=eps, atol=1e-4)
    weights = distgrad.tensor(f64(40, 3, 6, seed=5)).to(kind)
    (out * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    assert x.grad.dtype is kind
    assert layer.weight.grad.dtype is layer.weight.dtype is layer.running_mean.dtype
    for a, b in ((x, y), (layer.weight, wide.weight), (layer.bias, wide.bias)):
        np.testing.assert_allclose(a.grad.double().numpy(), b.grad.numpy(), rtol=2 * eps, atol=2 * eps)
    np.testing.assert_allclose(layer.running_mean.double().numpy(), wide.running_mean.numpy(), rtol=eps)


ONES = distgrad.ones(4, 3)
THREE, FOUR = distgrad.ones(3), distgrad.ones(4)
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "mean": (lambda: F.batch_norm(ONES, FOUR, THREE), RuntimeError, "running_mean should contain 3 elements not 4"),
    "var": (lambda: F.batch_norm(ONES, THREE, FOUR), RuntimeError, "running_var should contain 3 elements not 4"),
    "weight": (lambda: F.batch_norm(ONES, THREE, THREE, FOUR), RuntimeError, "weight should contain 3 elements not 4"),
    "bias": (lambda: F.batch_norm(ONES, THREE, THREE, None, FOUR), RuntimeError, "bias should contain 3 elements"),
    "no mean": (lambda: F.batch_norm(ONES, None, THREE), RuntimeError, "running_mean must be defined in evaluation"),
    "no var": (lambda: F.batch_norm(ONES, THREE, None), RuntimeError, "running_var must be defined in evaluation"),
    "one": (lambda: F.batch_norm(ONES, THREE, None, training=True), ValueError, "either both be None or neither"),
    "one value": (
        lambda: F.batch_norm(ONES[:1], None, None, training=True),
        ValueError,
        r"more than 1 value per channel when training, got input size torch.Size\(\[1, 3\]\)",
    ),
    "eps": (lambda: F.batch_norm(ONES, None, None, training=True, eps=-1.0), ValueError, "positive during training"),
    "a vector": (lambda: F.batch_norm(THREE, None, None, training=True), IndexError, "but got 1 dimensions"),
    "integers": (lambda: F.batch_norm(ONES.long(), None, None, training=True), NotImplementedError, "not implemented"),
    "complex": (lambda: F.batch_norm(ONES.cfloat(), None, None, training=True), NotImplementedError, "not implemented"),
    "a list": (lambda: F.batch_norm([1.0], None, None), TypeError, "must be Tensor, not list"),
    "dtypes": (lambda: F.batch_norm(ONES.double(), THREE, THREE), RuntimeError, "input .*float64, running_mean .*32"),
    "mixed": (lambda: F.batch_norm(ONES.half(), THREE, THREE, THREE.half()), RuntimeError, "all others float32"),
    "recorded": (
        lambda: F.batch_norm(ONES, distgrad.ones(3, requires_grad=True), THREE), RuntimeError, "to running_mean",
    ),
    "1d": (lambda: nn.BatchNorm1d(3)(THREE), ValueError, r"expected 2D or 3D input \(got 1D input\)"),
    "2d": (lambda: nn.BatchNorm2d(3)(ONES), ValueError, r"expected 4D input \(got 2D input\)"),
    "3d": (lambda: nn.BatchNorm3d(3)(ONES), ValueError, r"expected 5D input \(got 2D input\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    make, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        make()


@pytest.mark.torch
@pytest.mark.parametrize("case", sorted(REFUSED.keys() - {"a list", "recorded"}))
def test_pytorch_refuses_it_with_the_same_class(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    for name, value in (
        ("distgrad", torch), ("F", torch.nn.functional), ("nn", torch.nn), ("ONES", torch.ones(4, 3)),
        ("THREE", torch.ones(3)), ("FOUR", torch.ones(4)),
    ):  # fmt: skip
        monkeypatch.setitem(globals(), name, value)
    with pytest.raises(REFUSED[case][1]):
        REFUSED[case][0]()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": None},
    {"eps": 0.1, "momentum": 0.7},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
]


@pytest.mark.torch
@shapes
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_pytorchs(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    found: list[Any] = []
    for t in (distgrad, torch):
        layer = getattr(t.nn, LAYERS[len(shape)])(3, dtype=t.float64, **options)
        values = [repr(layer), list(layer.state_dict())]
        for i in range(6):
            layer.train(i not in (2, 5))
            x = t.tensor(f64(*shape, seed=i) * (i + 1), requires_grad=True)
            out = layer(x)
            (out * t.tensor(f64(*shape, seed=-i + 9))).sum().backward()
            values += [out.detach().numpy(), x.grad.numpy()]
            values += [p.grad.numpy().copy() for p in layer.parameters()]
            values += [b.numpy().copy() for b in layer.buffers()]
        found.append(values)
    assert found[0][:2] == found[1][:2]
    for a, b in zip(found[0][2:], found[1][2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.torch
def test_their_states_are_each_others() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(3)
    theirs(torch.tensor(f64(2, 3, 4, 4)).float())
    ours = nn.BatchNorm2d(3)
    ours.load_state_dict({k: distgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = f64(2, 3, 4, 4, seed=3).astype(np.float32)
    out = ours.eval()(distgrad.tensor(x)).detach().numpy()
    np.testing.assert_allclose(out, theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.fixture(name="device", params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def _device(request: pytest.FixtureRequest) -> str:
    if request.param == "double":
        request.getfixturevalue("device_double")
    return "cuda:0"


@shapes
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_on_a_device(shape: tuple[int, ...], dtype: str, device: str) -> None:
    found = []
    for where in ("cpu", device):
        kind = getattr(distgrad, dtype)
        layer = getattr(nn, LAYERS[len(shape)])(3, momentum=None, dtype=kind).to(where)
        values = []
        for training in (True, True, False):
            x = distgrad.tensor(f64(*shape)).to(kind).to(where).requires_grad_()
            out = layer.train(training)(x)
            (out * out * out).sum().backward()
            assert str(x.grad.device) == where
            values += [out.detach(), x.grad]
        values += [layer.weight.grad, layer.bias.grad, *layer.buffers()]
        assert {str(v.device) for v in values} == {where}
        if dtype == "float64":
            (g,) = distgrad.autograd.grad((layer.train()(x) ** 3).sum(), x, create_graph=True)
            values.append(distgrad.autograd.grad((g * g).sum(), x)[0])
        found.append([v.cpu().double().numpy() for v in values])
    tolerance = {"float64": 1e-9, "float16": 1e-2, "bfloat16": 6e-2}[dtype]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_on_a_device_that_is_not_the_current_one(device_double: Any) -> None:
    found = []
    for where in ("cpu", "cuda:1"):
        layer = nn.BatchNorm1d(3, momentum=None, dtype=distgrad.float64, device=where)
        x = distgrad.tensor(f64(4, 3, 2), device=where).requires_grad_()
        (layer(x) ** 3).sum().backward()
        (layer.eval()(x) ** 3).sum().backward()
        layer.reset_running_stats()
        found.append([v.cpu().numpy() for v in (x.grad, layer.weight.grad, *layer.buffers())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_host_input_is_refused_there(device: str) -> None:
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        nn.BatchNorm1d(3, device=device)(distgrad.ones(2, 3))
