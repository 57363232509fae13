"""Forward mode: tensors with tangents, from which those of what is computed of them follow.

A tensor with a tangent is recorded; the tangent of a result is found when it is asked for, by two backward passes: a
gradient is linear in the weight of the result, and its derivative with respect to that is the product with tangents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..ops.creation import zeros_like
from .backward import grad
from .grad_mode import enable_grad
from .primitive import alias
from .tensor import TENSORS, Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class _Level:
    """The tensors of a level that were given tangents, and these."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.tangents: list[Tensor] = []


_levels: list[_Level] = []


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, None where it has none; what :func:`unpack_dual` returns.

    >>> with torch.autograd.forward_ad.dual_level():
    ...     torch.autograd.forward_ad.unpack_dual(torch.ones(1)).tangent is None
    True
    """

    primal: Any
    tangent: Any


def enter_dual_level() -> int:
    """Begin a level; its number.

    >>> level = torch.autograd.forward_ad.enter_dual_level()
    >>> torch.autograd.forward_ad.exit_dual_level(level=level)
    """
    if _levels:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _levels.append(_Level())
    return len(_levels) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """End a level, the last one begun: tangents are forgotten.

    >>> torch.autograd.forward_ad.exit_dual_level()
    Traceback (most recent call last):
    RuntimeError: Trying to exit a forward AD level that does not exist
    """
    if not _levels or level not in (None, len(_levels) - 1):
        raise RuntimeError("Trying to exit a forward AD level that does not exist")
    _levels.pop()


class dual_level:  # noqa: N801 - PyTorch's name
    """Inside, tensors may have tangents.

    >>> import distgrad.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0]))
    ...     fwAD.unpack_dual(x**3).tangent
    tensor([3., 0.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def _current() -> _Level:
    if not _levels:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    return _levels[-1]


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """``tensor`` with a tangent of its shape and dtype; it requires grad here, to be recorded.

    Raises:
        ValueError: ``tensor`` is not of a floating-point or complex type.
        RuntimeError: outside of a level, or ``tangent`` has another shape.

    >>> with torch.autograd.forward_ad.dual_level():
    ...     x = torch.autograd.forward_ad.make_dual(torch.ones(2), torch.ones(2))
    ...     x.shape
    torch.Size([2])
    """
    here = _current()
    for name, t in (("tensor", tensor), ("tangent", tangent)):
        if t.__class__ not in TENSORS:
            raise TypeError(f"make_dual(): argument '{name}' must be Tensor, not {type(t).__name__}")
    for name, t in (("primal", tensor), ("tangent", tangent)):
        if t.dtype.category < 2:
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {t.dtype}")
    if tangent.shape != tensor.shape:
        raise RuntimeError(
            f"Expected tangent to have the shape of its primal, {tuple(tensor.shape)}, but got {tuple(tangent.shape)}"
        )
    with enable_grad():
        dual = alias(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
    here.tensors.append(dual)
    here.tangents.append(tangent)
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """``tensor`` without its tangent, and the tangent.

    >>> with torch.autograd.forward_ad.dual_level():
    ...     x = torch.autograd.forward_ad.make_dual(torch.tensor(0.0), torch.tensor(2.0))
    ...     torch.autograd.forward_ad.unpack_dual(x.sin())
    UnpackedDualTensor(primal=tensor(0.), tangent=tensor(2.))
    """
    if not _levels:
        return UnpackedDualTensor(tensor, None)
    here = _levels[-1]
    if not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    with enable_grad():
        weight = zeros_like(tensor).detach().requires_grad_()
        first = grad(tensor, here.tensors, weight, create_graph=True, allow_unused=True) if here.tensors else ()
        pairs = [(g, t) for g, t in zip(first, here.tangents, strict=True) if g is not None]
        if not pairs:
            return UnpackedDualTensor(tensor, None)
        recorded = any(t.requires_grad for t in here.tangents)
        (tangent,) = grad([g for g, _ in pairs], weight, [t for _, t in pairs], retain_graph=True,
                          create_graph=recorded, materialize_grads=True)  # fmt: skip
    return UnpackedDualTensor(tensor.detach(), tangent)
