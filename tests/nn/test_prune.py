"""Pruning, fusing and making layers: by hand and beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn.utils import prune

rng = np.random.default_rng(8)


def layer_of(values: Any, t: Any = distgrad) -> Any:
    values = np.asarray(values, np.float32)
    made = t.nn.Linear(values.shape[1], values.shape[0])
    made.weight.data.copy_(t.tensor(values))
    made.bias.data.fill_(1.0)
    return made


def test_the_least_elements_go_and_stay_away() -> None:
    layer = prune.l1_unstructured(layer_of([[1.0, -4.0], [3.0, -2.0]]), "weight", 2)
    assert list(layer.state_dict()) == ["bias", "weight_orig", "weight_mask"]
    assert layer.weight.tolist() == [[0.0, -4.0], [3.0, 0.0]]
    layer(distgrad.ones(1, 2)).sum().backward()
    assert layer.weight_orig.grad.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    with distgrad.no_grad():
        layer.weight_orig.fill_(7.0)
    assert layer(distgrad.ones(1, 2)).tolist() == [[8.0, 8.0]]
    assert prune.is_pruned(nn.Sequential(layer))
    assert prune.remove(layer, "weight") is layer
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert layer.weight.tolist() == [[0.0, 7.0], [7.0, 0.0]]
    assert isinstance(layer.weight, nn.Parameter)
    assert not prune.is_pruned(layer)
    assert layer(distgrad.ones(1, 2)).tolist() == [[8.0, 8.0]]


def test_channels_go_by_their_norm() -> None:
    values = [[1.0, 5.0, 0.0], [1.0, 0.0, 3.0]]
    assert prune.ln_structured(layer_of(values), "weight", 1, n=2, dim=1).weight_mask.tolist() == [[0.0, 1.0, 1.0]] * 2
    assert prune.ln_structured(layer_of(values), "weight", 0.5, n=1, dim=0).weight_mask.tolist() == [
        [1.0] * 3, [0.0] * 3,
    ]  # fmt: skip
    mask = prune.random_structured(layer_of(values), "weight", 2, dim=-1).weight_mask
    assert sorted(mask.sum(0).tolist()) == [0.0, 0.0, 2.0]


def test_a_second_pruning_takes_of_what_is_left() -> None:
    layer = prune.l1_unstructured(layer_of([[1.0, 2.0, 3.0, 4.0]]), "weight", 0.5)
    prune.l1_unstructured(layer, "weight", 0.5)
    assert layer.weight_mask.tolist() == [[0.0, 0.0, 0.0, 1.0]]
    (hook,) = layer._forward_pre_hooks.values()
    assert [type(method).__name__ for method in hook] == ["L1Unstructured", "L1Unstructured"]
    prune.custom_from_mask(layer, "weight", distgrad.zeros(1, 4))
    assert layer.weight_mask.tolist() == [[0.0] * 4]
    assert len(hook) == 3


def test_several_parameters_are_pruned_as_one() -> None:
    a, b = layer_of([[1.0, 9.0]]), layer_of([[2.0, 8.0, 3.0]])
    prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=3)
    assert (a.weight_mask.tolist(), b.weight_mask.tolist()) == ([[0.0, 1.0]], [[0.0, 1.0, 0.0]])
    c = layer_of([[1.0, 9.0]])
    prune.global_unstructured(
        [(c, "weight")], prune.L1Unstructured, {(c, "weight"): distgrad.tensor([[5.0, 1.0]])}, amount=1
    )
    assert c.weight_mask.tolist() == [[1.0, 0.0]]


def test_a_method_of_ones_own_and_one_that_fails() -> None:
    class Even(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t: Any, default_mask: Any) -> Any:
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    layer = layer_of([[1.0, 2.0, 3.0]])
    Even.apply(layer, "weight")
    assert layer.weight.tolist() == [[0.0, 2.0, 0.0]]
    assert Even().prune(distgrad.ones(3)).tolist() == [0.0, 1.0, 0.0]
    layer = layer_of([[1.0, 2.0]])
    with pytest.raises(ValueError, match="smaller than the number"):
        prune.l1_unstructured(layer, "weight", 3)
    assert list(layer.state_dict()) == ["bias", "weight"]


BOTH: dict[str, Callable[[Any, Any], Any]] = {
    "identity": lambda p, m: p.identity(m, "weight"),
    "l1": lambda p, m: p.l1_unstructured(m, "weight", 0.4),
    "l1 by scores": lambda p, m: p.l1_unstructured(m, "weight", 5, importance_scores=m.weight * m.weight.sum(0)),
    "l2 of rows": lambda p, m: p.ln_structured(m, "weight", 2, n=2, dim=0),
    "inf of columns": lambda p, m: p.ln_structured(m, "weight", 0.3, n=float("inf"), dim=1),
    "both": lambda p, m: p.l1_unstructured(p.ln_structured(m, "weight", 1, n=1, dim=0), "weight", 4),
    "rows of what is left": lambda p, m: p.ln_structured(p.l1_unstructured(m, "weight", 9), "weight", 2, n=2, dim=1),
    "global": lambda p, m: p.global_unstructured([(m, "weight"), (m, "bias")], p.L1Unstructured, amount=0.5) or m,
}


@pytest.mark.torch
@pytest.mark.parametrize("case", BOTH)
def test_masks_are_pytorchs(case: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.nn.utils.prune")
    values = rng.standard_normal((5, 4))
    ours = BOTH[case](prune, layer_of(values))
    theirs = BOTH[case](torch.nn.utils.prune, layer_of(values, torch))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert ours.state_dict()[key].tolist() == value.tolist()
    assert ours(distgrad.ones(1, 4)).tolist()[0] == pytest.approx(theirs(torch.ones(1, 4)).tolist()[0], rel=1e-5)


def L() -> Any:
    return nn.Linear(3, 2)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "more": (lambda: prune.random_unstructured(L(), "weight", 7), ValueError),
    "below none": (lambda: prune.random_unstructured(L(), "weight", -1), ValueError),
    "above all": (lambda: prune.random_unstructured(L(), "weight", 1.5), ValueError),
    "no number": (lambda: prune.random_unstructured(L(), "weight", "x"), TypeError),  # type: ignore[arg-type]
    "of a vector": (lambda: prune.random_structured(L(), "bias", 1, 0), ValueError),
    "no such dimension": (lambda: prune.ln_structured(L(), "weight", 1, 2, 4), IndexError),
    "not pruned": (lambda: prune.remove(L(), "weight"), ValueError),
    "another shape": (lambda: prune.custom_from_mask(L(), "weight", distgrad.ones(2, 2)), AssertionError),
    "no pairs": (lambda: prune.global_unstructured(3, prune.L1Unstructured, amount=1), TypeError),  # type: ignore[arg-type]
    "structured": (
        lambda: prune.global_unstructured([(L(), "weight")], prune.LnStructured, amount=1, n=1), TypeError
    ),
    "no method": (lambda: prune.PruningContainer().add_pruning_method(3), TypeError),  # type: ignore[arg-type]
    "in training": (lambda: nn.utils.fuse_conv_bn_eval(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)), AssertionError),
    "other features": (lambda: nn.utils.fuse_linear_bn_eval(L().eval(), nn.BatchNorm1d(3).eval()), AssertionError),
    "without a device": (lambda: nn.utils.skip_init(nn.ReLU), RuntimeError),
    "no layer": (lambda: nn.utils.skip_init(int), RuntimeError),  # type: ignore[type-var]
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    call, kind = REFUSED[case]
    with pytest.raises(kind):
        call()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("kind", ["conv", "transposed", "linear"])
def test_a_normalization_goes_into_the_layer_before(kind: str, affine: bool, bias: bool) -> None:
    distgrad.manual_seed(0)
    layer: Any = {
        "conv": lambda: nn.Conv2d(4, 6, 2, groups=2, bias=bias),
        "transposed": lambda: nn.ConvTranspose2d(4, 6, 2, bias=bias),
        "linear": lambda: nn.Linear(4, 6, bias=bias),
    }[kind]()
    bn: Any = (nn.BatchNorm1d if kind == "linear" else nn.BatchNorm2d)(6, affine=affine)
    x = distgrad.randn(5, 4) if kind == "linear" else distgrad.randn(5, 4, 3, 3)
    for _ in range(3):
        bn(layer(x * 2 + 1))
    if affine:
        bn.weight.data.uniform_(0.5, 2.0)
        bn.bias.data.normal_()
    layer.eval()
    bn.eval()
    if kind == "linear":
        fused = nn.utils.fuse_linear_bn_eval(layer, bn)
    else:
        fused = nn.utils.fuse_conv_bn_eval(layer, bn, kind == "transposed")
    assert type(fused) is type(layer)
    assert fused is not layer
    np.testing.assert_allclose(fused(x).detach().numpy(), bn(layer(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_nothing_is_drawn_for_a_layer_whose_values_are_not_wanted() -> None:
    distgrad.manual_seed(0)
    first = distgrad.rand(1)
    distgrad.manual_seed(0)
    layer = nn.utils.skip_init(nn.Linear, 50, 60)
    assert distgrad.rand(1).equal(first)
    assert layer.weight.shape == (60, 50)
    assert layer.weight.requires_grad
    before = nn.init.ones_(distgrad.empty(2))
    assert before.tolist() == [1.0, 1.0]


def test_the_weights_of_convolutions_are_laid_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Linear(2, 2), nn.ConvTranspose2d(2, 3, 2))
    assert nn.utils.convert_conv2d_weight_memory_format(model, distgrad.channels_last) is model
    for i in (0, 2):
        assert model[i].weight.is_contiguous(memory_format=distgrad.channels_last)


def test_the_older_name_of_clipping_warns() -> None:
    w = nn.Parameter(distgrad.zeros(2))
    w.grad = distgrad.tensor([3.0, 4.0])
    with pytest.warns(FutureWarning, match="deprecated"):
        assert nn.utils.clip_grad_norm(w, 1.0).item() == 5.0
    assert w.grad.tolist() == pytest.approx([0.6, 0.8])
