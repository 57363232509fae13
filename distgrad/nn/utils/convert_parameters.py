"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ... import backend
from ...autograd import Tensor
from ...ops.joining import cat

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _one_device(param: Tensor, first: backend.device | None) -> backend.device:
    if first is not None and param.device != first:
        raise TypeError(
            f"Found two parameters on different devices, {first} and {param.device}; this is not supported."
        )
    return param.device


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other, in one dimension; gradients flow back.

    TypeError where they lie on several devices.

    >>> nn.utils.parameters_to_vector([torch.ones(2, 2), torch.zeros(1)])
    tensor([1., 1., 1., 1., 0.])
    """
    parts, where = [], None
    for p in parameters:
        where = _one_device(p, where)
        parts.append(p.reshape(-1))
    return cat(parts)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make each parameter's data a slice of ``vec``, in order: they share its memory, as in PyTorch.

    TypeError where ``vec`` is no tensor or the parameters lie on several devices.

    >>> layer = nn.Linear(2, 1)
    >>> nn.utils.vector_to_parameters(torch.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer(torch.ones(2))
    tensor([6.], grad_fn=<ViewBackward0>)
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    at, where = 0, None
    for p in parameters:
        where = _one_device(p, where)
        n = p.numel()
        p.data = vec[at : at + n].reshape(p.shape).data
        at += n
