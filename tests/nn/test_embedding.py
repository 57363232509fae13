"""Tables of vectors: rows, their gradients dense and sparse, limits, and PyTorch's layer beside ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.autograd import gradcheck
from distgrad.nn import functional as F
from distgrad.storage import place

INDEX = [[0, 2, 2], [4, 1, 2]]


def table(dtype: Any = distgrad.float64) -> Any:
    return distgrad.arange(10.0, dtype=dtype).reshape(5, 2).requires_grad_()


def test_rows_and_their_gradients_by_hand() -> None:
    w = table()
    out = F.embedding(distgrad.tensor(INDEX), w)
    assert out.tolist()[1] == [[8.0, 9.0], [2.0, 3.0], [4.0, 5.0]]
    out.sum().backward()
    assert w.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [3.0, 3.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"padding_idx": 2}, [1.0, 1.0, 0.0, 0.0, 1.0]),
        ({"padding_idx": -1}, [1.0, 1.0, 3.0, 0.0, 0.0]),
        ({"scale_grad_by_freq": True}, [1.0, 1.0, 1.0, 0.0, 1.0]),
    ],
)
def test_which_rows_are_trained(options: dict[str, Any], rows: list[float]) -> None:
    w = table()
    F.embedding(distgrad.tensor(INDEX), w, **options).sum().backward()
    assert w.grad[:, 0].tolist() == rows
    if "padding_idx" in options:
        sparse = table()
        F.embedding(distgrad.tensor(INDEX), sparse, sparse=True, **options).sum().backward()
        assert sparse.grad.to_dense()[:, 0].tolist() == rows


@pytest.mark.parametrize("shape", [(3000, 1), (40, 60), (1, 5000), (200, 15)])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_many_rows_add_up(shape: tuple[int, int], dtype: str) -> None:
    """By every way of adding up: few elements, few repeats, many repeats."""
    rng = np.random.default_rng(shape[0])
    index = rng.integers(0, 7 if shape[0] < 1000 else 40, shape[0])
    upstream = rng.integers(-3, 4, (shape[0], shape[1])).astype(dtype)  # sums of these are exact
    expected = np.zeros((41, shape[1]))
    np.add.at(expected, index, upstream.astype(float))
    for sparse in (False, True):
        w = distgrad.zeros(41, shape[1], dtype=getattr(distgrad, dtype)).requires_grad_()
        F.embedding(distgrad.tensor(index), w, sparse=sparse).backward(distgrad.tensor(upstream))
        assert w.grad.is_sparse == sparse
        assert (w.grad.to_dense().double().numpy() == expected).all()


def test_the_gradient_is_written_into_flat_storage() -> None:
    layer = nn.Embedding(6, 3)
    distgrad.optim.SGD(layer.parameters(), lr=0.1)
    flat, i = place(layer.weight)
    for _ in range(2):
        layer.zero_grad()
        layer(distgrad.tensor([1, 1])).sum().backward()
        assert layer.weight.grad._data is flat.slots[i]
        assert layer.weight.grad[:, 0].tolist() == [0.0, 2.0, 0.0, 0.0, 0.0, 0.0]


def test_max_norm_scales_the_rows_used_alone() -> None:
    layer = nn.Embedding.from_pretrained(distgrad.tensor([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4]]), max_norm=5.0)
    before = layer.weight._version
    out = layer(distgrad.tensor([1, 2, 1]))
    assert out[0].tolist() == pytest.approx([3.0, 4.0], rel=1e-6)
    assert layer.weight.tolist()[0] == [3.0, 4.0]
    assert layer.weight.tolist()[2] == pytest.approx([0.3, 0.4])
    assert layer.weight._version == before + 1
    assert not layer.weight.requires_grad


def test_second_derivatives() -> None:
    index, w = distgrad.tensor(INDEX), table()
    assert gradcheck(lambda w: F.embedding(index, w * w), [w])
    for options in ({}, {"padding_idx": 2}, {"scale_grad_by_freq": True}, {"sparse": True}):
        out = F.embedding(index, w, **options)
        (g,) = distgrad.autograd.grad((out**3).sum(), w, create_graph=True)
        assert not g.is_sparse  # so that it can be differentiated again
        (h,) = distgrad.autograd.grad((g * distgrad.ones(5, 2).double()).sum(), w)
        each = {"padding_idx": [1, 1, 0, 0, 1], "scale_grad_by_freq": [1, 1, 1 / 3, 0, 1]}  # scaled twice
        counts = distgrad.tensor(each.get(next(iter(options), ""), [1, 1, 3, 0, 1]))
        np.testing.assert_allclose(h.to_dense().numpy(), (6 * w * counts.reshape(5, 1)).detach().numpy())


def test_the_layer() -> None:
    layer = nn.Embedding(4, 3, padding_idx=-1, dtype=distgrad.float64)
    assert layer.padding_idx == 3
    assert layer.weight.dtype is distgrad.float64
    assert layer.weight[3].tolist() == [0.0, 0.0, 0.0]
    assert layer.weight[:3].abs().min().item() > 0
    assert tuple(layer(distgrad.zeros(2, 0).long()).shape) == (2, 0, 3)
    assert layer(distgrad.tensor(1).int()).tolist() == layer.weight[1].tolist()
    assert repr(layer) == "Embedding(4, 3, padding_idx=3)"
    assert list(layer.state_dict()) == ["weight"]
    with pytest.raises(AssertionError, match=r"Shape of weight \[2, 2\] does not match"):
        nn.Embedding(4, 3, _weight=distgrad.ones(2, 2))
    with pytest.raises(AssertionError, match="2-dimensional"):
        nn.Embedding.from_pretrained(distgrad.ones(2))


W = distgrad.ones(4, 3)
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "too large": (lambda: F.embedding(distgrad.tensor([4]), W), IndexError, "index out of range in self: 4; the rows"),
    "negative": (lambda: F.embedding(distgrad.tensor([-1]), W), IndexError, "index out of range in self: -1"),
    "floats": (lambda: F.embedding(distgrad.ones(2), W), RuntimeError, "Long, Int; but got torch.FloatTensor instead"),
    "a vector": (lambda: F.embedding(distgrad.tensor([0]), distgrad.ones(3)), RuntimeError, "'weight' must be 2-D"),
    "a list": (lambda: F.embedding([1], W), TypeError, "argument 'input' \\(position 1\\) must be Tensor, not list"),
    "padding": (lambda: nn.Embedding(4, 3, padding_idx=4), AssertionError, "Padding_idx must be within num_embeddings"),
    "padding here": (lambda: F.embedding(distgrad.tensor([0]), W, -5), AssertionError, "Padding_idx must be within"),
    "both": (
        lambda: nn.Embedding(4, 3, scale_grad_by_freq=True, sparse=True)(distgrad.tensor([1])),
        RuntimeError,
        "scale_grad_by_freq not supported with sparse gradients",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    run, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        run()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"padding_idx": 2},
    {"scale_grad_by_freq": True},
    {"max_norm": 2.5},
    {"max_norm": 3.0, "norm_type": 1.0, "padding_idx": -2},
    {"max_norm": 2.0, "norm_type": float("inf")},
    {"sparse": True},
    {"sparse": True, "padding_idx": 2, "max_norm": 1.5},
]


@pytest.mark.torch
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(2).standard_normal((5, 3)) * 2
    found = []
    for t in (distgrad, torch):
        layer = t.nn.Embedding(5, 3, _weight=t.tensor(start), **options)
        out = layer(t.tensor(INDEX))
        (out**2).sum().backward()
        assert layer.weight.grad.is_sparse == ("sparse" in options)
        grad = layer.weight.grad.to_dense().numpy()
        found.append((repr(layer), out.detach().numpy(), grad, layer.weight.detach().numpy()))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.fixture(name="device", params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def _device(request: pytest.FixtureRequest) -> str:
    if request.param == "double":
        request.getfixturevalue("device_double")
    return "cuda:0"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_on_a_device(options: dict[str, Any], device: str) -> None:
    start = distgrad.tensor(np.random.default_rng(2).standard_normal((5, 3)) * 2)
    found = []
    for where in ("cpu", device):
        layer = nn.Embedding(5, 3, _weight=start.clone(), **options).to(where)
        out = layer(distgrad.tensor(INDEX, device=where))
        (out * out).sum().backward()
        assert str(layer.weight.grad.device) == where
        grads = layer.weight.grad.coalesce().cpu() if "sparse" in options else layer.weight.grad.cpu()
        found.append((out.detach().cpu().numpy(), grads.to_dense().numpy(), layer.weight.detach().cpu().numpy()))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_device_does_not_look_at_indices(device: str) -> None:
    out = F.embedding(distgrad.tensor([0, 9, -1], device=device), distgrad.ones(2, 2, device=device))
    assert np.isnan(out.cpu().numpy()).tolist() == [[False, False], [True, True], [True, True]]
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        F.embedding(distgrad.tensor([0]), distgrad.ones(2, 2, device=device))
