"""What convolution, pooling and their kin share: sizes given once or for each dimension, and batches of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._arguments import is_number, kind_of
from ...autograd import Tensor
from ...autograd.tensor import TENSORS
from .._declare import needs_tensor

__all__: list[str] = []


def each(function: str, name: str, value: Any, n: int) -> tuple[int, ...]:
    """``value``, one integer or one for each of ``n`` dimensions; RuntimeError for another number of them."""
    if isinstance(value, (tuple, list)):
        found = [whole(function, name, v) for v in value]
        if len(found) == 1:
            found *= n
        if len(found) != n:
            raise RuntimeError(f"{function}: {name} must either be a single int, or a tuple of {n} ints")
        return tuple(found)
    return (whole(function, name, value),) * n


def whole(function: str, name: str, value: Any) -> int:
    """An integer; TypeError, naming the argument, for anything else."""
    if value.__class__ is int:
        return value
    if isinstance(value, (bool, float)) or not (is_number(value) and hasattr(value, "__index__")):
        raise TypeError(
            f"{function}(): argument '{name}' must be int or tuple of ints, but found element of type {kind_of(value)}"
        )
    return int(value.__index__())


def listed(sizes: Any) -> str:
    """``2 x 3``."""
    return " x ".join(map(str, sizes))


def batched(compute: Callable[..., Any], x: Tensor, n: int) -> Any:
    """``compute(x)`` of (N, C, *), with n spatial dimensions; one sample (C, *) is a batch of one."""
    if x.ndim == n + 2:
        return compute(x)
    out = compute(x.unsqueeze(0))
    return out.squeeze(0) if out.__class__ in TENSORS else tuple([o.squeeze(0) for o in out])


def tensor_of(function: str, x: Any, *ranks: int) -> Tensor:
    """``x``, a tensor of one of ``ranks`` dimensions, none but the batch empty; RuntimeError otherwise."""
    needs_tensor(x, function)
    shape = tuple(x.shape)
    batch = len(shape) == ranks[-1]
    if len(shape) not in ranks or 0 in shape[1 if batch else 0 :]:
        raise RuntimeError(
            f"{function}: Expected {ranks[0]}D or {ranks[-1]}D (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got:{list(shape)}"
        )
    return x


_WORDS = {
    "float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16", "int64": "long int",
}  # fmt: skip


def plain_name(x: Tensor) -> str:
    """C++'s name of a dtype."""
    name = str(x.dtype).removeprefix("torch.")
    return _WORDS.get(name, name)
