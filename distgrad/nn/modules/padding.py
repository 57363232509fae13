"""Padding as modules; see :func:`distgrad.nn.functional.pad`."""

from __future__ import annotations

from collections.abc import Sequence

from ...autograd import Tensor
from ...ops.nn._spatial import each
from .. import functional as F
from ..base.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip

Sizes = int | Sequence[int]


class _Pad(Module):
    _n: int
    _mode: str

    def __init__(self, padding: Sizes) -> None:
        super().__init__()
        self.padding = each(type(self).__name__, "padding", padding, 2 * self._n)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Sizes, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Sizes) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class CircularPad1d(_Pad):
    """The elements of the other end before and behind the last dimension.

    Args:
        padding: how many, one number, or 2: before and behind the last dimension.

    >>> nn.CircularPad1d((1, 0))(torch.ones(2, 4)).shape
    torch.Size([2, 5])
    """

    _n = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """The elements of the other end before and behind the last two dimensions.

    Args:
        padding: how many, one number, or 4: before and behind the last dimension, then of the one before it.

    >>> nn.CircularPad2d((1, 0, 0, 0))(torch.ones(2, 4, 4)).shape
    torch.Size([2, 4, 5])
    """

    _n = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """The elements of the other end before and behind the last three dimensions.

    Args:
        padding: how many, one number, or 6: before and behind the last dimension, then of the one before it, ….

    >>> nn.CircularPad3d((1, 0, 0, 0, 0, 0))(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 5])
    """

    _n = 3
    _mode = "circular"


class ConstantPad1d(_ConstantPad):
    """A number before and behind the last dimension.

    Args:
        padding: how many, one number, or 2: before and behind the last dimension.
        value: the number.

    >>> nn.ConstantPad1d((1, 0), 2.0)(torch.ones(2, 4)).shape
    torch.Size([2, 5])
    """

    _n = 1


class ConstantPad2d(_ConstantPad):
    """A number before and behind the last two dimensions.

    Args:
        padding: how many, one number, or 4: before and behind the last dimension, then of the one before it.
        value: the number.

    >>> nn.ConstantPad2d((1, 0, 0, 0), 2.0)(torch.ones(2, 4, 4)).shape
    torch.Size([2, 4, 5])
    """

    _n = 2


class ConstantPad3d(_ConstantPad):
    """A number before and behind the last three dimensions.

    Args:
        padding: how many, one number, or 6: before and behind the last dimension, then of the one before it, ….
        value: the number.

    >>> nn.ConstantPad3d((1, 0, 0, 0, 0, 0), 2.0)(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 5])
    """

    _n = 3


class ReflectionPad1d(_Pad):
    """The elements mirrored at the first and last one before and behind the last dimension.

    Args:
        padding: how many, one number, or 2: before and behind the last dimension.

    >>> nn.ReflectionPad1d((1, 0))(torch.ones(2, 4)).shape
    torch.Size([2, 5])
    """

    _n = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """The elements mirrored at the first and last one before and behind the last two dimensions.

    Args:
        padding: how many, one number, or 4: before and behind the last dimension, then of the one before it.

    >>> nn.ReflectionPad2d((1, 0, 0, 0))(torch.ones(2, 4, 4)).shape
    torch.Size([2, 4, 5])
    """

    _n = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """The elements mirrored at the first and last one before and behind the last three dimensions.

    Args:
        padding: how many, one number, or 6: before and behind the last dimension, then of the one before it, ….

    >>> nn.ReflectionPad3d((1, 0, 0, 0, 0, 0))(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 5])
    """

    _n = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """The first and last element before and behind the last dimension.

    Args:
        padding: how many, one number, or 2: before and behind the last dimension.

    >>> nn.ReplicationPad1d((1, 0))(torch.ones(2, 4)).shape
    torch.Size([2, 5])
    """

    _n = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """The first and last element before and behind the last two dimensions.

    Args:
        padding: how many, one number, or 4: before and behind the last dimension, then of the one before it.

    >>> nn.ReplicationPad2d((1, 0, 0, 0))(torch.ones(2, 4, 4)).shape
    torch.Size([2, 4, 5])
    """

    _n = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """The first and last element before and behind the last three dimensions.

    Args:
        padding: how many, one number, or 6: before and behind the last dimension, then of the one before it, ….

    >>> nn.ReplicationPad3d((1, 0, 0, 0, 0, 0))(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 5])
    """

    _n = 3
    _mode = "replicate"


class ZeroPad1d(_ZeroPad):
    """Zeros before and behind the last dimension.

    Args:
        padding: how many, one number, or 2: before and behind the last dimension.

    >>> nn.ZeroPad1d((1, 0))(torch.ones(2, 4)).shape
    torch.Size([2, 5])
    """

    _n = 1


class ZeroPad2d(_ZeroPad):
    """Zeros before and behind the last two dimensions.

    Args:
        padding: how many, one number, or 4: before and behind the last dimension, then of the one before it.

    >>> nn.ZeroPad2d((1, 0, 0, 0))(torch.ones(2, 4, 4)).shape
    torch.Size([2, 4, 5])
    """

    _n = 2


class ZeroPad3d(_ZeroPad):
    """Zeros before and behind the last three dimensions.

    Args:
        padding: how many, one number, or 6: before and behind the last dimension, then of the one before it, ….

    >>> nn.ZeroPad3d((1, 0, 0, 0, 0, 0))(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 5])
    """

    _n = 3
