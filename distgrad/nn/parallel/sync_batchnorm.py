"""Batch normalization over the batches of all ranks."""

from __future__ import annotations

from typing import Any

from distgrad.autograd import Function, Tensor, no_grad
from distgrad.distributed.collectives.in_place import all_reduce
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_world_size, is_initialized
from distgrad.nn.base.module import Module
from distgrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, _BatchNorm
from distgrad.ops.creation import tensor
from distgrad.ops.elementwise import rsqrt

__all__ = ["SyncBatchNorm"]


class _Summed(Function):
    """The sum over the ranks of a tensor.  The gradient of every rank's part is the sum of the gradients that all ranks
    have of the sum, for they all used it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = part.detach().clone()
        all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return _Summed.apply(g.contiguous(), ctx.group), None


class SyncBatchNorm(_BatchNorm):
    """Batch normalization whose mean and variance, in training, are those of the batches of all ranks together (Ioffe
    and Szegedy 2015, arXiv:1502.03167); see :class:`distgrad.nn.BatchNorm1d`.

    Every rank must call it, and go backward through it, as often as the others.  Batches may be of different sizes, and
    empty.  Mean and variance take one sum over the ranks each, as do their gradients, so that what is far from 0 loses
    nothing.  Gradients of every order are those of one batch norm on the joined batch; those of weight and bias are
    this rank's share, which :class:`~distgrad.nn.parallel.DistributedDataParallel` averages.  In evaluation, on one
    rank and without a process group it is a plain batch norm.

    Args:
        num_features: C of inputs (N, C, *).
        eps: added to the variance.
        momentum: the share of a batch in the running statistics; None: they are the means of all batches.
        affine: whether there are weight and bias, which start as 1 and 0.
        track_running_stats: whether there are running statistics.
        process_group: the ranks that take part; by default all.
        device, dtype: of parameters and statistics; by default the CPU and the default dtype.
        bias: whether there is one, if ``affine``.

    Raises:
        ValueError: an input of fewer than two dimensions.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     x = torch.tensor([[0.0], [4.0]]) if dist.get_rank() else torch.tensor([[2.0]])
    ...     out = nn.SyncBatchNorm(1)(x).detach()
    ...     dist.destroy_process_group()
    ...     return [round(value, 3) for value in out.flatten().tolist()]
    ...
    >>> threads.run(2, main)
    [[0.0], [-1.225, 1.225]]
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: ProcessGroup | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        if not (by_batch and self.training and is_initialized() and get_world_size(self.process_group) > 1):
            return super().forward(input)
        kind = input.dtype
        x = input.float() if kind.itemsize == 2 else input
        over = [d for d in range(x.ndim) if d != 1]
        shape = (1, x.shape[1], *[1] * (x.ndim - 2))
        n = tensor(float(x.numel() // max(x.shape[1], 1)), dtype=x.dtype, device=x.device)
        all_reduce(n, group=self.process_group)
        mean = self._total(x.sum(over)) / n
        centred = x - mean.reshape(shape)
        var = self._total((centred * centred).sum(over)) / n
        self._notice(mean.detach(), var.detach(), float(n))
        out = centred * rsqrt(var + self.eps).reshape(shape)
        if self.weight is not None:
            out = out * self.weight.to(out.dtype).reshape(shape)
        if self.bias is not None:
            out = out + self.bias.to(out.dtype).reshape(shape)
        return out.to(kind)

    def _total(self, part: Tensor) -> Tensor:
        return _Summed.apply(part, self.process_group)

    def _notice(self, mean: Tensor, var: Tensor, n: float) -> None:
        """Take a batch of all ranks into the running statistics."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        with no_grad():
            share = self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
                share = 1.0 / float(self.num_batches_tracked) if share is None else share
            unbiased = var * (n / (n - 1)) if n > 1 else var
            for kept, now in ((self.running_mean, mean), (self.running_var, unbiased)):
                kept.mul_(1 - (share or 0.0)).add_(now.to(kept.dtype), alpha=share or 0.0)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: ProcessGroup | None = None) -> Module:
        """``module`` with every batch normalization in it replaced by one over the ranks, which has its parameters and
        statistics; if it is one itself, the new one.

        >>> nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(2)))
        Sequential(
          (0): SyncBatchNorm(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        )
        """
        made: Any = module
        if isinstance(module, (BatchNorm1d, BatchNorm2d, BatchNorm3d)):
            made = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                process_group, bias=module.bias is not None,
            )  # fmt: skip
            made.weight, made.bias = module.weight, module.bias
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                made._buffers[name] = getattr(module, name)
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
