"""The losses: found by name, values by hand and by PyTorch's, gradients, extremes, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn, registry
from distgrad.nn import functional as F
from tests.losses.cases import BY_ELEMENTS, CASES

pytestmark = pytest.mark.filterwarnings("ignore::distgrad.registry.PluginWarning")  # of whatever else is installed

REDUCTIONS = ["none", "mean", "sum"]


def test_every_built_in_loss_has_cases() -> None:
    ours = {p.class_name for p in registry.plugins() if p.kind == "loss" and p.distribution == "distgrad"}
    assert ours - {"CTCLoss"} == {name for name, *_ in CASES.values()}  # test_ctc.py: it takes four inputs


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
    "smooth_l1": (lambda r: nn.SmoothL1Loss(reduction=r, beta=2.0), [1.0, 5.0, 2.0], [0.0, 0.0, 0.0], [0.25, 4.0, 1.0]),
    "huber": (lambda r: nn.HuberLoss(r, 2.0), [1.0, 5.0, 2.0], [0.0, 0.0, 0.0], [0.5, 8.0, 2.0]),
    "soft_margin": (
        lambda r: nn.SoftMarginLoss(reduction=r), [0.0, ln(3), ln(3)], [1.0, 1.0, -1.0], [ln(2), ln(4 / 3), ln(4)],
    ),
    "hinge_embedding": (
        lambda r: nn.HingeEmbeddingLoss(reduction=r), [0.25, 0.25, 3.0], [1.0, -1.0, -1.0], [0.25, 0.75, 0.0],
    ),
    "poisson_nll": (lambda r: nn.PoissonNLLLoss(reduction=r), [0.0, ln(2)], [3.0, 1.0], [1.0, 2 - ln(2)]),
    "poisson_nll, full": (
        lambda r: nn.PoissonNLLLoss(False, full=True, eps=0.0, reduction=r), [1.0, 1.0], [1.0, math.e],
        [1.0, 1.0 + 0.5 * ln(2 * math.pi * math.e)],
    ),
    "kl_div": (
        lambda r: nn.KLDivLoss(reduction=r), [ln(0.5), ln(0.25), -9.0], [0.5, 0.5, 0.0], [0.0, 0.5 * ln(2), 0.0],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings(BY_ELEMENTS)
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


def test_values_by_hand_of_three_inputs() -> None:
    d = distgrad.float64
    a, b, c = (distgrad.tensor(x, dtype=d) for x in ([[3.0, 4.0], [1.0, 0.0]], [[0.0, 0.0]] * 2, [[3.0, 4.0]] * 2))
    assert F.pairwise_distance(a, b, eps=0.0).tolist() == [5.0, 1.0]
    assert F.pairwise_distance(a, b, p=1, eps=0.0, keepdim=True).tolist() == [[7.0], [1.0]]
    assert F.cosine_similarity(a, c).tolist() == pytest.approx([1.0, 0.6])
    assert F.cosine_similarity(b, c).tolist() == [0.0, 0.0]
    triplet = nn.TripletMarginLoss(margin=2.0, eps=0.0, reduction="none")
    assert triplet(a, b, c).tolist() == pytest.approx([7.0, 0.0])  # 5 - 0 + 2; 1 - sqrt(20) + 2 < 0
    assert nn.TripletMarginLoss(2.0, eps=0.0, swap=True, reduction="none")(c, b, b).tolist() == [7.0, 7.0]
    target = distgrad.tensor([1.0, -1.0], dtype=d)
    assert nn.CosineEmbeddingLoss(margin=0.1, reduction="none")(a, c, target).tolist() == pytest.approx([0.0, 0.5])
    x, y = distgrad.tensor([2.0, 2.0]), distgrad.tensor([1.0, 1.0])
    assert nn.MarginRankingLoss(0.5, reduction="none")(x, y, target.float()).tolist() == [0.0, 1.5]
    gauss = nn.GaussianNLLLoss(full=True, reduction="sum")
    assert gauss(x.double(), y.double(), 4.0).item() == pytest.approx(ln(4) + 0.25 + ln(2 * math.pi))


def test_batchmean_divides_by_the_batch() -> None:
    x, y = distgrad.tensor([[ln(0.5), ln(0.5)]] * 3).double(), distgrad.tensor([[1.0, 0.0]] * 3).double()
    assert nn.KLDivLoss(reduction="batchmean")(x, y).item() == pytest.approx(ln(2))
    with pytest.warns(UserWarning, match="'batchmean' divides by the batch size alone"):
        assert nn.KLDivLoss()(x, distgrad.full((3, 2), 0.25).double()).item() == pytest.approx(-0.25 * ln(2))


def test_weighted_regression() -> None:
    x, y, w = distgrad.tensor([1.0, 3.0]), distgrad.tensor([0.0, 0.0]), distgrad.tensor([1.0, 3.0])
    assert F.mse_loss(x, y, weight=w).item() == 7.0
    assert F.l1_loss(x, y, weight=w).item() == 2.5
    assert F.l1_loss(x, y, weight=w, reduction="none").tolist() == [1.0, 9.0]
    assert F.huber_loss(x, y, weight=w, reduction="sum").item() == 8.0
    assert F.huber_loss(x, y, weight=w).item() == 4.0
    with pytest.raises(ValueError, match=r"Weights and input must have the same size; they have \[3\] and \[2\]"):
        F.mse_loss(x, y, weight=distgrad.ones(3))


EXTREMES = [
    "MSELoss", "L1Loss", "BCEWithLogitsLoss", "CrossEntropyLoss", "SmoothL1Loss", "HuberLoss", "SoftMarginLoss",
    "HingeEmbeddingLoss", "NLLLoss", "KLDivLoss",
]  # fmt: skip


@pytest.mark.filterwarnings(BY_ELEMENTS)
@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_finite_at_large_logits(name: str, reduction: str) -> None:
    x = distgrad.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], requires_grad=True)
    indices = name in ("CrossEntropyLoss", "NLLLoss")
    y = distgrad.tensor([1, 0, 2, 2]) if indices else (x.detach() > 1).float()
    loss = getattr(nn, name)(reduction=reduction)(x, y)
    loss.sum().backward()
    assert loss.dtype is distgrad.float32
    assert np.isfinite(loss.tolist()).all()
    assert x.grad is not None
    assert np.isfinite(x.grad.tolist()).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_where_all_is_ignored_the_mean_is_nan_and_the_gradient_0(weight: Any, smoothing: float) -> None:
    loss = nn.CrossEntropyLoss(None if weight is None else distgrad.tensor(weight), label_smoothing=smoothing)
    x = distgrad.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]], requires_grad=True)
    out = loss(x, distgrad.tensor([-100, -100]))
    out.backward()
    assert math.isnan(out.item())
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0] * 3] * 2


def test_cross_entropy_is_never_negative() -> None:
    """Of certain rows whose logits differ a little in height: differences are rounded."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 10)) * 0.1
    x[np.arange(64), np.arange(64) % 10] += 20
    loss = F.cross_entropy(distgrad.tensor(x).float(), distgrad.tensor(np.arange(64) % 10), reduction="none")
    assert float(loss.min()) >= 0
    assert float(loss.max()) < 1e-5


def test_what_is_ignored_may_be_infinite() -> None:
    x = distgrad.tensor([[-math.inf, 0.0, 0.0], [0.0, ln(3), 0.0]], requires_grad=True)
    for reduction in REDUCTIONS:
        loss = nn.CrossEntropyLoss(ignore_index=2, reduction=reduction)
        assert loss(x, distgrad.tensor([2, 1])).sum().item() == pytest.approx(ln(5 / 3))


def test_pairs_are_finite_far_out() -> None:
    far = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]]
    sign = distgrad.tensor([1.0, -1.0, 1.0])
    for loss, third in ((nn.TripletMarginLoss(), None), (nn.CosineEmbeddingLoss(), sign), (nn.GaussianNLLLoss(), 1.0)):
        x, y = (distgrad.tensor(far).mul(k).requires_grad_() for k in (1, -1))
        out = loss(x, y, x.detach() + 1 if third is None else third)
        out.backward()
        for t in (out.detach(), x.grad, y.grad):
            assert np.isfinite(np.asarray(t.tolist())).all(), loss


def test_soft_margin_is_finite_where_pytorchs_is_not() -> None:
    x = distgrad.tensor([-1e4, 1e4], requires_grad=True)
    loss = nn.SoftMarginLoss(reduction="none")(x, distgrad.ones(2))
    loss.sum().backward()
    assert loss.tolist() == [1e4, 0.0]
    assert x.grad is not None
    assert x.grad.tolist() == [-1.0, 0.0]


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
    with pytest.raises(AttributeError, match=r"'distgrad\.nn' has no attribute 'MSLoss': .*the nearest: MSELoss"):
        nn.MSLoss  # noqa: B018
    with pytest.raises(
        registry.UnknownPluginError, match=r"known: bce, bce_with_logits, cosine_embedding, cross_entropy, ctc"
    ):
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
    "weight of BCE": (lambda: F.binary_cross_entropy(ones(3), ones(3), ones(2, 3)), RuntimeError,
                      r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"),
    "no target": (lambda: nn.BCELoss()(ones(3), ones(3) * 2), RuntimeError, "all elements of target should be between"),
    "integers": (lambda: nn.HuberLoss()(distgrad.tensor([1]), distgrad.tensor([1])), NotImplementedError,
                 "huber_loss is not implemented for Long"),
    "delta": (lambda: nn.HuberLoss(delta=0.0)(ones(2), ones(2)), RuntimeError, "non-positive values for delta, got 0"),
    "delta's type": (lambda: nn.HuberLoss(delta="1"), TypeError, "delta must be a float or int, got"),
    "beta": (lambda: nn.SmoothL1Loss(beta=-1.0)(ones(2), ones(2)), RuntimeError, "negative values for beta, got -1"),
    "class type": (lambda: nn.NLLLoss()(ones(2, 3), distgrad.tensor([0, 1]).int()), RuntimeError,
                   "expected target dtype to be Long or Byte, but got Int"),
    "class weights": (lambda: nn.CrossEntropyLoss(ones(2))(ones(2, 3), distgrad.tensor([0, 1])), RuntimeError,
                      r"either for all 3 classes or no classes but got weight tensor of shape: \[2\]"),
    "integer probabilities": (lambda: nn.CrossEntropyLoss()(ones(2, 3), ones(2, 3).long()), RuntimeError,
                              "Expected floating point type for target with class probabilities, got Long"),
    "variance": (lambda: nn.GaussianNLLLoss()(ones(2), ones(2), -1.0), ValueError, "var has negative entry/entries"),
    "variances": (lambda: nn.GaussianNLLLoss()(ones(2, 3), ones(2, 3), ones(4)), ValueError, "is of incorrect size"),
    "a target with a gradient": (lambda: nn.SoftMarginLoss()(ones(2), ones(2).requires_grad_()), RuntimeError,
                                 "not differentiable with respect to its target"),
    "cosine": (lambda: nn.CosineEmbeddingLoss()(ones(2, 3, 4), ones(2, 3, 4), ones(2)), RuntimeError,
               "1D target tensor expects 2D input tensors"),
    "ranks": (lambda: nn.MarginRankingLoss()(ones(2), ones(2, 1), ones(2)), RuntimeError,
              "All input tensors should have same dimension"),
    "margin": (lambda: nn.TripletMarginLoss(margin=0), ValueError, "expected margin to be greater than 0, got 0"),
    "triplet": (lambda: nn.TripletMarginLoss()(ones(2, 3), ones(3), ones(2, 3)), RuntimeError,
                "anchor 2D, positive 1D, and negative 2D inputs"),
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


@pytest.mark.parametrize(
    "name",
    [
        "SmoothL1Loss", "HuberLoss", "GaussianNLLLoss", "PoissonNLLLoss", "KLDivLoss", "HingeEmbeddingLoss",
        "CosineEmbeddingLoss", "MarginRankingLoss", "SoftMarginLoss", "TripletMarginLoss",
    ],
)  # fmt: skip
def test_an_unknown_reduction_is_refused_by_all(name: str) -> None:
    x, y = ones(1, 2), ones(1)
    third: dict[str, Any] = {"GaussianNLLLoss": x, "CosineEmbeddingLoss": y, "MarginRankingLoss": x}
    more = [third[name]] if name in third else [x] if name == "TripletMarginLoss" else []
    with pytest.raises(ValueError, match="average is not (a )?valid"):
        getattr(nn, name)(reduction="average")(x, x, *more)


def test_elementwise_mean_is_the_mean() -> None:
    with pytest.warns(UserWarning, match="'elementwise_mean' is deprecated"):
        assert nn.L1Loss(reduction="elementwise_mean")(ones(4), ones(4) * 3).item() == 2.0


def test_a_likely_mistake_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="likely lead to incorrect results due to broadcasting"):
        nn.MSELoss()(ones(3), ones(3, 1))
