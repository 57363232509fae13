"""What losses share: how they are averaged, what sizes and types they take, and how a function of a difference is
fused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .... import dtypes
from ...._arguments import kind_of
from ....autograd.fused import fused
from ....autograd.tensor import TENSORS
from ...rounding import abs as absolute
from ...selection import where

REDUCTIONS = frozenset(("mean", "sum", "none"))


def reduced(values: Any, reduction: str) -> Any:
    """``values`` averaged ("mean"), added up ("sum") or as they are ("none")."""
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    return values if reduction == "none" else reduced(values, known(reduction))


def known(reduction: str) -> str:
    """``reduction``, if there is such a one; else ValueError."""
    if isinstance(reduction, str) and reduction in REDUCTIONS:
        return reduction
    if reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated, use reduction='mean'", stacklevel=4)
        return "mean"
    raise ValueError(f"{reduction} is not a valid value for reduction; the values are none, mean, sum")


def legacy_reduction(size_average: Any, reduce: Any) -> str:
    """What PyTorch's old arguments say in terms of ``reduction``, with a warning.

    Raises:
        TypeError: one is a text: a ``reduction`` in their place, which would count as True.
    """
    for name, given in (("size_average", size_average), ("reduce", reduce)):
        if isinstance(given, str):
            raise TypeError(
                f"{name} must be a bool or None, got {given!r}, which stands in its place: write reduction={given!r}"
            )
    averaged = size_average is None or size_average
    reduction = "none" if reduce is not None and not reduce else "mean" if averaged else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=4
    )
    return reduction


def tensors(name: str, **given: Any) -> None:
    """TypeError unless each of ``given`` is a tensor."""
    for role, x in given.items():
        if x.__class__ not in TENSORS:
            raise TypeError(f"{name}(): argument '{role}' must be Tensor, not {kind_of(x)}")


def fits(a: tuple[int, ...], b: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape to which both are broadcast; RuntimeError, naming the dimension, where they cannot be."""
    try:
        return np.broadcast_shapes(a, b)  # of shapes, not of arrays
    except ValueError:
        k = min(len(a), len(b))
        d = next(i for i in range(1, k + 1) if a[-i] != b[-i] and 1 not in (a[-i], b[-i]))
        raise RuntimeError(
            f"The size of tensor a ({a[-d]}) must match the size of tensor b ({b[-d]}) at non-singleton dimension "
            f"{max(len(a), len(b)) - d} ({name}: sizes {list(a)} and {list(b)})"
        ) from None


def compared(input: Any, target: Any, name: str, weight: Any = None) -> tuple[Any, Any]:
    """Both in their common dtype, for a loss that broadcasts but warns of it, as PyTorch's regression losses do."""
    tensors(name, input=input, target=target)
    a, b = input._data.shape, target._data.shape
    if a != b:
        fits(a, b, name)
        warnings.warn(
            f"Using a target size (torch.Size({list(b)})) that is different to the input size (torch.Size({list(a)})). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=4,
        )
    if weight is not None:
        tensors(name, weight=weight)
        if weight._data.shape != a:
            raise ValueError(
                f"Weights and input must have the same size; they have {list(weight._data.shape)} and {list(a)}."
            )
    return promoted(input, target)


def promoted(input: Any, target: Any) -> tuple[Any, Any]:
    """Both tensors in their common dtype, as of one shape: PyTorch broadcasts them first."""
    if input._data.dtype == target._data.dtype:
        return input, target
    common = dtypes.promote_types(input.dtype, target.dtype)
    return input.to(common), target.to(common)


def needs_floats(name: str, *given: Any) -> None:
    """NotImplementedError, as in PyTorch, for integers and complex numbers."""
    for t in given:
        if not t.dtype.is_floating_point:
            raise NotImplementedError(
                f"{name} is not implemented for {t.dtype.tensor_type[:-6]}; it takes floating-point tensors"
            )


def weighted(values: Any, weight: Any, reduction: str) -> Any:
    """``values`` times ``weight``; a mean divides by the sum of the weights."""
    values = values * weight
    return values.sum() / weight.sum() if reduction == "mean" else reduced(values, reduction)


def wide(x: Any) -> Any:
    """The array ``x``, of a half precision in float32: PyTorch computes them there and rounds the result."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def averaged(xp: Any, values: Any, reduction: str, dtype: Any) -> Any:
    """:func:`reduced` of an array, in ``dtype``."""
    if reduction != "none":
        n = values.size
        values = np.add.reduce(values, None) if xp is np else values.sum()  # quicker than NumPy's methods
        if reduction == "mean":
            values = values / n if n else values * np.nan
    return values if values.dtype == dtype else values.astype(dtype)


OPS = SimpleNamespace(abs=absolute, where=where)  # under the names that array modules have for them


def of_difference(
    name: str, value: Callable[..., Any], slope: Callable[..., Any], grad_name: str, kept: str = ""
) -> Any:
    """The fused loss ``name(input, target, reduction, *options)``: of ``value(input - target, *options)``.

    Args:
        value: ``value(ops, difference, *options)``, in functions of ``ops``: of an array module, or, so that it is its
            own reference, of tensors (:data:`OPS`).
        slope: its derivative, ``slope(xp, difference, *options)``, of arrays.
        kept: as of :func:`~distgrad.autograd.fused.fused`.
    """

    def reference(input: Any, target: Any, reduction: str, *options: Any) -> Any:
        return reduced(value(OPS, input - target, *options), reduction)

    def forward(xp: Any, x: Any, y: Any, reduction: str, *options: Any) -> Any:
        off = wide(x) - wide(y)
        return averaged(xp, value(xp, off, *options), reduction, x.dtype), off

    forward.__name__ = name
    loss = fused(reference=reference, inputs=2, grad_name=grad_name, kept=kept)(forward)

    def backward(
        xp: Any, g: Any, ans: Any, off: Any, wanted: Any, x: Any, y: Any, reduction: str, *options: Any
    ) -> Any:
        if reduction == "mean":
            g = wide(g) / max(off.size, 1)
        gx = slope(xp, off, *options) * g
        return gx if wanted[0] is not None else None, -gx if wanted[1] is not None else None

    loss.defbackward(backward)
    return loss
