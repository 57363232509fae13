"""Convolutions as modules; the mathematics is in ``distgrad.ops.nn.convolution``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..._arguments import sizes_of
from ...autograd import Tensor
from ...ops import creation
from ...ops.nn._spatial import each
from .. import functional as F, init
from ..base.module import Module
from ..parameter import Parameter
from ._elsewhere import elsewhere

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Sizes = int | Sequence[int]
_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share.

    Weight and bias start uniform on ±1/sqrt(k), k being the product of all sizes of the weight but the first.
    """

    _n: int
    _transposed = False

    weight: Parameter
    bias: Parameter | None

    def _set_up(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes, padding: Any, dilation: Sizes,
        output_padding: Sizes, groups: int, bias: bool, padding_mode: str, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        name, n = type(self).__name__, self._n
        sizes_of(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        for word, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{word} must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = each(name, "kernel_size", kernel_size, n)
        self.stride = each(name, "stride", stride, n)
        self.dilation = each(name, "dilation", dilation, n)
        self.output_padding = each(name, "output_padding", output_padding, n)
        self.padding = padding if isinstance(padding, str) else each(name, "padding", padding, n)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _MODES:
            raise ValueError(f"padding_mode must be one of {set(_MODES)}, but got padding_mode='{padding_mode}'")
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(creation.empty(*shape, device=device, dtype=dtype))
        made = Parameter(creation.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # the bound is then 1 / sqrt(fan_in)
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        ones, zeros = (1,) * self._n, (0,) * self._n
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != zeros else []
        parts += [f"dilation={self.dilation}"] if self.dilation != ones else []
        parts += [f"output_padding={self.output_padding}"] if self.output_padding != zeros else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


class _Conv(_ConvNd):
    """A convolution; see :func:`distgrad.nn.functional.conv1d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: one number, or one for each dimension; padding also ``"same"`` or
            ``"valid"``.
        groups: channels of input and output are split into so many, each convolved by itself.
        bias: whether there is one.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Attributes:
        weight: (O, C / groups, *kernel_size).  bias: (O), or None.  They start uniform on ±1/sqrt(k), k being the
            number of inputs of an output element.

    Raises:
        ValueError: channels that are no multiple of ``groups``, an unknown padding or mode.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes | str = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._set_up(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device,
            dtype,
        )  # fmt: skip

    def _ends(self) -> list[int]:
        """The padding as :func:`distgrad.nn.functional.pad` takes it."""
        ends: list[int] = []
        for d, k, i in reversed(list(zip(self.dilation, self.kernel_size, range(self._n), strict=True))):
            if isinstance(self.padding, str):
                total = d * (k - 1) if self.padding == "same" else 0
                ends += [total // 2, total - total // 2]
            else:
                ends += [self.padding[i]] * 2
        return ends

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._ends(), self.padding_mode), 0
        convolve = getattr(F, f"conv{self._n}d")
        return convolve(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    __doc__ = f"""Convolution of (N, C, L) or (C, L).

    {_Conv.__doc__}
    >>> nn.Conv1d(2, 3, kernel_size=3, padding=1)(torch.ones(5, 2, 8)).shape
    torch.Size([5, 3, 8])
    """
    _n = 1


class Conv2d(_Conv):
    __doc__ = f"""Convolution of (N, C, H, W) or (C, H, W).

    {_Conv.__doc__}
    >>> nn.Conv2d(2, 3, kernel_size=3, stride=2)(torch.ones(5, 2, 8, 9)).shape
    torch.Size([5, 3, 3, 4])
    """
    _n = 2


class Conv3d(_Conv):
    __doc__ = f"""Convolution of (N, C, D, H, W) or (C, D, H, W).

    {_Conv.__doc__}
    >>> nn.Conv3d(2, 3, kernel_size=2)(torch.ones(5, 2, 3, 4, 5)).shape
    torch.Size([5, 3, 2, 3, 4])
    """
    _n = 3


class _ConvTranspose(_ConvNd):
    """A transposed convolution; see :func:`distgrad.nn.functional.conv_transpose1d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, output_padding, dilation: one number, or one for each dimension.
        groups: channels of input and output are split into so many, each convolved by itself.
        bias: whether there is one.
        padding_mode: ``"zeros"``.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Attributes:
        weight: (C, O / groups, *kernel_size).  bias: (O), or None.  They start uniform on ±1/sqrt(k), k being
            O / groups times the elements of the kernel.

    Raises:
        ValueError: channels that are no multiple of ``groups``, another padding mode.
    """

    _transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self._set_up(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def _for_size(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives a result of ``output_size``; ValueError where there is none."""
        n = self._n
        before = input.ndim - n
        sizes = list(output_size)[before:] if len(output_size) == input.ndim else list(output_size)
        if len(sizes) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.ndim}D input, output_size must have {n} or {before + n} elements (got "
                f"{len(sizes)})"
            )
        given: Any = zip(input.shape[before:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, k, s, p, d in given]
        most = [a + s - 1 for a, s in zip(least, self.stride, strict=True)]
        if any(not a <= size <= b for size, a, b in zip(sizes, least, most, strict=True)):
            raise ValueError(
                f"requested an output size of {sizes}, but valid sizes range from {least} to {most} (for an input of "
                f"{input.shape[2:]})"
            )
        return tuple([size - a for size, a in zip(sizes, least, strict=True)])

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._for_size(input, output_size)
        convolve = getattr(F, f"conv_transpose{self._n}d")
        return convolve(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    __doc__ = f"""Transposed convolution of (N, C, L) or (C, L).

    {_ConvTranspose.__doc__}
    >>> nn.ConvTranspose1d(2, 3, kernel_size=3, stride=2)(torch.ones(5, 2, 4)).shape
    torch.Size([5, 3, 9])
    """
    _n = 1


class ConvTranspose2d(_ConvTranspose):
    __doc__ = f"""Transposed convolution of (N, C, H, W) or (C, H, W).

    {_ConvTranspose.__doc__}
    >>> layer = nn.ConvTranspose2d(2, 3, kernel_size=3, stride=2)
    >>> layer(torch.ones(5, 2, 4, 4), output_size=(10, 9)).shape
    torch.Size([5, 3, 10, 9])
    """
    _n = 2


class ConvTranspose3d(_ConvTranspose):
    __doc__ = f"""Transposed convolution of (N, C, D, H, W) or (C, D, H, W).

    {_ConvTranspose.__doc__}
    >>> nn.ConvTranspose3d(2, 3, kernel_size=2)(torch.ones(5, 2, 3, 4, 5)).shape
    torch.Size([5, 3, 4, 5, 6])
    """
    _n = 3


_ELSEWHERE = [
    "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
