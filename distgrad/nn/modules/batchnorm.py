"""Batch normalization."""

from __future__ import annotations

from typing import Any

from ..._arguments import number, sizes_of, wrong
from ...autograd import Tensor, no_grad
from ...autograd.tensor import TENSORS
from ...ops import creation
from ...ops.nn.normalization import batch_norm
from .. import init
from ..base.module import Module
from ..parameter import Parameter
from ._elsewhere import elsewhere

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class _NormBase(Module):
    """What batch and instance normalization share: parameters, running statistics and their count."""

    _version = 2
    _dimensions: tuple[int, ...]

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes_of(name, num_features=num_features)
        number(name, "eps", eps, 0)
        if momentum is not None:
            number(name, "momentum", momentum)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, there in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(creation.empty(num_features, device=device, dtype=dtype)) if there else None
            self.register_parameter(name, made)
        for name in ("running_mean", "running_var"):
            kept = creation.empty(num_features, device=device, dtype=dtype) if track_running_stats else None
            self.register_buffer(name, kept)
        count = creation.tensor(0, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the variance to 1 and the count to 0, if there are any."""
        if self.track_running_stats:
            with no_grad():
                for name, start in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
                    self._buffers[name].fill_(start)  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and the running statistics anew."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.__class__ not in TENSORS:
            raise wrong("batch_norm", "input", 1, "Tensor", input)
        if input.ndim not in self._dimensions:
            expected = " or ".join(f"{n}D" for n in self._dimensions)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        """A state of before version 2, when batches were not counted, leaves the count as it is, as does one that does
        not say of which version it is."""
        if local_metadata.get("version", 1) < 2 and self.num_batches_tracked is not None:
            count = self.num_batches_tracked
            state_dict.setdefault(prefix + "num_batches_tracked", creation.tensor(0) if count.is_meta else count)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    """What the three share; they differ in the inputs they take.

    Each channel of the input (N, C, *) is brought to mean 0 and variance 1 over everything else, then scaled and
    shifted (Ioffe and Szegedy 2015, arXiv:1502.03167); see :func:`distgrad.nn.functional.batch_norm`.  In training
    mean and variance are the batch's, in evaluation the running ones, or the batch's where there are none.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of a batch in the running statistics; None: they are the means of all batches.
        affine: whether there are weight and bias, which start as 1 and 0.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and statistics; by default the CPU and the default dtype.
        bias: whether there is one, if ``affine``.

    Attributes:
        weight, bias: (C), or None.
        running_mean, running_var, num_batches_tracked: buffers (C), (C) and (), or None.
    """

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        mean, var, count = self.running_mean, self.running_var, self.num_batches_tracked
        share = self.momentum
        if self.training and self.track_running_stats and count is not None:
            with no_grad():
                count += 1
            if share is None:
                share = 1.0 / float(count)
        if self.training and not self.track_running_stats:
            mean = var = None
        by_batch = self.training or (mean is None and var is None)
        return batch_norm(input, mean, var, self.weight, self.bias, by_batch, share or 0.0, self.eps)


class BatchNorm1d(_BatchNorm):
    __doc__ = f"""Batch normalization of inputs (N, C) or (N, C, L).

    {_BatchNorm.__doc__}
    >>> nn.BatchNorm1d(3)(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    _dimensions = (2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = f"""Batch normalization of inputs (N, C, H, W).

    {_BatchNorm.__doc__}
    >>> nn.BatchNorm2d(3)(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """
    _dimensions = (4,)


class BatchNorm3d(_BatchNorm):
    __doc__ = f"""Batch normalization of inputs (N, C, D, H, W).

    {_BatchNorm.__doc__}
    >>> nn.BatchNorm3d(3)(torch.ones(2, 3, 4, 4, 4)).shape
    torch.Size([2, 3, 4, 4, 4])
    """
    _dimensions = (5,)


_ELSEWHERE = ["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "SyncBatchNorm"]


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
