"""Modules by a table: values, gradients and printed form are PyTorch's, with the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad


def _ints(t: Any, *values: Any) -> Any:
    return t.tensor(values)


# name: (the module, shapes of inputs, further arguments)
TABLE: dict[str, tuple[Callable[[Any], Any], list[tuple[int, ...]], Callable[[Any], dict[str, Any]] | None]] = {
    "attention": (lambda t: t.nn.MultiheadAttention(4, 2), [(3, 2, 4), (5, 2, 4), (5, 2, 4)], None),
    "attention, other sizes": (
        lambda t: t.nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, kdim=3, vdim=2, batch_first=True),
        [(2, 3, 4), (2, 5, 3), (2, 5, 2)],
        lambda t: {"key_padding_mask": t.tensor([[False] * 5, [False, False, True, True, True]]),
                   "average_attn_weights": False},
    ),
    "encoder": (
        lambda t: t.nn.TransformerEncoder(t.nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", norm_first=True), 2,
                                          enable_nested_tensor=False), [(3, 2, 4)],
        lambda t: {"mask": t.nn.Transformer.generate_square_subsequent_mask(3)},
    ),
    "transformer": (lambda t: t.nn.Transformer(4, 2, 1, 1, 8, 0.0, batch_first=True), [(2, 3, 4), (2, 5, 4)],
                    lambda t: {"tgt_mask": t.nn.Transformer.generate_square_subsequent_mask(5)}),
    "bilinear": (lambda t: t.nn.Bilinear(2, 3, 4), [(5, 2), (5, 3)], None),
    "local response": (lambda t: t.nn.LocalResponseNorm(3, 0.5, 0.6, 2.0), [(2, 4, 3, 2)], None),
    "channels": (lambda t: t.nn.ChannelShuffle(2), [(2, 4, 3)], None),
    "softmax of channels": (lambda t: t.nn.Softmax2d(), [(2, 3, 2, 2)], None),
    "power pooling": (lambda t: t.nn.LPPool2d(2, (2, 3), ceil_mode=True), [(2, 2, 5, 6)], None),
    "fractional pooling": (
        lambda t: t.nn.FractionalMaxPool2d((2, 3), (3, 2), _random_samples=t.tensor([[[0.1, 0.6], [0.3, 0.9]]] * 2)),
        [(2, 2, 6, 7)], None,
    ),
    "fractional pooling of volumes": (
        lambda t: t.nn.FractionalMaxPool3d(2, output_ratio=0.5, _random_samples=t.tensor([[[0.1, 0.6, 0.3]]])),
        [(1, 1, 6, 7, 5)], None,
    ),
    "leaky at random": (lambda t: t.nn.RReLU().eval(), [(3, 4)], None),
    "bag": (lambda t: t.nn.EmbeddingBag(6, 3, padding_idx=2), [], lambda t: {"input": _ints(t, [1, 2, 0], [4, 4, 5])}),
    "bag, sums": (lambda t: t.nn.EmbeddingBag(6, 3, mode="sum", include_last_offset=True), [],
                  lambda t: {"input": _ints(t, 1, 2, 0), "offsets": _ints(t, 0, 1, 1, 3)}),
    "bag, largest": (lambda t: t.nn.EmbeddingBag(6, 3, mode="max", padding_idx=0), [],
                     lambda t: {"input": _ints(t, 1, 2, 0, 0), "offsets": _ints(t, 0, 2, 2)}),
    "unpooling": (lambda t: t.nn.MaxUnpool1d(2), [(1, 1, 2)], lambda t: {"indices": _ints(t, [[1, 2]])}),
    "adaptive softmax": (lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], 2.0, True), [(4, 8)],
                         lambda t: {"target_": _ints(t, 0, 4, 9, 1)}),
    "linear cross entropy": (lambda t: t.nn.LinearCrossEntropyLoss(5, 4, out_features=(3,), bias=True), [(2, 5)],
                             lambda t: {"target": _ints(t, [0, 1, 3], [2, 2, 0])}),
}  # fmt: skip


def _flat(found: Any) -> list[Any]:
    return [o for o in found if o is not None] if isinstance(found, tuple) else [found]


def _run(t: Any, name: str, state: Any) -> tuple[Any, list[np.ndarray], dict[str, Any]]:
    make, shapes, more = TABLE[name]
    rng = np.random.default_rng(5)
    module = make(t).double()
    if state is None:
        state = {k: rng.standard_normal(tuple(v.shape)) for k, v in module.state_dict().items()
                 if k != "_random_samples"}  # fmt: skip
    module.load_state_dict({k: t.tensor(v) for k, v in state.items()}, strict=False)
    given = [t.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    options = {} if more is None else {k: v.double() if getattr(v, "is_floating_point", bool)() else v
                                       for k, v in more(t).items()}  # fmt: skip
    outs = _flat(module(*given, **options))
    total = sum((o * t.tensor(np.cos(np.arange(o.numel())).reshape(tuple(o.shape)))).sum() for o in outs)
    if total.requires_grad:
        total.backward()
    leaves = [*given, *module.parameters()]
    grads = [np.zeros(1) if a.grad is None else a.grad.numpy() for a in leaves]
    return module, [o.detach().numpy() for o in outs] + grads, state


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TABLE)
def test_values_gradients_and_print_equal_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng_state = {k: np.random.default_rng(2).standard_normal(tuple(v.shape))
                 for k, v in TABLE[name][0](distgrad).state_dict().items() if k != "_random_samples"}  # fmt: skip
    ours, found, _ = _run(distgrad, name, rng_state)
    theirs, wanted, _ = _run(torch, name, rng_state)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["attention", "bilinear", "local response", "power pooling", "adaptive softmax"])
def test_gradients_equal_finite_differences(name: str) -> None:
    make, shapes, more = TABLE[name]
    module = make(distgrad).double()
    options = {} if more is None else more(distgrad)
    given = [(distgrad.rand(*s).double() + 0.5).requires_grad_() for s in shapes]
    assert distgrad.autograd.gradcheck(lambda *a: tuple(_flat(module(*a, **options))), given)


def test_across_maps_as_many_channels_count_on_both_sides() -> None:
    x = distgrad.randn(2, 5, 1, 1)
    found = distgrad.nn.CrossMapLRN2d(4, 0.5, 0.75, 2.0)(x)
    for c in range(5):
        near = (x[:, max(c - 1, 0) : c + 2] ** 2).sum(1)
        assert distgrad.allclose(found[:, c], x[:, c] / (2.0 + 0.5 / 4 * near) ** 0.75, atol=1e-6)


def test_dropout_that_keeps_mean_and_variance() -> None:
    x = distgrad.randn(200, 200)
    for layer in (distgrad.nn.AlphaDropout(0.3), distgrad.nn.FeatureAlphaDropout(0.3)):
        y = layer(x)
        assert abs(y.mean().item()) < 0.05
        assert abs(y.var().item() - 1) < 0.05


def test_a_sample_of_classes_is_one_of_them_and_has_a_gradient() -> None:
    x = distgrad.zeros(4, 3, requires_grad=True)
    y = distgrad.nn.functional.gumbel_softmax(x, hard=True)
    assert sorted(set(y.detach().round().flatten().tolist())) == [0.0, 1.0]
    assert y.sum().item() == pytest.approx(4)
    (y * distgrad.arange(3)).sum().backward()
    assert x.grad.any()
