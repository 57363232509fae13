"""Spectral normalization by a hook: the older way of :func:`distgrad.nn.utils.parametrizations.spectral_norm`."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor, no_grad
from ...ops.drawing import randn
from ...ops.linalg.products import mv, vdot
from ..base.hooks import forward_pre_hooks
from ..base.module import Module
from ..functional import normalize
from ..modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..parameter import Parameter
from ._matrix_maps import as_matrix

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook that divides a weight by its greatest singular value before each call of its module."""

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight over the estimate u · W v, after more steps of the power method if wanted."""
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(normalize(mv(matrix.T, u), 2.0, 0, self.eps))
                    u.copy_(normalize(mv(matrix, v), 2.0, 0, self.eps))
            u, v = u.clone(), v.clone()  # the next call writes to them
        return weight / vdot(u, mv(matrix, v))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its greatest singular value (Miyato et al. 2018, arXiv:1802.05957): the older way.

    The parameter becomes ``<name>_orig``; the buffers ``<name>_u`` and ``<name>_v`` estimate its singular vectors.

    Args:
        n_power_iterations: steps of the power method in each call in training.
        eps: below which no norm is divided by.
        dim: which dimension is the rows of the matrix; by default 0, of transposed convolutions 1.

    Raises:
        RuntimeError: it is divided already.  ValueError: there is no such parameter, or no step.

    >>> list(nn.utils.spectral_norm(nn.Linear(20, 40)).state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    for hook in forward_pre_hooks(module).values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    made = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    matrix = as_matrix(weight.detach(), dim)
    parts = [normalize(randn(n, dtype=weight.dtype, device=weight.device), 2.0, 0, eps) for n in matrix.shape]
    del module._parameters[name]
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.data)
    for end, part in zip(("_u", "_v"), parts, strict=True):
        module.register_buffer(name + end, part)
    module.register_forward_pre_hook(made)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo :func:`spectral_norm`: the divided weight is a parameter again; ValueError where there is nothing to undo.

    >>> list(nn.utils.remove_spectral_norm(nn.utils.spectral_norm(nn.Linear(20, 40))).state_dict())
    ['bias', 'weight']
    """
    for key, hook in forward_pre_hooks(module).items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            weight = hook.compute_weight(module, False).detach()
            for end in ("", "_u", "_v", "_orig"):
                delattr(module, name + end)
            module.register_parameter(name, Parameter(weight))
            del module._hooks.forward_pre[key]  # type: ignore[union-attr]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
