"""The losses: found by name, values by hand and by PyTorch's, gradients, extremes, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn, registry
from distgrad.autograd import gradcheck, gradgradcheck
from distgrad.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore::distgrad.registry.PluginWarning")  # of whatever else is installed

REDUCTIONS = ["none", "mean", "sum"]
rng = np.random.default_rng(7)


def f64(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def probabilities(*shape: int) -> np.ndarray:
    return rng.uniform(0.05, 0.95, shape)


LOGITS, CLASSES = f64(6, 4), np.array([0, 3, 1, 1, 2, 0])
MAPS, PIXELS = f64(2, 3, 4, 2), rng.integers(0, 3, (2, 4, 2))
SOME = np.array([0, -100, 1, 1, -100, 0])
CLASS_WEIGHT = np.array([0.2, 1.0, 2.5, 0.7])
SOFT = np.exp(f64(6, 4))
SOFT /= SOFT.sum(1, keepdims=True)
LOG_PROBABILITIES = np.log(SOFT)

# name: (class, options, input, target).  The options' arrays become tensors.
CASES: dict[str, tuple[str, dict[str, Any], np.ndarray, np.ndarray]] = {
    "mse": ("MSELoss", {}, f64(3, 4), f64(3, 4)),
    "mse, a number": ("MSELoss", {}, f64(), f64()),
    "l1": ("L1Loss", {}, f64(3, 4), f64(3, 4)),
    "bce": ("BCELoss", {}, probabilities(3, 4), probabilities(3, 4)),
    "bce, weight": ("BCELoss", {"weight": probabilities(4)}, probabilities(3, 4), probabilities(3, 4)),
    "bce logits": ("BCEWithLogitsLoss", {}, f64(3, 4) * 3, probabilities(3, 4)),
    "bce logits, weight": ("BCEWithLogitsLoss", {"weight": probabilities(3, 1)}, f64(3, 4), probabilities(3, 4)),
    "bce logits, pos_weight": ("BCEWithLogitsLoss", {"pos_weight": f64(4) ** 2}, f64(3, 4), probabilities(3, 4)),
    "bce logits, both": (
        "BCEWithLogitsLoss", {"weight": probabilities(4), "pos_weight": f64(4) ** 2}, f64(3, 4), probabilities(3, 4),
    ),
    "ce": ("CrossEntropyLoss", {}, LOGITS, CLASSES),
    "ce, one sample": ("CrossEntropyLoss", {}, LOGITS[0], CLASSES[0]),
    "ce, maps": ("CrossEntropyLoss", {}, MAPS, PIXELS),
    "ce, ignored": ("CrossEntropyLoss", {}, LOGITS, SOME),
    "ce, ignore 1": ("CrossEntropyLoss", {"ignore_index": 1}, LOGITS, CLASSES),
    "ce, weight": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT}, LOGITS, CLASSES),
    "ce, weight, ignored": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT}, LOGITS, SOME),
    "ce, smoothing": ("CrossEntropyLoss", {"label_smoothing": 0.1}, LOGITS, CLASSES),
    "ce, smoothing, maps": ("CrossEntropyLoss", {"label_smoothing": 0.1}, MAPS, PIXELS),
    "ce, all": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT, "label_smoothing": 0.3}, LOGITS, SOME),
    "ce, probabilities": ("CrossEntropyLoss", {}, LOGITS, SOFT),
    "ce, probabilities, all": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT, "label_smoothing": 0.2}, LOGITS, SOFT),
    "nll": ("NLLLoss", {}, LOG_PROBABILITIES, CLASSES),
    "nll, one sample": ("NLLLoss", {}, LOG_PROBABILITIES[0], CLASSES[0]),
    "nll, maps": ("NLLLoss", {}, MAPS, PIXELS),
    "nll, weight, ignored": ("NLLLoss", {"weight": CLASS_WEIGHT}, LOG_PROBABILITIES, SOME),
    "nll, ignore 1": ("NLLLoss", {"ignore_index": 1}, LOG_PROBABILITIES, CLASSES),
}  # fmt: skip


def made(library: Any, name: str, options: dict[str, Any], reduction: str) -> Any:
    """The loss of this class in distgrad or in torch."""
    given = {k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    return getattr(library.nn, name)(**given, reduction=reduction)


def test_every_built_in_loss_has_cases() -> None:
    ours = {p.class_name for p in registry.plugins() if p.kind == "loss" and p.distribution == "distgrad"}
    assert ours == {name for name, *_ in CASES.values()}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_first_and_second_derivatives(case: str, reduction: str) -> None:
    name, options, x, y = CASES[case]
    loss = made(distgrad, name, options, reduction)
    x = distgrad.tensor(x, requires_grad=True)
    y = distgrad.tensor(y)
    if y.is_floating_point() and "CrossEntropy" not in name:
        y.requires_grad_()
    assert gradcheck(loss, (x, y))
    assert gradgradcheck(loss, (x, y))


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(case: str, reduction: str) -> None:
    import torch

    name, options, x, y = CASES[case]
    upstream: Any = None
    found = []
    for library in (distgrad, torch):
        t = library.tensor(x, requires_grad=True)
        out = made(library, name, options, reduction)(t, library.tensor(y))
        if upstream is None:
            upstream = np.asarray(rng.standard_normal(tuple(out.shape)))
        out.backward(library.tensor(upstream))
        found.append((str(out.dtype), tuple(out.shape), out.detach().numpy(), t.grad.numpy()))
    (dtype, shape, value, grad), (their_dtype, their_shape, their_value, their_grad) = found
    assert (dtype, shape) == (their_dtype, their_shape)
    np.testing.assert_allclose(value, their_value, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(grad, their_grad, rtol=1e-6, atol=1e-12)


# By hand: (loss, input, target, elementwise values)
ln = math.log
BY_HAND: dict[str, tuple[Callable[..., Any], Any, Any, list[float]]] = {
    "mse": (lambda r: nn.MSELoss(reduction=r), [1.0, 2.0, 4.0], [1.0, 0.0, 1.0], [0.0, 4.0, 9.0]),
    "l1": (lambda r: nn.L1Loss(reduction=r), [1.0, 2.0, 4.0], [1.0, 0.0, 5.0], [0.0, 2.0, 1.0]),
    "bce": (
        lambda r: nn.BCELoss(reduction=r), [0.5, 0.25, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0], [ln(2), -ln(0.75), 0.0, 100.0],
    ),
    "bce_with_logits": (
        lambda r: nn.BCEWithLogitsLoss(reduction=r), [0.0, ln(3), -ln(3)], [1.0, 0.0, 0.25],
        [ln(2), ln(4), -(0.25 * ln(0.25) + 0.75 * ln(0.75))],
    ),
    "cross_entropy": (
        lambda r: nn.CrossEntropyLoss(reduction=r), [[0.0, ln(3)], [ln(7), 0.0]], [1, 1], [ln(4 / 3), ln(8)],
    ),
    "nll": (lambda r: nn.NLLLoss(reduction=r), [[-1.0, -2.0], [-3.0, -4.0]], [1, 0], [2.0, 3.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_values_by_hand(name: str) -> None:
    make, x, y, each = BY_HAND[name]
    x, y = distgrad.tensor(x, dtype=distgrad.float64), distgrad.tensor(y)
    y = y.double() if y.is_floating_point() else y
    assert make("none")(x, y).tolist() == pytest.approx(each, abs=1e-7)
    assert make("sum")(x, y).item() == pytest.approx(sum(each), abs=1e-7)
    assert make("mean")(x, y).item() == pytest.approx(sum(each) / len(each), abs=1e-7)


def test_gradients_by_hand() -> None:
    x = distgrad.tensor([1.0, 5.0], requires_grad=True)
    nn.MSELoss()(x, distgrad.tensor([0.0, 2.0])).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 3.0]  # 2 (x - y) / 2
    z = distgrad.tensor([[0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    nn.CrossEntropyLoss()(z, distgrad.tensor([2])).backward()
    assert z.grad is not None
    assert z.grad.tolist() == [[0.25, 0.25, -0.75, 0.25]]  # softmax - one-hot


EXTREMES = ["MSELoss", "L1Loss", "BCEWithLogitsLoss", "CrossEntropyLoss"]


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_finite_at_large_logits(name: str, reduction: str) -> None:
    x = distgrad.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], requires_grad=True)
    y = distgrad.tensor([1, 0, 2, 2]) if name == "CrossEntropyLoss" else (x.detach() > 1).float()
    loss = getattr(nn, name)(reduction=reduction)(x, y)
    loss.sum().backward()
    assert loss.dtype is distgrad.float32
    assert np.isfinite(loss.tolist()).all()
    assert x.grad is not None
    assert np.isfinite(x.grad.tolist()).all()


def test_certain_probabilities_are_finite() -> None:
    p = distgrad.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = nn.BCELoss()(p, distgrad.tensor([0.0, 1.0, 1.0, 0.0]))
    loss.backward()
    assert loss.item() == 50.0
    assert p.grad is not None
    assert np.isfinite(p.grad.tolist()).all()


def test_found_by_name() -> None:
    assert nn.get_loss("mse") is nn.get_loss("MSELoss") is nn.MSELoss
    assert "MSELoss" in vars(nn)  # the second look-up costs nothing
    assert repr(nn.MSELoss()) == "MSELoss()"
    assert repr(nn.CrossEntropyLoss(label_smoothing=0.1)) == "CrossEntropyLoss()"
    assert {name for name, *_ in CASES.values()} | {"Linear"} <= set(dir(nn))


def test_unknown_names_say_what_is_known() -> None:
    with pytest.raises(AttributeError, match=r"module 'distgrad\.nn' has no attribute 'MSLoss': .*did you mean 'mse'"):
        nn.MSLoss  # noqa: B018
    with pytest.raises(registry.UnknownPluginError, match=r"known: bce, bce_with_logits, cross_entropy, l1, mse, nll"):
        nn.get_loss("mmd")
    with pytest.raises(AttributeError, match=r"has no attribute '__nothing__'$"):
        nn.__nothing__  # noqa: B018


def test_a_strangers_loss_is_found_in_nn() -> None:
    class HuberLikeLoss(nn.Loss):
        def forward(self, input: Any, target: Any) -> Any:
            return F.mse_loss(input, target, reduction=self.reduction)

    class Plugin:
        @distgrad.hookimpl
        def distgrad_losses(self) -> dict[str, type]:
            return {"huber_like": HuberLikeLoss}

    plugin = Plugin()
    registry.register(plugin)
    try:
        assert nn.HuberLikeLoss is nn.get_loss("huber_like") is HuberLikeLoss
        assert "HuberLikeLoss" in dir(nn)
    finally:
        registry.unregister(plugin)
        vars(nn).pop("HuberLikeLoss", None)


def test_weights_are_buffers() -> None:
    loss = nn.BCEWithLogitsLoss(weight=distgrad.ones(2), pos_weight=distgrad.ones(2))
    assert list(loss.state_dict()) == ["weight", "pos_weight"]
    assert loss.double().pos_weight.dtype is distgrad.float64
    assert list(nn.CrossEntropyLoss().state_dict()) == []


def test_the_old_arguments_set_the_reduction() -> None:
    for size_average, reduce, reduction in [(False, None, "sum"), (True, True, "mean"), (None, False, "none")]:
        with pytest.warns(UserWarning, match=f"please use reduction='{reduction}' instead"):
            assert nn.L1Loss(size_average, reduce).reduction == reduction
    x, y = distgrad.ones(2), distgrad.zeros(2)
    for function in (F.mse_loss, F.l1_loss):
        with pytest.warns(UserWarning, match="size_average and reduce args will be deprecated"):
            assert function(x, y, size_average=False).item() == 2.0


ones = distgrad.ones
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "sizes": (lambda: nn.MSELoss()(ones(3, 2), ones(4, 2)), RuntimeError,
              r"MSELoss\(\): The size of tensor a \(3\) must match the size of tensor b \(4\)"),
    "bce sizes": (lambda: nn.BCELoss()(ones(3), ones(3, 1)), ValueError,
                  r"Using a target size \(torch.Size\(\[3, 1\]\)\) that is different to the input size"),
    "bce logits sizes": (lambda: nn.BCEWithLogitsLoss()(ones(3), ones(3, 1)), ValueError,
                         r"Target size \(torch.Size\(\[3, 1\]\)\) must be the same as input size \(torch.Size"),
    "no probability": (lambda: nn.BCELoss()(ones(3) * 2, ones(3)), RuntimeError,
                       "all elements of input should be between 0 and 1"),
    "a class too many": (lambda: nn.CrossEntropyLoss()(ones(2, 3), distgrad.tensor([0, 3])), IndexError,
                         "Target 3 is out of bounds: the classes are 0 to 2"),
    "a negative class": (lambda: nn.NLLLoss()(ones(2, 3), distgrad.tensor([0, -1])), IndexError, "Target -1 is out of"),
    "batches": (lambda: nn.CrossEntropyLoss()(ones(2, 3), distgrad.tensor([0])), ValueError,
                r"Expected input batch_size \(2\) to match target batch_size \(1\)"),
    "smoothing": (lambda: nn.CrossEntropyLoss(label_smoothing=1.5)(ones(2, 3), distgrad.tensor([0, 1])), RuntimeError,
                  r"label_smoothing must be between 0.0 and 1.0. Got: 1.5"),
    "no tensor": (lambda: nn.MSELoss()(ones(2), 3.0), TypeError, "argument 'target' must be Tensor, not float"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    run, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        run()


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"])
def test_an_unknown_reduction_is_refused_at_the_call(name: str) -> None:
    loss = getattr(nn, name)(reduction="average")
    y = distgrad.tensor([0, 1]) if name in ("CrossEntropyLoss", "NLLLoss") else ones(2, 3)
    with pytest.raises(ValueError, match="average is not a valid value for reduction; the values are none, mean, sum"):
        loss(ones(2, 3), y)


def test_a_likely_mistake_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="likely lead to incorrect results due to broadcasting"):
        nn.MSELoss()(ones(3), ones(3, 1))
