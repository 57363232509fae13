"""Pooling by powers, by windows drawn at random, and what undoes max pooling, as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...autograd import Tensor
from ...ops.nn._spatial import each
from .. import functional as F
from ..base.module import Module

__all__ = [
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxUnpool1d", "MaxUnpool2d",
    "MaxUnpool3d",
]  # fmt: skip

Sizes = int | Sequence[int]


class _LPPool(Module):
    """The ``norm_type``-th root of the sum of that power over each window; see
    :func:`distgrad.nn.functional.lp_pool2d`, which has the same arguments."""

    _n: int

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"lp_pool{self._n}d")
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    __doc__ = f"""{_LPPool.__doc__}

    >>> nn.LPPool1d(2, 2)(torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    _n = 1


class LPPool2d(_LPPool):
    __doc__ = f"""{_LPPool.__doc__}

    >>> nn.LPPool2d(2, 2)(torch.ones(1, 2, 2))
    tensor([[[2.]]])
    """
    _n = 2


class LPPool3d(_LPPool):
    __doc__ = f"""{_LPPool.__doc__}

    >>> nn.LPPool3d(1, 2)(torch.ones(1, 2, 2, 2))
    tensor([[[[8.]]]])
    """
    _n = 3


class _FractionalMaxPool(Module):
    """The largest elements of windows at random distances; see
    :func:`distgrad.nn.functional.fractional_max_pool2d`, which has the same arguments."""

    _n: int

    def __init__(
        self, kernel_size: Sizes, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name, n = type(self).__name__, self._n
        self.kernel_size = each(name, "kernel_size", kernel_size, n)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else each(name, "output_size", output_size, n)
        several = isinstance(output_ratio, (tuple, list))
        self.output_ratio = None if output_ratio is None else tuple(output_ratio) if several else (output_ratio,) * n
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        pool = getattr(F, f"fractional_max_pool{self._n}d")
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = f"""{_FractionalMaxPool.__doc__}

    >>> nn.FractionalMaxPool2d(2, output_size=3)(torch.ones(1, 2, 7, 8)).shape
    torch.Size([1, 2, 3, 3])
    """
    _n = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = f"""{_FractionalMaxPool.__doc__}

    >>> nn.FractionalMaxPool3d(2, output_ratio=0.5)(torch.ones(1, 2, 6, 6, 6)).shape
    torch.Size([1, 2, 3, 3, 3])
    """
    _n = 3


class _MaxUnpool(Module):
    """What max pooling found, where it was, and zeros around; ``unpool(input, indices, output_size=None)``, see
    :func:`distgrad.nn.functional.max_unpool1d`."""

    _n: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        name, n = type(self).__name__, self._n
        self.kernel_size = each(name, "kernel_size", kernel_size, n)
        self.stride = each(name, "stride", kernel_size if stride is None else stride, n)
        self.padding = each(name, "padding", padding, n)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        unpool = getattr(F, f"max_unpool{self._n}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    __doc__ = f"""{_MaxUnpool.__doc__}

    >>> values, at = nn.MaxPool1d(2, return_indices=True)(torch.tensor([[1.0, 3.0, 7.0, 5.0]]))
    >>> nn.MaxUnpool1d(2)(values, at)
    tensor([[0., 3., 7., 0.]])
    """
    _n = 1


class MaxUnpool2d(_MaxUnpool):
    __doc__ = f"""{_MaxUnpool.__doc__}

    >>> nn.MaxUnpool2d(2)(torch.ones(1, 1, 1), torch.tensor([[[3]]]))
    tensor([[[0., 0.],
             [0., 1.]]])
    """
    _n = 2


class MaxUnpool3d(_MaxUnpool):
    __doc__ = f"""{_MaxUnpool.__doc__}

    >>> nn.MaxUnpool3d(2)(torch.ones(1, 1, 1, 1), torch.tensor([[[[7]]]])).shape
    torch.Size([1, 2, 2, 2])
    """
    _n = 3
