"""Layers of convolution, pooling, padding, resizing and normalization: printed, drawn and computed as PyTorch's."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn

# printed form: (how it is made, the input's shape, the output's); the constructors are PyTorch's, too
LAYERS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "Conv1d(2, 3, kernel_size=(3,), stride=(1,), padding=(1,), bias=False)": (
        lambda n: n.Conv1d(2, 3, 3, padding=1, bias=False), (4, 2, 6), (4, 3, 6)),
    "Conv2d(2, 4, kernel_size=(3, 2), stride=(1, 1), padding=same, dilation=(2, 2), groups=2, padding_mode=reflect)": (
        lambda n: n.Conv2d(2, 4, (3, 2), padding="same", groups=2, dilation=2, padding_mode="reflect"),
        (3, 2, 7, 5), (3, 4, 7, 5)),
    "Conv2d(2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 2), padding_mode=circular)": (
        lambda n: n.Conv2d(2, 4, 3, 2, (1, 2), padding_mode="circular"), (2, 7, 5), (4, 4, 4)),
    "Conv3d(2, 3, kernel_size=(2, 2, 2), stride=(1, 1, 1))": (
        lambda n: n.Conv3d(2, 3, 2), (1, 2, 3, 3, 4), (1, 3, 2, 2, 3)),
    "ConvTranspose1d(2, 3, kernel_size=(3,), stride=(2,))": (
        lambda n: n.ConvTranspose1d(2, 3, 3, 2), (1, 2, 3), (1, 3, 7)),
    "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))": (
        lambda n: n.ConvTranspose2d(2, 4, 3, 2, 1, 1), (2, 3, 4), (4, 6, 8)),
    "ConvTranspose3d(2, 4, kernel_size=(2, 2, 2), stride=(1, 1, 1), groups=2)": (
        lambda n: n.ConvTranspose3d(2, 4, 2, groups=2), (1, 2, 2, 2, 2), (1, 4, 3, 3, 3)),
    "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)": (
        lambda n: n.MaxPool1d(2), (2, 5), (2, 2)),
    "MaxPool2d(kernel_size=(2, 3), stride=(2, 3), padding=0, dilation=1, ceil_mode=True)": (
        lambda n: n.MaxPool2d((2, 3), ceil_mode=True), (2, 5, 4), (2, 3, 2)),
    "MaxPool3d(kernel_size=2, stride=1, padding=1, dilation=1, ceil_mode=False)": (
        lambda n: n.MaxPool3d(2, 1, 1), (2, 2, 2, 3), (2, 3, 3, 4)),
    "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))": (lambda n: n.AvgPool1d(2), (2, 5), (2, 2)),
    "AvgPool2d(kernel_size=2, stride=1, padding=1)": (
        lambda n: n.AvgPool2d(2, 1, 1, divisor_override=3), (2, 3, 4), (2, 4, 5)),
    "AvgPool3d(kernel_size=(1, 2, 3), stride=(1, 2, 3), padding=0)": (
        lambda n: n.AvgPool3d((1, 2, 3)), (2, 3, 4, 6), (2, 3, 2, 2)),
    "AdaptiveAvgPool1d(output_size=2)": (lambda n: n.AdaptiveAvgPool1d(2), (2, 5), (2, 2)),
    "AdaptiveAvgPool2d(output_size=(None, 3))": (
        lambda n: n.AdaptiveAvgPool2d((None, 3)), (1, 2, 4, 5), (1, 2, 4, 3)),
    "AdaptiveAvgPool3d(output_size=1)": (lambda n: n.AdaptiveAvgPool3d(1), (2, 2, 3, 4), (2, 1, 1, 1)),
    "AdaptiveMaxPool1d(output_size=2)": (lambda n: n.AdaptiveMaxPool1d(2), (2, 5), (2, 2)),
    "AdaptiveMaxPool2d(output_size=3)": (lambda n: n.AdaptiveMaxPool2d(3), (2, 4, 7), (2, 3, 3)),
    "AdaptiveMaxPool3d(output_size=1)": (lambda n: n.AdaptiveMaxPool3d(1), (2, 2, 3, 4), (2, 1, 1, 1)),
    "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)": (lambda n: n.LayerNorm(3), (2, 3), (2, 3)),
    "LayerNorm((2, 3), eps=0.1, elementwise_affine=True, bias=False)": (
        lambda n: n.LayerNorm((2, 3), 0.1, bias=False), (4, 2, 3), (4, 2, 3)),
    "LayerNorm((3,), eps=1e-05, elementwise_affine=False, bias=False)": (
        lambda n: n.LayerNorm(3, elementwise_affine=False), (2, 3), (2, 3)),
    "RMSNorm((3,), eps=None, elementwise_affine=True)": (lambda n: n.RMSNorm(3), (2, 3), (2, 3)),
    "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)": (lambda n: n.GroupNorm(2, 4), (2, 4, 3), (2, 4, 3)),
    "GroupNorm(2, 4, eps=1e-05, affine=False, bias=False)": (
        lambda n: n.GroupNorm(2, 4, affine=False), (2, 4, 3), (2, 4, 3)),
    "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)": (
        lambda n: n.InstanceNorm1d(3, affine=True, track_running_stats=True), (2, 3, 4), (2, 3, 4)),
    "InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)": (
        lambda n: n.InstanceNorm2d(3), (3, 4, 2), (3, 4, 2)),
    "InstanceNorm3d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)": (
        lambda n: n.InstanceNorm3d(3), (1, 3, 4, 2, 2), (1, 3, 4, 2, 2)),
    "Unfold(kernel_size=2, dilation=1, padding=0, stride=1)": (lambda n: n.Unfold(2), (2, 3, 4), (8, 6)),
    "Fold(output_size=(4, 4), kernel_size=2, dilation=1, padding=0, stride=2)": (
        lambda n: n.Fold((4, 4), 2, stride=2), (1, 8, 4), (1, 2, 4, 4)),
    "PixelShuffle(upscale_factor=2)": (lambda n: n.PixelShuffle(2), (4, 2, 3), (1, 4, 6)),
    "PixelUnshuffle(downscale_factor=2)": (lambda n: n.PixelUnshuffle(2), (1, 4, 6), (4, 2, 3)),
    "Upsample(scale_factor=2.0, mode='nearest')": (lambda n: n.Upsample(scale_factor=2), (1, 1, 3), (1, 1, 6)),
    "Upsample(size=3, mode='bilinear')": (
        lambda n: n.Upsample(3, mode="bilinear", align_corners=True), (1, 1, 4, 2), (1, 1, 3, 3)),
    "UpsamplingNearest2d(size=2, mode='nearest')": (lambda n: n.UpsamplingNearest2d(2), (1, 1, 4, 3), (1, 1, 2, 2)),
    "UpsamplingBilinear2d(scale_factor=2.0, mode='bilinear')": (
        lambda n: n.UpsamplingBilinear2d(scale_factor=2), (1, 1, 2, 3), (1, 1, 4, 6)),
    "GLU(dim=-1)": (lambda n: n.GLU(), (3, 4), (3, 2)),
    "ConstantPad1d(padding=(1, 1), value=2.0)": (lambda n: n.ConstantPad1d(1, 2.0), (2, 3), (2, 5)),
    "ConstantPad2d(padding=(1, 2, 3, 4), value=2.0)": (
        lambda n: n.ConstantPad2d((1, 2, 3, 4), 2.0), (2, 3), (9, 6)),
    "ConstantPad3d(padding=(1, 1, 1, 1, 1, 1), value=2.0)": (
        lambda n: n.ConstantPad3d(1, 2.0), (2, 2, 3), (4, 4, 5)),
    "ZeroPad1d((1, 1))": (lambda n: n.ZeroPad1d(1), (2, 3), (2, 5)),
    "ZeroPad2d((1, 1, 1, 1))": (lambda n: n.ZeroPad2d(1), (2, 3), (4, 5)),
    "ZeroPad3d((1, 0, 0, 0, 0, 2))": (lambda n: n.ZeroPad3d((1, 0, 0, 0, 0, 2)), (2, 2, 3), (4, 2, 4)),
    "ReflectionPad1d((1, 1))": (lambda n: n.ReflectionPad1d(1), (2, 3), (2, 5)),
    "ReflectionPad2d((1, 1, 1, 1))": (lambda n: n.ReflectionPad2d(1), (1, 2, 3), (1, 4, 5)),
    "ReflectionPad3d((1, 1, 1, 1, 1, 1))": (lambda n: n.ReflectionPad3d(1), (1, 2, 2, 3), (1, 4, 4, 5)),
    "ReplicationPad1d((2, 0))": (lambda n: n.ReplicationPad1d((2, 0)), (2, 3), (2, 5)),
    "ReplicationPad2d((1, 1, 1, 1))": (lambda n: n.ReplicationPad2d(1), (1, 2, 3), (1, 4, 5)),
    "ReplicationPad3d((1, 1, 1, 1, 1, 1))": (lambda n: n.ReplicationPad3d(1), (1, 2, 2, 3), (1, 4, 4, 5)),
    "CircularPad1d((1, 1))": (lambda n: n.CircularPad1d(1), (2, 3), (2, 5)),
    "CircularPad2d((1, 2, 2, 1))": (lambda n: n.CircularPad2d((1, 2, 2, 1)), (1, 2, 3), (1, 5, 6)),
    "CircularPad3d((1, 1, 1, 1, 1, 1))": (lambda n: n.CircularPad3d(1), (1, 2, 2, 3), (1, 4, 4, 5)),
    "Dropout1d(p=0.5, inplace=False)": (lambda n: n.Dropout1d().eval(), (2, 3), (2, 3)),
    "Dropout2d(p=0.2, inplace=False)": (lambda n: n.Dropout2d(0.2).eval(), (1, 2, 3, 2), (1, 2, 3, 2)),
    "Dropout3d(p=0.5, inplace=True)": (lambda n: n.Dropout3d(inplace=True).eval(), (2, 3, 2, 2), (2, 3, 2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("text", LAYERS)
def test_printed_form_shape_and_copies(text: str) -> None:
    make, given, expected = LAYERS[text]
    layer = make(nn)
    assert repr(layer) == text
    x = distgrad.randn(*given)
    out = layer(x)
    assert tuple(out.shape) == expected
    again = copy.deepcopy(layer)
    np.testing.assert_array_equal(again.eval()(x).detach().numpy(), layer.eval()(x).detach().numpy())


@pytest.mark.torch
@pytest.mark.parametrize("text", LAYERS)
def test_printed_form_state_and_numbers_are_pytorchs(text: str) -> None:
    torch = pytest.importorskip("torch")
    make, given, _ = LAYERS[text]
    x = np.random.default_rng(0).standard_normal(given)
    theirs, ours = make(torch.nn).double(), make(nn).double()
    assert repr(theirs) == text
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: distgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    found = []
    for layer, lib in ((ours, distgrad), (theirs, torch)):
        t = lib.tensor(x, requires_grad="inplace=True" not in text)
        out = layer(t)
        grads = []
        if out.requires_grad:
            (out * lib.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))).sum().backward()
            grads = [t.grad, *[p.grad for p in layer.parameters()]]
        found.append([v.detach().numpy() for v in (out, *grads, *[b.detach() for b in layer.buffers()])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("made", "fan_in"), [
    (lambda n: n.Conv2d(8, 30, 3), 72), (lambda n: n.Conv1d(8, 60, 5, groups=2), 20),
    (lambda n: n.ConvTranspose2d(12, 20, 3), 180),
])  # fmt: skip
def test_convolutions_start_uniform(made: Any, fan_in: int) -> None:
    distgrad.manual_seed(0)
    layer, bound = made(nn), 1 / math.sqrt(fan_in)
    for parameter in (layer.weight, layer.bias):
        values = parameter.detach().numpy()
        assert abs(values).max() <= bound
        assert abs(values).max() > 0.85 * bound
    assert layer.weight.detach().numpy().std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_an_output_size_can_be_asked_for() -> None:
    layer = nn.ConvTranspose2d(1, 1, 3, stride=2)
    assert tuple(layer(distgrad.ones(1, 1, 3, 3), output_size=(7, 8)).shape) == (1, 1, 7, 8)
    with pytest.raises(ValueError, match=r"requested an output size of \[9, 8\], but valid sizes range from \[7, 7\]"):
        layer(distgrad.ones(1, 1, 3, 3), output_size=(9, 8))


def test_whole_channels_are_dropped() -> None:
    distgrad.manual_seed(0)
    for layer, shape, n in (
        (nn.Dropout1d(0.5), (40, 3, 4), 2), (nn.Dropout2d(0.5), (40, 3, 2, 2), 2), (nn.Dropout3d(0.5), (3, 2, 2, 2), 1)
    ):  # fmt: skip
        kept = layer(distgrad.ones(*shape)).flatten(n)
        assert bool(((kept == kept[..., :1]) & ((kept == 0) | (kept == 2))).all())
    many = nn.Dropout1d(0.25)(distgrad.ones(200, 50, 1))
    assert float((many == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    with pytest.raises(RuntimeError, match="dropout1d: Expected 2D or 3D input, but received a 4D input"):
        nn.Dropout1d()(distgrad.ones(1, 1, 1, 1))


@pytest.mark.parametrize(("make", "text"), [
    (lambda n: n.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
    (lambda n: n.Conv2d(2, 3, 3, groups=2), "out_channels must be divisible by groups"),
    (lambda n: n.Conv2d(2, 2, 3, groups=0), "groups must be a positive integer"),
    (lambda n: n.Conv2d(2, 2, 3, padding="x"), "Invalid padding string 'x', should be one of"),
    (lambda n: n.Conv2d(2, 2, 3, 2, padding="same"), "padding='same' is not supported for strided convolutions"),
    (lambda n: n.Conv2d(2, 2, 3, padding_mode="x"), "padding_mode must be one of"),
    (lambda n: n.ConvTranspose2d(2, 2, 3, padding_mode="reflect"), 'Only "zeros" padding mode is supported for'),
    (lambda n: n.GroupNorm(3, 4), "num_channels (4) must be divisible by num_groups (3)"),
])  # fmt: skip
def test_what_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ValueError) as raised:
        make(nn)
    assert str(raised.value).startswith(text)
    try:
        import torch
    except ImportError:
        return
    with pytest.raises(ValueError) as theirs:
        make(torch.nn)
    assert str(theirs.value).startswith(text)
