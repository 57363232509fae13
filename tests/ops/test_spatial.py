"""Convolution, pooling, padding, resizing and attention at their corners: worked out by hand, and beside PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import tensor
from distgrad.autograd import gradcheck, gradgradcheck
from distgrad.nn import functional as F

inf, nan = math.inf, math.nan


def numbers(*shape: int) -> Any:
    return distgrad.arange(math.prod(shape)).double().reshape(shape)


# (function, result); each worked out by hand
BY_HAND: dict[str, tuple[Any, Any]] = {
    "conv1d": (
        lambda: F.conv1d(tensor([[1.0, 2.0, 4.0]]), tensor([[[1.0, 10.0]]]), tensor([100.0])), [[121.0, 142.0]]
    ),
    "conv1d padded": (
        lambda: F.conv1d(tensor([[1.0, 2.0]]), tensor([[[1.0, 10.0, 100.0]]]), padding=1), [[210.0, 21.0]]
    ),
    "conv1d same, even": (
        lambda: F.conv1d(tensor([[1.0, 2.0]]), tensor([[[1.0, 10.0]]]), padding="same"), [[21.0, 2.0]]
    ),
    "conv1d dilated": (lambda: F.conv1d(tensor([[1.0, 2.0, 4.0]]), tensor([[[1.0, 10.0]]]), dilation=2), [[41.0]]),
    "conv1d strided": (
        lambda: F.conv1d(tensor([[1.0, 2.0, 4.0, 8.0]]), tensor([[[1.0, 10.0]]]), stride=2), [[21.0, 84.0]]
    ),
    "conv1d grouped": (
        lambda: F.conv1d(tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([[[1.0]], [[10.0]]]), groups=2),
        [[1.0, 2.0], [30.0, 40.0]],
    ),
    "conv2d": (lambda: F.conv2d(numbers(1, 2, 3), tensor([[[[1.0], [10.0]]]]).double()), [[[30.0, 41.0, 52.0]]]),
    "conv of whole numbers": (lambda: F.conv1d(tensor([[1, 2, 4]]), tensor([[[1, 10]]])), [[21, 42]]),
    "conv of no samples": (
        lambda: list(F.conv2d(distgrad.ones(0, 2, 4, 4), distgrad.ones(3, 2, 2, 2)).shape), [0, 3, 3, 3]
    ),
    "conv of no channels": (lambda: F.conv1d(distgrad.ones(0, 2), distgrad.ones(1, 0, 2), tensor([5.0])), [[5.0]]),
    "conv_transpose1d": (
        lambda: F.conv_transpose1d(tensor([[1.0, 2.0]]), tensor([[[1.0, 10.0]]]), stride=2, output_padding=1),
        [[1.0, 10.0, 2.0, 20.0, 0.0]],
    ),
    "conv_transpose1d padded": (
        lambda: F.conv_transpose1d(tensor([[1.0, 2.0]]), tensor([[[1.0, 10.0]]]), padding=1), [[12.0]]
    ),
    "max_pool1d, the first of equals": (
        lambda: F.max_pool1d(tensor([[2.0, 2.0, 1.0, 2.0]]), 3, 1, return_indices=True)[1], [[0, 1]]
    ),
    "max_pool2d, the first of equals": (
        lambda: F.max_pool2d(tensor([[[0.0, 1.0], [1.0, 0.0]]]), 2, return_indices=True)[1], [[[1]]]
    ),
    "max_pool1d, the last NaN": (
        lambda: F.max_pool1d(tensor([[nan, 1.0, nan, 2.0, 3.0]]), 3, 2, 1, return_indices=True)[1], [[0, 2, 4]]
    ),
    "max_pool1d of nothing larger": (
        lambda: F.max_pool1d(tensor([[-inf, -inf, -inf]]), 2, 2, 1, return_indices=True)[1], [[0, 1]]
    ),
    "max_pool2d of whole numbers": (lambda: F.max_pool2d(tensor([[[-5, -7]]]), (1, 2), padding=(0, 1)), [[[-5, -7]]]),
    "max_pool1d hanging over": (lambda: F.max_pool1d(tensor([[1.0, 2.0, 3.0]]), 2, ceil_mode=True), [[2.0, 3.0]]),
    "max_pool1d, none starts in the padding": (
        lambda: F.max_pool1d(tensor([[1.0, 2.0, 3.0]]), 2, 2, 1, ceil_mode=True), [[1.0, 3.0]]
    ),
    "avg_pool1d counts padding": (lambda: F.avg_pool1d(tensor([[2.0, 4.0]]), 2, 1, 1), [[1.0, 3.0, 2.0]]),
    "avg_pool1d does not": (
        lambda: F.avg_pool1d(tensor([[2.0, 4.0]]), 2, 1, 1, count_include_pad=False), [[2.0, 3.0, 4.0]]
    ),
    "avg_pool1d hanging over": (lambda: F.avg_pool1d(tensor([[2.0, 4.0, 6.0]]), 2, ceil_mode=True), [[3.0, 6.0]]),
    "avg_pool1d keeps what is infinite apart": (
        lambda: F.avg_pool1d(tensor([[inf, 1.0, 2.0, 4.0]]), 2), [[inf, 3.0]]
    ),
    "avg_pool2d by another": (lambda: F.avg_pool2d(numbers(1, 2, 2), 2, divisor_override=3), [[[2.0]]]),
    "avg_pool2d of whole numbers": (lambda: F.avg_pool2d(tensor([[[-1, -2]]]), (1, 2)), [[[-1]]]),
    "adaptive_avg_pool1d": (lambda: F.adaptive_avg_pool1d(tensor([[1.0, 2.0, 6.0]]), 2), [[1.5, 4.0]]),
    "adaptive_avg_pool1d, more than there are": (
        lambda: F.adaptive_avg_pool1d(tensor([[1.0, 2.0]]), 3), [[1.0, 1.5, 2.0]]
    ),
    "adaptive_avg_pool2d into nothing": (
        lambda: list(F.adaptive_avg_pool2d(distgrad.ones(2, 3, 3), (0, 2)).shape), [2, 0, 2]
    ),
    "adaptive_max_pool1d": (
        lambda: F.adaptive_max_pool1d(tensor([[1.0, 7.0, 6.0]]), 2, return_indices=True)[1], [[1, 1]]
    ),
    "pad": (lambda: F.pad(numbers(1, 2), (1, 0, 0, 1), value=7.0), [[7.0, 0.0, 1.0], [7.0, 7.0, 7.0]]),
    "pad bools": (lambda: F.pad(tensor([True]), (0, 1)), [True, False]),
    "pad takes away": (lambda: F.pad(tensor([1, 2, 3]), (-1, 1)), [2, 3, 0]),
    "pad reflect": (lambda: F.pad(tensor([[1, 2, 3]]), (2, 1), "reflect"), [[3, 2, 1, 2, 3, 2]]),
    "pad replicate": (lambda: F.pad(tensor([[1, 2]]), (2, 1), "replicate"), [[1, 1, 1, 2, 2]]),
    "pad circular": (lambda: F.pad(tensor([[1, 2, 3]]), (1, 2), "circular"), [[3, 1, 2, 3, 1, 2]]),
    "pad circular of what is left": (lambda: F.pad(tensor([[1, 2, 3, 4]]), (-1, 1), "circular"), [[2, 3, 4, 2]]),
    "interpolate": (lambda: F.interpolate(tensor([[[1.0, 2.0, 3.0]]]), 2), [[[1.0, 2.0]]]),
    "interpolate nearest-exact": (
        lambda: F.interpolate(tensor([[[1.0, 2.0, 3.0, 4.0]]]), 2, mode="nearest-exact"), [[[2.0, 4.0]]]
    ),
    "interpolate linear": (
        lambda: F.interpolate(tensor([[[0.0, 4.0]]]), 4, mode="linear"), [[[0.0, 1.0, 3.0, 4.0]]]
    ),
    "interpolate linear, corners stay": (
        lambda: F.interpolate(tensor([[[0.0, 3.0]]]), 4, mode="linear", align_corners=True), [[[0.0, 1.0, 2.0, 3.0]]]
    ),
    "interpolate area": (lambda: F.interpolate(tensor([[[1.0, 3.0, 5.0, 7.0]]]), 2, mode="area"), [[[2.0, 6.0]]]),
    "interpolate antialiased": (
        # triangles of width 4 about 1 and 3: 3/8, 3/8, 1/8 and, of the end, 1/8 over the sum 7/8
        lambda: F.interpolate(tensor([[[[7.0, 0.0, 0.0, 0.0]]]]), (1, 2), mode="bilinear", antialias=True),
        [[[[3.0, 0.0]]]],
    ),
    "unfold": (lambda: F.unfold(numbers(1, 2, 2), (1, 2)), [[0.0, 2.0], [1.0, 3.0]]),
    "fold": (lambda: F.fold(tensor([[1.0, 2.0], [10.0, 20.0]]), (1, 3), (1, 2)), [[[1.0, 12.0, 20.0]]]),
    "pixel_shuffle": (lambda: F.pixel_shuffle(numbers(4, 1, 2), 2), [[[0.0, 2.0, 1.0, 3.0], [4.0, 6.0, 5.0, 7.0]]]),
    "pixel_unshuffle": (lambda: F.pixel_unshuffle(numbers(1, 2, 2), 2), [[[0.0]], [[1.0]], [[2.0]], [[3.0]]]),
    "attention that may see nothing": (
        lambda: F.scaled_dot_product_attention(
            distgrad.ones(2, 1), distgrad.ones(2, 1), tensor([[1.0], [3.0]]), tensor([[False, False], [True, False]])
        ),
        [[0.0], [1.0]],
    ),
    "attention, causal, fewer keys": (
        lambda: F.scaled_dot_product_attention(
            distgrad.zeros(3, 1), distgrad.zeros(2, 1), tensor([[1.0], [3.0]]), is_causal=True
        ),
        [[1.0], [2.0], [2.0]],
    ),
    "attention without keys": (
        lambda: F.scaled_dot_product_attention(distgrad.ones(2, 3), distgrad.ones(0, 3), distgrad.ones(0, 1)),
        [[0.0], [0.0]],
    ),
    "attention that drops everything": (
        lambda: F.scaled_dot_product_attention(*[distgrad.ones(2, 2)] * 3, dropout_p=1.0), [[0.0, 0.0], [0.0, 0.0]]
    ),
    "hardshrink": (lambda: F.hardshrink(tensor([0.5, -0.5, nan, 0.6])), [0.0, 0.0, nan, 0.6]),
    "softshrink": (lambda: F.softshrink(tensor([0.5, -1.0, nan, 1.0])), [0.0, -0.5, nan, 0.5]),
    "multilabel_soft_margin_loss": (
        lambda: F.multilabel_soft_margin_loss(distgrad.zeros(2, 3), distgrad.ones(2, 3), reduction="sum"),
        2 * math.log(2),
    ),
    "layer_norm far from 0": (
        lambda: F.layer_norm(tensor([[1e6 + 1, 1e6 + 3]], dtype=distgrad.float32), (2,), eps=0.0), [[-1.0, 1.0]]
    ),
    "group_norm of no samples": (lambda: list(F.group_norm(distgrad.ones(0, 4, 2), 2).shape), [0, 4, 2]),
    "rms_norm of halves": (
        lambda: F.rms_norm(tensor([3.0, 4.0]).half(), (2,), eps=0.0).float(), [0.8486328125, 1.1318359375]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    call, expected = BY_HAND[name]
    found = call()
    found = found.tolist() if hasattr(found, "tolist") else found
    np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)


def test_running_statistics_take_in_the_means_of_the_samples() -> None:
    mean, var = distgrad.zeros(1), distgrad.ones(1)
    x = tensor([[[1.0, 3.0]], [[5.0, 9.0]]])  # means 2 and 7, variances (by n - 1) 2 and 8
    F.instance_norm(x, mean, var, momentum=0.5)
    assert (mean.tolist(), var.tolist()) == ([2.25], [3.0])


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals() -> None:
    x = tensor([[2.0, 2.0, 1.0, 2.0]], requires_grad=True)
    F.max_pool1d(x, 2, 1).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 1.0, 0.0, 1.0]]
    x.grad = None
    F.max_pool1d(x, 2).sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 0.0, 1.0]]


def test_writing_to_returned_indices_does_not_disturb_the_gradient() -> None:
    x = tensor([[1.0, 2.0]], requires_grad=True)
    out, index = F.max_pool1d(x, 2, return_indices=True)
    index.zero_()
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0]]


def test_writing_to_the_result_does_not_disturb_the_gradient_of_a_maximum() -> None:
    x = tensor([[-3.0, -1.0, 2.0, 1.0]], requires_grad=True)
    F.max_pool1d(x, 2).relu_().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0, 1.0, 0.0]]


def test_attention_drops_weights_and_scales_the_others() -> None:
    distgrad.manual_seed(0)
    q, k, v = (distgrad.randn(3, 40, 4, dtype=distgrad.float64, requires_grad=True) for _ in range(3))
    one = distgrad.ones(3, 40, 1, dtype=distgrad.float64)
    sums = F.scaled_dot_product_attention(q * 0, k, one, dropout_p=0.25)
    np.testing.assert_allclose(sums.mean().item(), 1.0, atol=0.05)

    def dropped(*args: Any) -> Any:
        distgrad.manual_seed(1)
        return F.scaled_dot_product_attention(*args, dropout_p=0.5)

    few = [x.detach()[:1, :5].requires_grad_() for x in (q, k, v)]
    assert gradcheck(dropped, few)
    assert gradgradcheck(dropped, few)


def test_a_pooled_maximum_is_differentiated_twice() -> None:
    x = tensor([[3.0, 1.0, 2.0]], dtype=distgrad.float64, requires_grad=True)
    (g,) = distgrad.autograd.grad((F.max_pool1d(x, 2, 1) ** 3).sum(), x, create_graph=True)
    assert g.tolist() == [[27.0, 0.0, 12.0]]
    (h,) = distgrad.autograd.grad(g.sum(), x)
    assert h.tolist() == [[18.0, 0.0, 12.0]]


R = distgrad.randn
# (function of the module and a maker of tensors, class of the error, how its text begins)
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "channels": (
        lambda t, R: t.conv2d(R(1, 4, 5, 5), R(4, 3, 3, 3)), RuntimeError,
        "Given groups=1, weight of size [4, 3, 3, 3], expected input[1, 4, 5, 5] to have 3 channels, but got 4",
    ),
    "rank": (
        lambda t, R: t.conv2d(R(4, 5), R(4, 4, 3, 3)), RuntimeError,
        "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [4, 5]",
    ),
    "kernel": (
        lambda t, R: t.conv2d(R(1, 4, 2, 2), R(4, 4, 3, 3)), RuntimeError,
        "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't be greater than",
    ),
    "bias": (
        lambda t, R: t.conv1d(R(1, 4, 5), R(4, 4, 3), R(3)), RuntimeError,
        "Given weight of size [4, 4, 3], expected bias to be 1-dimensional with 4 elements, but got bias of size [3]",
    ),
    "dtypes": (
        lambda t, R: t.conv1d(R(1, 4, 5), R(4, 4, 3).double()), RuntimeError,
        "expected scalar type Float but found Double",
    ),
    "stride": (lambda t, R: t.conv1d(R(1, 1, 5), R(1, 1, 3), stride=0), RuntimeError, "non-positive stride is not"),
    "strides": (
        lambda t, R: t.conv1d(R(1, 1, 5), R(1, 1, 3), stride=(1, 2)), RuntimeError,
        "expected stride to be a single integer value or a list of 1 values to match the convolution dimensions",
    ),
    "padding": (lambda t, R: t.conv1d(R(1, 1, 5), R(1, 1, 3), padding=-1), RuntimeError, "negative padding is not"),
    "same": (
        lambda t, R: t.conv1d(R(1, 1, 5), R(1, 1, 3), padding="same", stride=2), RuntimeError,
        "padding='same' is not supported for strided convolutions",
    ),
    "word": (lambda t, R: t.conv1d(R(1, 1, 5), R(1, 1, 3), padding="x"), RuntimeError, "Invalid padding string: 'x'"),
    "groups": (
        lambda t, R: t.conv1d(R(1, 4, 5), R(3, 2, 3), groups=2), RuntimeError,
        "Given groups=2, expected weight to be divisible by 2 at dimension 0",
    ),
    "output padding": (
        lambda t, R: t.conv_transpose1d(R(1, 1, 5), R(1, 1, 3), output_padding=1), RuntimeError,
        "output padding must be smaller than either stride or dilation",
    ),
    "pool": (
        lambda t, R: t.max_pool2d(R(1, 4, 5, 5), 6), RuntimeError,
        "Given input size: (4x5x5). Calculated output size: (4x0x0). Output size is too small",
    ),
    "half a window": (
        lambda t, R: t.max_pool2d(R(1, 4, 5, 5), 2, padding=2), RuntimeError,
        "pad should be at most half of effective kernel size, but got pad=2, kernel_size=2 and dilation=1",
    ),
    "no channels": (
        lambda t, R: t.max_pool1d(R(1, 0, 5), 2), RuntimeError,
        "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:[1, 0, 5]",
    ),
    "divisor": (lambda t, R: t.avg_pool2d(R(1, 4, 4), 2, divisor_override=0), RuntimeError, "divisor must be not zero"),
    "adaptive": (
        lambda t, R: t.adaptive_avg_pool2d(R(1, 2, 0, 5), 2), RuntimeError,
        "adaptive_avg_pool2d(): Expected input to have non-zero size for non-batch dimensions",
    ),
    "blocks": (
        lambda t, R: t.fold(R(1, 5, 4), (3, 3), 2), RuntimeError,
        "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)=5",
    ),
    "pad length": (lambda t, R: t.pad(R(4), (1,)), RuntimeError, "Padding length must be divisible by 2"),
    "pad mode": (lambda t, R: t.pad(R(4, 4), (1, 1), "x"), NotImplementedError, "Unrecognised padding mode x"),
    "reflection": (
        lambda t, R: t.pad(R(1, 4, 5), (5, 1), "reflect"), RuntimeError,
        "Argument #4: Padding size should be less than the corresponding input dimension",
    ),
    "round about": (
        lambda t, R: t.pad(R(4, 4), (6, 6), "circular"), RuntimeError, "Padding value causes wrapping around more than"
    ),
    "ranks of pad": (
        lambda t, R: t.pad(R(4, 4), (1, 1, 1, 1), "reflect"), NotImplementedError,
        "Padding size 4 is not supported for 2D input tensor.",
    ),
    "both sizes": (
        lambda t, R: t.interpolate(R(1, 1, 5), 3, 2), ValueError, "only one of size or scale_factor should be defined"
    ),
    "corners": (
        lambda t, R: t.interpolate(R(1, 1, 5), 3, align_corners=True), ValueError,
        "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear",
    ),
    "mode": (
        lambda t, R: t.interpolate(R(1, 1, 5), 3, mode="bilinear"), NotImplementedError,
        "Got 3D input, but bilinear mode needs 4D input",
    ),
    "shuffle": (
        lambda t, R: t.pixel_shuffle(R(1, 3, 2, 2), 2), RuntimeError,
        "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but",
    ),
    "glu": (lambda t, R: t.glu(R(3)), RuntimeError, "Halving dimension must be even, but dimension 0 is size 3"),
    "softshrink": (lambda t, R: t.softshrink(R(3), -1.0), RuntimeError, "lambda must be in range [0, 3.40282e+38]"),
    "attention of vectors": (
        lambda t, R: t.scaled_dot_product_attention(R(3), R(3), R(3)), RuntimeError,
        "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: 1 key.dim: 1",
    ),
    "mask and causal": (
        lambda t, R: t.scaled_dot_product_attention(R(2, 3), R(2, 3), R(2, 3), R(2, 2) > 0, is_causal=True),
        RuntimeError, "_scaled_dot_product_attention: Explicit attn_mask should not be set when",
    ),
    "normalized shape": (
        lambda t, R: t.layer_norm(R(2, 3), (4,)), RuntimeError,
        "Given normalized_shape=[4], expected input with shape [*, 4], but got input of size[2, 3]",
    ),
    "divisible": (
        lambda t, R: t.group_norm(R(2, 4, 3), 3), RuntimeError,
        "Expected number of channels in input to be divisible by num_groups, but got input of shape [2, 4, 3] and",
    ),
    "one value": (
        lambda t, R: t.instance_norm(R(2, 4, 1)), ValueError,
        "Expected more than 1 spatial element when training, got input size torch.Size([2, 4, 1])",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    call, error, text = REFUSED[name]
    with pytest.raises(error) as raised:
        call(F, distgrad.randn)
    assert str(raised.value).startswith(text)


@pytest.mark.torch
@pytest.mark.parametrize("name", REFUSED)
def test_pytorch_refuses_the_same(name: str) -> None:
    torch = pytest.importorskip("torch")
    call, error, text = REFUSED[name]
    with pytest.raises(error) as raised:
        call(torch.nn.functional, torch.randn)
    assert str(raised.value).startswith(text)
