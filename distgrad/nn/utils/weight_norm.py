"""Weight normalization by a hook: the older way of :func:`distgrad.nn.utils.parametrizations.weight_norm`."""

from __future__ import annotations

import warnings
from typing import Any

from ..base.hooks import forward_pre_hooks
from ..base.module import Module
from ..parameter import Parameter
from ._matrix_maps import norm_except

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


class WeightNorm:
    """The hook that computes a weight before each call of its module."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Any:
        """v g / ‖v‖."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except(v, self.dim))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split a weight in its norm ``<name>_g`` and its direction ``<name>_v`` (Salimans and Kingma 2016,
    arXiv:1602.07868); deprecated for :func:`distgrad.nn.utils.parametrizations.weight_norm`.

    RuntimeError where it is split already.

    >>> list(nn.utils.weight_norm(nn.Linear(20, 40)).state_dict())
    ['bias', 'weight_g', 'weight_v']
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    for hook in forward_pre_hooks(module).values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    made = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(name + "_g", Parameter(norm_except(weight, made.dim).detach()))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, made.compute_weight(module))
    module.register_forward_pre_hook(made)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo :func:`weight_norm`: the weight is a parameter again; ValueError where there is nothing to undo.

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> list(nn.utils.remove_weight_norm(nn.utils.weight_norm(nn.Linear(20, 40))).state_dict())
    ['bias', 'weight']
    """
    for key, hook in forward_pre_hooks(module).items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module).detach()
            delattr(module, name)
            del module._parameters[name + "_g"], module._parameters[name + "_v"]
            setattr(module, name, Parameter(weight))
            del module._hooks.forward_pre[key]  # type: ignore[union-attr]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
