"""Sums, means and maxima of rows of a matrix, bag by bag."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor
from .._declare import raw
from ..selection import where
from .embedding import embedding

__all__ = ["embedding_bag"]


def _bags(input: Tensor, offsets: Any, include_last: bool) -> tuple[Tensor, np.ndarray]:
    """The indices in one row, and where each bag begins and the last one ends."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        b, n = input.shape
        return input.reshape(-1), np.arange(b + 1, dtype=np.int64) * n
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None or not isinstance(offsets, Tensor):
        raise ValueError(f"offsets has to be a 1D Tensor but got {None if offsets is None else type(offsets)}")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    at = offsets.detach().cpu().numpy().astype(np.int64)
    if include_last and not len(at):
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    if len(at) and at[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
            f"However, got {at[0]}"
        )
    if len(at) and at[-1] > input.numel():
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {input.numel()} but got offsets[-1] of {at[-1]}"
        )
    if len(at) and (at[1:] < at[:-1]).any():
        raise RuntimeError("embedding_bag: offsets must not decrease")
    if include_last:
        at = np.concatenate((at[:-1], [input.numel()]))
    else:
        at = np.concatenate((at, [input.numel()]))
    return input, at


def _check(mode: str, sparse: bool, by_frequency: bool, factors: Any, input: Tensor) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and by_frequency:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if factors is None:
        return
    if tuple(factors.shape) != tuple(input.shape):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({factors.shape}) is not None, then it must have the same shape as "
            f"the input ({input.shape})"
        )
    if mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}'). Please open a feature request on GitHub."
        )


def _largest(rows: Tensor, at: np.ndarray, kept: Any, place: Any) -> Tensor:
    """The largest elements of each bag's rows; zeros where a bag is empty."""
    b, width = len(at) - 1, int(np.diff(at).max(initial=0))
    if not len(rows) or not width:
        return rows.new_zeros((b, rows.shape[1]))
    columns = at[:-1, None] + np.arange(width)
    there = columns < at[1:, None]
    index = place(np.minimum(columns, len(rows) - 1))
    seen = place(there) if kept is None else place(there) & kept[index]
    padded = where(seen.unsqueeze(2), rows[index], -np.inf)
    return where(seen.any(1, True), padded.max(1)[0], 0.0)


@checked
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of ``weight`` that each bag of indices names.

    Args:
        input: indices, int64 or int32: bags (B, N), or all in one row.
        weight: (n, d).
        offsets: where in the row each bag begins, the first at 0: (B).
        mode: ``"sum"``, ``"mean"`` or ``"max"``; of an empty bag 0.
        per_sample_weights: factors in the shape of ``input``, for ``"sum"``.
        include_last_offset: whether the last of ``offsets``, (B + 1), is where the last bag ends.
        padding_idx: the row that counts in no bag; negative ones count from the end.
        max_norm, norm_type, scale_grad_by_freq, sparse: as of :func:`embedding`.

    Returns:
        (B, d).

    Raises:
        ValueError: input, offsets, factors or a mode that do not fit.  RuntimeError: an index or offset out of range.
        NotImplementedError: factors for another mode.

    >>> F.embedding_bag(torch.tensor([0, 1, 2]), torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 2]))
    tensor([[2.],
            [5.]])
    """
    _check(mode, sparse, scale_grad_by_freq, per_sample_weights, input)
    index, at = _bags(input, offsets, include_last_offset)
    n = weight.shape[0]
    flat = raw(index)
    if isinstance(flat, np.ndarray) and flat.size and (flat.min() < 0 or flat.max() >= n):
        wrong = int(np.flatnonzero((flat < 0) | (flat >= n))[0])
        raise RuntimeError(f"Index {wrong} of input takes value {flat[wrong]} which is not in the valid range [0, {n})")
    padding = None if padding_idx is None else padding_idx + n if padding_idx < 0 else padding_idx
    device = backend.device_of(flat)

    def place(a: np.ndarray) -> Tensor:
        return Tensor._wrap(a if device.type == "cpu" else backend.to_device(a, device), None)

    rows = embedding(index, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    kept = None if padding is None else index != padding
    if mode == "max":
        return _largest(rows, at, kept, place)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if kept is not None:
        rows = where(kept.unsqueeze(1), rows, 0.0)
    b = len(at) - 1
    bag = place(np.repeat(np.arange(b), np.diff(at)))
    rows = rows[: int(at[-1])]
    total = rows.new_zeros((b, weight.shape[1])).index_add(0, bag, rows)
    if mode == "sum":
        return total
    counts = place(np.diff(at)) if kept is None else kept.new_zeros(b).long().index_add(0, bag, kept.long())
    return total / counts.clamp_min(1).to(total.dtype).unsqueeze(1)
