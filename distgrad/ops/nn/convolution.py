"""Convolutions and transposed convolutions over one, two and three dimensions.

Each of the three arrays of a convolution is linear in the other two, and each one's gradient is another of the three
operations: so they are differentiated as often as wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arguments import checked
from ...autograd import Tensor, primitive
from ...kernels import convolution as kernels
from .._declare import noun, raw, wide
from .._layout import as_rows, lies_last
from ._columns import Geometry, columns_of, correlate, correlate_weight, fitted, of_columns, spread
from ._spatial import batched, each, listed, plain_name

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "fold", "unfold",
]  # fmt: skip

Sizes = int | Sequence[int]


def _conjugate(x: Any) -> Any:
    return x.conj() if raw(x).dtype.kind == "c" else x


def _over_channels(g: Any) -> Any:
    """The sum over everything but the channels, of a tensor or an array; of half precision in float32."""
    over = (0, *range(2, g.ndim))
    if lies_last(g) and g.dtype.char in "fd":
        rows = as_rows(g)
        return np.ones(len(rows), g.dtype) @ rows
    return wide(g).sum(over).astype(g.dtype) if g.__class__ is not Tensor else g.sum(over)


@primitive(grad_name="ConvolutionBackward0")
def _convolution(xp, x, weight, bias, geo):
    found = kernels.output(x, weight, bias, geo)
    if found is not None:
        return found
    ans = correlate(xp, wide(x), wide(weight), None if bias is None else wide(bias), geo)
    return ans.astype(x.dtype, copy=False)


@primitive(grad_name="ConvolutionBackward0")
def _transposed_convolution(xp, x, weight, bias, geo):
    found = kernels.input_gradient(x, weight, geo)
    if found is not None:
        return found if bias is None else np.add(found, bias.reshape(-1, *(1,) * len(geo.sizes)), out=found)
    ans = spread(xp, wide(x), wide(weight), None if bias is None else wide(bias), geo)
    return ans.astype(x.dtype, copy=False)


@primitive(grad_name="ConvolutionBackwardBackward0")
def _convolution_weight(xp, g, x, geo):
    found = kernels.weight_gradient(g, x, geo)
    if found is not None:
        return found
    return correlate_weight(xp, wide(g), wide(x), geo).astype(g.dtype, copy=False)


_convolution.defvjp(
    lambda g, ans, x, weight, bias, geo: _transposed_convolution(g, _conjugate(weight), None, geo),
    lambda g, ans, x, weight, bias, geo: _convolution_weight(g, _conjugate(x), geo),
    lambda g, ans, x, weight, bias, geo: _over_channels(g),
    saves=("weight", "x", ""),
)
_transposed_convolution.defvjp(
    lambda g, ans, x, weight, bias, geo: _convolution(g, _conjugate(weight), None, geo),
    lambda g, ans, x, weight, bias, geo: _convolution_weight(_conjugate(x), g, geo),
    lambda g, ans, x, weight, bias, geo: _over_channels(g),
    saves=("weight", "x", ""),
)
_convolution_weight.defvjp(
    lambda g, ans, upper, x, geo: _convolution(_conjugate(x), g, None, geo),
    lambda g, ans, upper, x, geo: _transposed_convolution(_conjugate(upper), g, None, geo),
    saves=("x", "g"),
)


def _numbers(name: str, word: str, value: Any, n: int) -> tuple[int, ...]:
    """``value`` for each dimension, in the words of convolutions."""
    if isinstance(value, (tuple, list)) and len(value) not in (1, n):
        raise RuntimeError(
            f"expected {word} to be a single integer value or a list of {n} values to match the convolution "
            f"dimensions, but got {word}={list(value)}"
        )
    found = each(name, word, value, n)
    if word == "stride" and min(found) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if word == "dilation" and min(found) <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(found)}")
    if word in ("padding", "output_padding") and min(found) < 0:
        raise RuntimeError(f"negative {word} is not supported")
    return found


def _check(name: str, n: int, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, transposed: bool) -> None:
    """The checks of ranks, channels and dtypes that all have in common."""
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: "
            f"{list(x.shape)}"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"Expected a weight of {n + 2} dimensions for {name}, but got weight of size: {list(weight.shape)}"
        )
    shape, kernel = list(x.shape), list(weight.shape)
    given = "Given transposed=1" if transposed else f"Given groups={groups}"
    if kernel[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{kernel} instead"
        )
    if kernel[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{kernel}] instead"
        )
    channels = shape[-n - 1]
    expected = kernel[0] if transposed else kernel[1] * groups
    if channels != expected:
        raise RuntimeError(
            f"{given}, weight of size {kernel}, expected input{shape} to have {expected} channels, but got {channels} "
            "channels instead"
        )
    out = kernel[1] * groups if transposed else kernel[0]
    if bias is not None and (bias.ndim != 1 or bias.numel() != out):
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}weight of size {kernel}, expected bias to be 1-dimensional "
            f"with {out} elements, but got bias of size {list(bias.shape)} instead"
        )
    if x.dtype != weight.dtype:
        raise RuntimeError(f"expected scalar type {noun(x)} but found {noun(weight)}")
    if bias is not None and bias.dtype != x.dtype:
        raise RuntimeError(f"Input type ({plain_name(x)}) and bias type ({plain_name(bias)}) should be the same")
    if x._data.dtype.kind == "b":
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")


def _conv(
    n: int, x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:  # fmt: skip
    name = f"conv{n}d"
    _check(name, n, x, weight, bias, groups, False)
    kernel = tuple(weight.shape[2:])
    stride, dilation = _numbers(name, "stride", stride, n), _numbers(name, "dilation", dilation, n)
    if isinstance(padding, str):
        ends = _named(padding, kernel, stride, dilation)
    else:
        ends = tuple([(p, p) for p in _numbers(name, "padding", padding, n)])
    geo = fitted(tuple(x.shape[-n:]), kernel, stride, ends, dilation, groups)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(e > p for e, p in zip(extent, geo.padded, strict=True)) or min(kernel) == 0:
        raise RuntimeError(
            f"Calculated padded input size per channel: ({listed(geo.padded)}). Kernel size: ({listed(extent)}). "
            "Kernel size can't be greater than actual input size"
        )
    return batched(lambda x: _convolution(x, weight, bias, geo), x, n)


def _named(padding: str, kernel: Any, stride: Any, dilation: Any) -> tuple[tuple[int, int], ...]:
    """``"valid"``, none; ``"same"``, so much that the output is as large as the input, an odd zero at the end."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple([(t // 2, t - t // 2) for t in total])


def _conv_transpose(
    n: int,
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    name = f"conv_transpose{n}d"
    _check(name, n, x, weight, bias, groups, True)
    kernel = tuple(weight.shape[2:])
    given = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    read = {word: _numbers(name, word, value, n) for word, value in given.items()}
    parts = list(zip(tuple(x.shape[-n:]), kernel, *read.values(), strict=True))
    for _, _, s, _, extra, d in parts:
        if extra >= s and extra >= d and x.numel():
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got output_padding: "
                f"{list(read['output_padding'])} stride: {list(read['stride'])} dilation: {list(read['dilation'])}"
            )
    sizes = tuple([(m - 1) * s - 2 * p + d * (k - 1) + extra + 1 for m, k, s, p, extra, d in parts])
    if min(sizes) < (1 if x.numel() else 0):
        raise RuntimeError(
            f"Given input size per channel: ({listed(x.shape[-n:])}). Calculated output size per channel: "
            f"({listed(sizes)}). Output size is too small"
        )
    ends = tuple([(p, p) for p in read["padding"]])
    geo = Geometry(sizes, kernel, read["stride"], ends, read["dilation"], groups, tuple(x.shape[-n:]))
    return batched(lambda x: _transposed_convolution(x, weight, bias, geo), x, n)


@checked
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The cross-correlation of the input with each filter: out[o] = bias[o] + Σ_c weight[o, c] ⋆ input[c].

    Args:
        input: (N, C, L), or (C, L).
        weight: (O, C / groups, K).
        bias: (O).
        stride: from one window to the next.
        padding: how many zeros at either end; ``"valid"``, none; ``"same"``, as many as make the output as long as the
            input, for a stride of 1.
        dilation: from one element of a window to the next.
        groups: channels of input and output are split into so many, each convolved by itself.

    Returns:
        (N, O, (L + 2 padding - dilation (K - 1) - 1) // stride + 1).

    Raises:
        RuntimeError: shapes, sizes or dtypes that do not fit.

    >>> F.conv1d(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[[1.0, -1.0]]]))
    tensor([[-1., -2.]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


@checked
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`conv1d` over two dimensions: of (N, C, H, W) or (C, H, W) with filters (O, C / groups, KH, KW).

    >>> F.conv2d(torch.ones(1, 3, 3), torch.ones(1, 1, 2, 2))
    tensor([[[4., 4.],
             [4., 4.]]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


@checked
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`conv1d` over three dimensions: of (N, C, D, H, W) or (C, D, H, W).

    >>> F.conv3d(torch.ones(1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2))
    tensor([[[[8.]]]])
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


@checked
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The gradient of :func:`conv1d` with respect to its input, as a map: each element of the input adds a filter.

    Args:
        input: (N, C, L), or (C, L).
        weight: (C, O / groups, K).
        bias: (O).
        stride: from where one element adds its filter to where the next does.
        padding: how many elements of the result are cut off at either end.
        output_padding: how many zeros more there are at the end.
        groups: as for :func:`conv1d`.
        dilation: from one element of a filter to the next.

    Returns:
        (N, O, (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1).

    Raises:
        RuntimeError: shapes, sizes or dtypes that do not fit.

    >>> F.conv_transpose1d(torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 10.0]]]))
    tensor([[ 1., 12., 20.]])
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@checked
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """:func:`conv_transpose1d` over two dimensions: of (N, C, H, W) or (C, H, W), filters (C, O / groups, KH, KW).

    >>> F.conv_transpose2d(torch.ones(1, 1, 2), torch.ones(1, 1, 2, 2))
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@checked
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """:func:`conv_transpose1d` over three dimensions: of (N, C, D, H, W) or (C, D, H, W).

    >>> F.conv_transpose3d(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1, 2))
    tensor([[[[1., 1.]]]])
    """
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


@primitive(grad_name="Im2ColBackward0")
def _unfolded(xp, x, geo):
    return columns_of(xp, x, geo)


@primitive(grad_name="Col2ImBackward0")
def _folded(xp, x, geo):
    return of_columns(xp, wide(x), geo).astype(x.dtype, copy=False)


_unfolded.defvjp(lambda g, ans, x, geo: _folded(g, geo), saves="")
_folded.defvjp(lambda g, ans, x, geo: _unfolded(g, geo), saves="")


def _blocks(name: str, sizes: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Geometry:
    """Sliding blocks over two dimensions, checked."""
    read = {
        word: each(name, word, value, 2)
        for word, value in (("kernel", kernel), ("dilation", dilation), ("padding", padding), ("stride", stride))
    }
    for word in ("kernel", "dilation", "stride"):
        if min(read[word]) <= 0:
            label = "kernel size" if word == "kernel" else word
            high, across = read[word]
            raise RuntimeError(
                f"{label} should be greater than zero, but got {word}_height: {high} {word}_width: {across}"
            )
    if min(read["padding"]) < 0:
        raise RuntimeError(f"padding should be non-negative, but got {read['padding']}")
    ends = tuple([(p, p) for p in read["padding"]])
    return fitted(tuple(sizes), read["kernel"], read["stride"], ends, read["dilation"], 1)


@checked
def unfold(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:  # fmt: skip
    """Sliding blocks of (N, C, H, W) or (C, H, W) as columns: (N, C · KH · KW, blocks).

    Args:
        kernel_size: of a block.
        dilation: from one element of a block to the next.
        padding: how many zeros at either end.
        stride: from one block to the next.

    Raises:
        RuntimeError: sizes that do not fit.

    >>> F.unfold(torch.arange(6.0).reshape(1, 2, 3), 2)
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    geo = _blocks("unfold", input.shape[-2:], kernel_size, dilation, padding, stride)
    if min(geo.out) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(geo.sizes)}, kernel_size={geo.kernel}, dilation={geo.dilation}, "
            f"padding={tuple(p for p, _ in geo.padding)}, calculated shape of the array of sliding blocks as "
            f"{geo.out}, but its components must be at least one."
        )
    return batched(lambda x: _unfolded(x, geo), input, 2)


@checked
def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """The sums of overlapping blocks, columns (N, C · KH · KW, blocks) or without N: (N, C, *output_size).

    It is the transposed map of :func:`unfold`, which has the same arguments.

    Raises:
        RuntimeError: sizes that do not fit.

    >>> F.fold(torch.ones(4, 2), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    geo = _blocks("fold", each("fold", "output_size", output_size, 2), kernel_size, dilation, padding, stride)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    taps, blocks = geo.kernel[0] * geo.kernel[1], geo.out[0] * geo.out[1]
    dim = input.ndim - 2
    if input.shape[dim] % taps:
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={input.shape[dim]} and kernel_size={geo.kernel}."
        )
    given = (
        f"Given output_size={geo.sizes}, kernel_size={geo.kernel}, dilation={geo.dilation}, "
        f"padding={tuple(p for p, _ in geo.padding)}, stride={geo.stride}"
    )
    if min(geo.out) < 1:
        raise RuntimeError(
            f"{given}, which is calculated to have sliding blocks {geo.out}, but its components must be at least one"
        )
    if input.shape[-1] != blocks:
        raise RuntimeError(
            f"{given}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{geo.out[0]} * {geo.out[1]} = {blocks}, but got input.size(2)={input.shape[-1]}."
        )
    return batched(lambda x: _folded(x, geo), input, 1)
