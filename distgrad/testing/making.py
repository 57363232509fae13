"""Tensors of numbers at random for tests: PyTorch's ``testing.make_tensor``."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import dtypes
from ..autograd import Tensor
from ..ops.creation import zeros
from ..ops.drawing import rand, randint

__all__ = ["make_tensor"]


def _bounds(low: float | None, high: float | None, default: tuple[float, float], span: tuple[float, float]) -> Any:
    """The limits asked for, or by default, inside of what the dtype holds; ValueError for what are none."""
    low, high = default[0] if low is None else low, default[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    return low, high, max(low, span[0]), min(high, span[1])


def _floats(shape: tuple[int, ...], kind: dtypes.dtype, device: Any, low: float | None, high: float | None) -> Tensor:
    limits = dtypes.finfo(kind)
    low, high, least, most = _bounds(low, high, (-9, 9), (limits.min, limits.max))
    if low == high:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated since 2.1 "
            "and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=4,
        )
    elif low > high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    drawn = rand(*shape, dtype=dtypes.float64, device=device)
    made = (drawn * most + (1 - drawn) * least).clamp(least, most)
    return made.to(kind)


def _integers(shape: tuple[int, ...], kind: dtypes.dtype, device: Any, low: float | None, high: float | None) -> Tensor:
    if kind is dtypes.bool_:
        low, high, least, most = _bounds(low, high, (0, 2), (0, 2))
    else:
        limits = dtypes.iinfo(kind)
        span = (max(limits.min, -(2**63)), min(limits.max, 2**63 - 1))
        default = (0 if limits.min == 0 else -9, 10)
        low, high, least, most = _bounds(low, high, default, (span[0], min(span[1] + 1, 2**63 - 1)))
    if low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    return randint(math.floor(least), math.ceil(most), shape, dtype=dtypes.int64, device=device).to(kind)


def make_tensor(
    *shape: Any,
    dtype: dtypes.dtype,
    device: Any = "cpu",
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of numbers at random, uniform on [low, high).

    Args:
        shape: sizes, one by one or as one sequence.
        dtype: its dtype; of complex ones both parts are drawn.
        low, high: by default -9 and 9 for floats, -9 and 10 for integers (unsigned: 0), 0 and 2 for bools.
        noncontiguous: every second element of a larger tensor; more than one element needs it.
        exclude_zero: what would be 0 is the smallest positive number, or 1.
        memory_format: of the result; not with ``noncontiguous``.

    Raises:
        ValueError: ``low`` is not below ``high``, or either NaN; a gradient of integers or bools is wanted.

    >>> torch.testing.make_tensor((2, 3), dtype=torch.float32, device="cpu").shape
    torch.Size([2, 3])
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and not hasattr(shape[0], "__index__") else tuple(shape)
    if noncontiguous and memory_format is not None:
        raise ValueError(
            f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got {noncontiguous=} and "
            f"{memory_format=}"
        )
    if requires_grad and dtype.category < 2:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}"
        )
    if dtype.is_complex:
        parts = (*sizes, 2)
        pairs = _floats(parts, dtype.to_real(), device, low, high)
        made = pairs[..., 0] + 1j * pairs[..., 1]
    else:
        made = (_floats if dtype.is_floating_point else _integers)(sizes, dtype, device, low, high)
    if exclude_zero:
        made[made == 0] = 1 if dtype.category < 2 else dtypes.finfo(dtype).tiny
    if noncontiguous and made.numel() > 1:
        wider = zeros(*sizes[:-1], 2 * sizes[-1], dtype=dtype, device=device)
        wider[..., ::2] = made
        made = wider[..., ::2]
    if memory_format is not None:
        made = made.clone().contiguous(memory_format=memory_format)
    return made.requires_grad_() if requires_grad else made
