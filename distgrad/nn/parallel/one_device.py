"""PyTorch's DataParallel, where there is one device to run on."""

from __future__ import annotations

from typing import Any

from distgrad.nn.base.module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """A module that passes everything on to ``module``: what PyTorch's does on a CPU and on one GPU.

    Several GPUs of one process are not used; :class:`~distgrad.nn.parallel.DistributedDataParallel` uses them, with a
    rank for each.

    Args:
        module: what is called.
        device_ids: at most one.
        output_device: that one.
        dim: which dimension PyTorch would split inputs along.

    Raises:
        NotImplementedError: more than one device.

    >>> model = nn.DataParallel(nn.Linear(2, 1))
    >>> list(model.state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.device_ids = list(device_ids or ())
        if len(self.device_ids) > 1:
            raise NotImplementedError(
                f"DataParallel runs on one device, not on {self.device_ids}: start a rank for each with mpirun, and "
                "wrap the module in DistributedDataParallel"
            )
        self.output_device = output_device
        self.dim = dim
        self.module = module

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
