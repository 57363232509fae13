"""Rows of a matrix by index, and the gradient that touches those rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, primitive
from ...autograd.coo import Coo, summed_by_key
from ...autograd.graph import Leaf
from ...autograd.promotion import mixed
from ...autograd.recording import watched
from ...autograd.tensor import TENSORS
from .._declare import raw

_FEW = 2048  # elements: below, NumPy's add.at is quicker than sorting the indices


@primitive(meta="weight", grad_name="EmbeddingBackward0")
def _embedding(xp, weight, index, padding_idx, by_frequency, sparse):
    return _rows(xp, weight, index)


def _rows(xp: Any, weight: Any, index: Any) -> Any:
    """``weight[index]``; on a device, where no value is looked at, NaN for an index out of bounds."""
    if xp is np:
        return weight.take(index, 0)
    n = weight.shape[0]
    wrong = (index < 0) | (index >= n)
    rows = weight[xp.where(wrong, 0, index)]
    return xp.where(wrong[..., None], xp.asarray(np.nan, rows.dtype), rows)


def _added(xp: Any, g: Any, index: Any, shape: tuple[int, int], out: Any) -> Any:
    """Zeros of ``shape``, in ``out`` if given, with each row of ``g`` added at its index."""
    if out is None:
        out = xp.zeros(shape, g.dtype)
    else:
        out[...] = 0
    keys, rows = index.reshape(-1), g.reshape(index.size, shape[1])
    if xp is np and g.size <= _FEW and g.dtype.itemsize > 2:
        np.add.at(out, keys, rows)
    elif len(keys):
        first, sums = summed_by_key(keys, rows)
        out[keys[first]] = sums
    return out


@primitive(grad_name="EmbeddingDenseBackward0")
def _to_rows(xp, x, index, shape):
    return _added(xp, x, index, shape, None)


_to_rows.defvjp(lambda g, ans, x, index, shape: _embedding(g, index, -1, False, False), saves="")


def _share(index: Any, n: int, padding_idx: int, by_frequency: bool, dtype: Any) -> Any:
    """The factor of each index's gradient, of shape (*index, 1): 0 for padding; one over how often it occurs."""
    xp = backend.array_module(index)
    share = (index != padding_idx).astype(dtype)
    if by_frequency:
        share = share / xp.bincount(index.reshape(-1), minlength=n)[index].astype(dtype)
    return share[..., None]


def _gradient(g, ans, weight, index, padding_idx, by_frequency, sparse, out=None):
    """Sparse only where no other rule reads it: for a leaf (``weight`` is the edge), and not to be recorded."""
    n, d = weight.shape
    if sparse and weight.__class__ is Leaf and g.__class__ not in TENSORS:
        keys, rows = index.reshape(-1), g.reshape(index.size, d)
        if padding_idx >= 0:
            kept = keys != padding_idx
            keys, rows = keys[kept], rows[kept]
        return Coo(keys.astype(np.int64)[None], rows.copy(), (n, d))
    if padding_idx >= 0 or by_frequency:
        share = _share(index, n, padding_idx, by_frequency, raw(g).dtype)
        g = g * (share if g.__class__ not in TENSORS else Tensor._wrap(share, None))
    if out is not None:
        return _added(backend.array_module(g), g, index, (n, d), out)
    return _to_rows(g, index, (n, d))


_embedding.defvjp(_gradient, saves="weight")


def _renormalise(weight: Tensor, index: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows of ``weight`` that are named and have a norm above ``max_norm`` to it, in place."""
    w = weight._data
    xp = backend.array_module(w)
    named = xp.unique(index)
    rows = w[named].astype(np.float64 if w.dtype.itemsize == 8 else np.float32)
    if norm_type == np.inf:
        norms = xp.abs(rows).max(1)
    else:
        norms = (xp.abs(rows) ** norm_type).sum(1) ** (1 / norm_type)
    scale = xp.where(norms > max_norm, max_norm / (norms + 1e-7), 1).astype(w.dtype)
    w[named] *= scale[:, None]
    weight._bump()


@checked
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` that ``input`` names.

    Args:
        input: indices (*), int64 or int32.
        weight: (n, d).
        padding_idx: the row that gets no gradient; negative ones count from the end.
        max_norm: rows that are named are first scaled, in place, to a ``norm_type``-norm of at most this.
        scale_grad_by_freq: divide each row's gradient by how often it is named.
        sparse: the gradient of ``weight`` is a sparse tensor of the rows named (:mod:`distgrad.autograd.sparse`),
            if that is a leaf, and except under ``create_graph=True``.

    Returns:
        (*, d).

    Raises:
        IndexError: an index outside 0 … n-1; on a device, where asking would wait for all work before, its row is NaN.
        RuntimeError: indices of another type, a weight that is no matrix, ``scale_grad_by_freq`` with ``sparse``.
        AssertionError: ``padding_idx`` out of range, as in PyTorch.

    >>> F.embedding(torch.tensor([1, 0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    for role, t in (("weight", weight), ("indices", input)):
        if t.__class__ not in TENSORS:
            raise TypeError(f"embedding(): argument '{role}' must be Tensor, not {type(t).__name__}")
    w, index = weight._data, input._data
    if w.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, got {list(w.shape)}")
    n = w.shape[0]
    padding = -1
    if padding_idx is not None:
        if not -n <= padding_idx < n:
            raise AssertionError(f"Padding_idx must be within num_embeddings ({n}), got {padding_idx}")
        padding = padding_idx + n if padding_idx < 0 else padding_idx
    if index.dtype not in (np.int64, np.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"torch.{input.dtype.tensor_type} instead (while checking arguments for embedding)"
        )
    if sparse and scale_grad_by_freq and weight.requires_grad:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    if index.__class__ is not w.__class__ or backend.device_of(index) != backend.device_of(w):
        raise mixed([w, index], "embedding")
    if index.__class__ is np.ndarray and index.size:
        low, high = int(np.minimum.reduce(index, None)), int(np.maximum.reduce(index, None))
        if low < 0 or high >= n:
            raise IndexError(f"index out of range in self: {low if low < 0 else high}; the rows are 0 to {n - 1}")
    with backend.where_it_lies(w):
        if max_norm is not None:
            _renormalise(weight, index, float(max_norm), float(norm_type))
        return watched(_embedding(weight, index, padding, scale_grad_by_freq, sparse), input)
