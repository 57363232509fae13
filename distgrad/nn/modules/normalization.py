"""Normalization within a sample, as modules; the mathematics is in ``distgrad.ops.nn.layer_normalization``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..._arguments import number, sizes_of
from ...autograd import Tensor
from ...ops import creation
from .. import functional as F, init
from ..base.module import Module
from ..parameter import Parameter
from ._elsewhere import elsewhere
from .batchnorm import _NormBase

__all__ = ["GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "RMSNorm"]


class _Affine(Module):
    """What has a weight that starts as 1 and a bias that starts as 0, or None."""

    weight: Parameter | None
    bias: Parameter | None

    def _register(self, shape: Sequence[int], device: Any, dtype: Any, **there: bool) -> None:
        for name, wanted in there.items():
            made = Parameter(creation.empty(*shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        for name, start in (("weight", init.ones_), ("bias", init.zeros_)):
            parameter = self._parameters.get(name)
            if parameter is not None:
                start(parameter)


def _shape(owner: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    for n in shape:
        sizes_of(owner, normalized_shape=n)
    return shape


class LayerNorm(_Affine):
    """Normalization over the last dimensions; see :func:`distgrad.nn.functional.layer_norm`.

    (Ba et al. 2016, arXiv:1607.06450.)

    Args:
        normalized_shape: the sizes of the last dimensions; a number is the size of the last one.
        eps: added to the variance.
        elementwise_affine: whether there are weight and bias, which start as 1 and 0.
        bias: whether there is one, if ``elementwise_affine``.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Attributes:
        weight, bias: of ``normalized_shape``, or None.

    >>> nn.LayerNorm(2)(torch.tensor([1.0, 3.0]))
    tensor([-1.0000,  1.0000], grad_fn=<NativeLayerNormBackward0>)
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps = number("LayerNorm", "eps", eps)
        self.elementwise_affine = elementwise_affine
        self._register(
            self.normalized_shape, device, dtype, weight=elementwise_affine, bias=elementwise_affine and bias
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """Division by the root of the mean square; see :func:`distgrad.nn.functional.rms_norm`.

    (Zhang and Sennrich 2019, arXiv:1910.07467.)

    Args:
        normalized_shape: the sizes of the last dimensions; a number is the size of the last one.
        eps: added to the mean square; by default the machine epsilon.
        elementwise_affine: whether there is a weight, which starts as 1.
        device, dtype: of the weight; by default the CPU and the default dtype.

    Attributes:
        weight: of ``normalized_shape``, or None.

    >>> nn.RMSNorm(2, elementwise_affine=False)(torch.tensor([1.0, 7.0]))
    tensor([0.2000, 1.4000])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps = None if eps is None else number("RMSNorm", "eps", eps)
        self.elementwise_affine = elementwise_affine
        self._register(self.normalized_shape, device, dtype, weight=elementwise_affine)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalization of groups of channels; see :func:`distgrad.nn.functional.group_norm`.

    (Wu and He 2018, arXiv:1803.08494.)

    Args:
        num_groups, num_channels: how many groups the channels make, and how many channels there are.
        eps: added to the variance.
        affine: whether there are weight and bias, which start as 1 and 0.
        device, dtype: of the parameters; by default the CPU and the default dtype.
        bias: whether there is one, if ``affine``.

    Attributes:
        weight, bias: (num_channels), or None.

    Raises:
        ValueError: channels that are no multiple of the groups.

    >>> nn.GroupNorm(2, 4, affine=False)(torch.ones(3, 4, 5)).shape
    torch.Size([3, 4, 5])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes_of("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_groups <= 0:
            raise ValueError(f"num_groups must be positive, but got {num_groups}")
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps = number("GroupNorm", "eps", eps)
        self.affine = affine
        self._register((num_channels,), device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _InstanceNorm(_NormBase):
    """Each channel of each sample is brought to mean 0 and variance 1, then scaled and shifted; see
    :func:`distgrad.nn.functional.instance_norm` (Ulyanov et al. 2016, arXiv:1607.08022).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of a batch in the running statistics.
        affine: whether there are weight and bias, which start as 1 and 0.
        track_running_stats: whether there are running statistics, by which evaluation normalizes.
        device, dtype: of parameters and statistics; by default the CPU and the default dtype.
        bias: whether there is one, if ``affine``.

    Attributes:
        weight, bias: (C), or None.
        running_mean, running_var, num_batches_tracked: buffers (C), (C) and (), or None.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        lone = input.ndim == self._dimensions[0]
        dim = input.ndim - self._dimensions[0]
        if input.shape[dim] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={dim} to match num_features ({self.num_features}), but got: "
                    f"{input.shape[dim]}."
                )
            warnings.warn(
                f"input's size at dim={dim} does not match num_features. You can silence this warning by not passing "
                "in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        x = input.unsqueeze(0) if lone else input
        by_sample = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        out = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_sample, momentum, self.eps
        )
        return out.squeeze(0) if lone else out


class InstanceNorm1d(_InstanceNorm):
    __doc__ = f"""Instance normalization of (N, C, L) or (C, L).

    {_InstanceNorm.__doc__}
    >>> nn.InstanceNorm1d(3)(torch.ones(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """
    _dimensions = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    __doc__ = f"""Instance normalization of (N, C, H, W) or (C, H, W).

    {_InstanceNorm.__doc__}
    >>> nn.InstanceNorm2d(3)(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """
    _dimensions = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    __doc__ = f"""Instance normalization of (N, C, D, H, W) or (C, D, H, W).

    {_InstanceNorm.__doc__}
    >>> nn.InstanceNorm3d(3)(torch.ones(2, 3, 4, 4, 4)).shape
    torch.Size([2, 3, 4, 4, 4])
    """
    _dimensions = (4, 5)


_ELSEWHERE = ["CrossMapLRN2d", "LocalResponseNorm"]


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
