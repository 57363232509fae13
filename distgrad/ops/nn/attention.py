"""Attention: means of values, weighted by how well their keys meet a query."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, fused
from .._declare import raw
from ..elementwise import exp
from ..linalg.products import matmul
from ..selection import where
from ._spatial import plain_name

__all__ = ["scaled_dot_product_attention"]


def _reference(q: Any, k: Any, v: Any, mask: Any, scale: float, allowed: Any, keep: Any, factor: float) -> Any:
    scores = matmul(q, k.swapaxes(-1, -2)) * scale
    if mask is not None:
        scores = scores + mask
    if allowed is not None:
        scores = where(Tensor._wrap(allowed, None), scores, -math.inf)
    most = _most(backend.array_module(scores._data), scores._data)
    weights = exp(scores - Tensor._wrap(most, None))
    total = weights.sum(-1, True)
    weights = weights / where(total == 0, 1.0, total)
    if keep is not None:
        weights = weights * Tensor._wrap(keep, None).to(weights.dtype) * factor
    return matmul(weights, v)


def _most(xp: Any, scores: Any) -> Any:
    """The largest score of each query; 0 where none is allowed."""
    if not scores.shape[-1]:
        return xp.zeros((*scores.shape[:-1], 1), scores.dtype)
    most = scores.max(-1, keepdims=True)
    return xp.where(most == -math.inf, 0.0, most).astype(scores.dtype)


def _plain(x: Any) -> Any:
    """Half precisions in float32, to compute in."""
    return x.astype(np.float32) if x is not None and x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x


@fused(reference=_reference, inputs=4, grad_name="ScaledDotProductFlashAttentionForCpuBackward0")
def _attention(xp, q, k, v, mask, scale, allowed, keep, factor):
    """softmax(q kᵀ scale + mask) v, over the keys that are ``allowed``; of the weights those of ``keep``, times
    ``factor``.  A query that may see nothing gets zeros."""
    kind = q.dtype
    q, k, v, mask = (_plain(x) for x in (q, k, v, mask))
    weights = xp.matmul(q * q.dtype.type(scale), k.swapaxes(-1, -2))
    if mask is not None:
        weights = weights + mask
    if allowed is not None:
        weights = xp.where(allowed, weights, weights.dtype.type(-math.inf))
    weights -= _most(xp, weights)
    xp.exp(weights, out=weights)
    total = weights.sum(-1, keepdims=True)
    weights /= xp.where(total == 0, total.dtype.type(1), total)
    used = weights if keep is None else weights * keep * weights.dtype.type(factor)
    return xp.matmul(used, v).astype(kind, copy=False), weights


@_attention.defbackward
def _attention_backward(xp, g, ans, kept, wanted, q, k, v, mask, scale, allowed, keep, factor):
    """With weights P, output O: dV = Pᵀ dO, dP = dO Vᵀ, dS = P (dP - rowsum(P dP)), and dQ, dK from S = scale Q Kᵀ."""
    kinds: list[Any] = [None if x is None else (x.dtype, x.shape) for x in (q, k, v, mask)]
    g, q, k, v, weights = (_plain(x) for x in (g, q, k, v, kept))
    used = weights if keep is None else weights * keep * weights.dtype.type(factor)
    grads: list[Any] = [None] * 4
    if wanted[2] is not None:
        grads[2] = xp.matmul(used.swapaxes(-1, -2), g)
    if any(wanted[i] is not None for i in (0, 1, 3)):
        slope = xp.matmul(g, v.swapaxes(-1, -2))
        if keep is not None:
            slope = slope * keep * slope.dtype.type(factor)
        slope -= xp.einsum("...ij,...ij->...i", weights, slope)[..., None]
        slope *= weights
        if wanted[3] is not None:
            grads[3] = slope
        if wanted[0] is not None:
            grads[0] = xp.matmul(slope, k) * slope.dtype.type(scale)
        if wanted[1] is not None:
            grads[1] = xp.matmul(slope.swapaxes(-1, -2), q) * slope.dtype.type(scale)
    return tuple(None if d is None else _summed(d, *kind) for d, kind in zip(grads, kinds, strict=True))


def _summed(d: Any, kind: Any, shape: tuple[int, ...]) -> Any:
    """``d`` summed over the dimensions along which an input of ``shape`` was broadcast."""
    if d.ndim > len(shape):
        d = d.sum(tuple(range(d.ndim - len(shape))))
    over = tuple([i for i, (n, m) in enumerate(zip(shape, d.shape, strict=True)) if n == 1 != m])
    return (d.sum(over, keepdims=True) if over else d).astype(kind, copy=False)


@checked
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query keyᵀ · scale + mask) value (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        query, key, value: (…, heads, L, E), (…, heads, S, E) and (…, heads, S, Ev); the leading dimensions broadcast.
        attn_mask: broadcasts to (…, heads, L, S): bool, true where a query may see a key, or numbers to be added.  A
            query that may see nothing gets zeros.
        dropout_p: the probability with which each weight is dropped; always, for a function does not know of training.
        is_causal: whether query i sees the keys up to i alone; then there is no ``attn_mask``.
        scale: 1 / sqrt(E) by default.
        enable_gqa: whether key and value may have fewer heads, each for several heads of the query in turn.

    Returns:
        (…, heads, L, Ev).

    Raises:
        RuntimeError: shapes or dtypes that do not fit, a mask beside ``is_causal``.

    >>> x = torch.eye(2)
    >>> F.scaled_dot_product_attention(x, x, torch.tensor([[1.0], [3.0]]), is_causal=True, scale=0.0)
    tensor([[1.],
            [2.]])
    """
    q, k, v = query, key, value
    _check(q, k, v, attn_mask, dropout_p, is_causal)
    if enable_gqa:
        k, v = _repeated(q, k), _repeated(q, v)
    try:
        shape = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2])
        np.broadcast_shapes(shape[:-2], v.shape[:-2])
    except ValueError:
        raise RuntimeError(
            f"scaled_dot_product_attention: the leading dimensions of query {list(q.shape)}, key {list(k.shape)} and "
            f"value {list(v.shape)} must match at non-singleton dimensions"
        ) from None
    xp = backend.array_module(q._data)
    mask: Any = attn_mask
    allowed: Any = None
    with backend.where_it_lies(q._data):
        if is_causal:
            allowed = xp.tri(shape[-2], shape[-1], dtype=bool)
        elif mask is not None:
            _check_mask(mask, shape)
            if mask.dtype.category == 0:
                mask, allowed = None, mask._data.copy()
        keep = _kept(shape, dropout_p, q)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None and q.shape[-1] else 1.0 if scale is None else scale
    return _attention(q, k, v, mask, scale, allowed, keep, 1 / (1 - dropout_p) if dropout_p < 1 else 0.0)


def _kept(shape: tuple[int, ...], p: float, q: Tensor) -> Any:
    """Which weights dropout keeps; None for all."""
    if p == 0:
        return None
    from ...random import default_generator

    mask = default_generator.keep_mask(shape, p)
    return mask if q.device.type == "cpu" else backend.to_device(mask, q.device)


def _repeated(q: Tensor, k: Tensor) -> Tensor:
    """Each head of ``k`` for as many heads of ``q`` in turn as there are to each."""
    if q.ndim < 3 or k.ndim < 3 or k.shape[-3] == 0 or q.shape[-3] % k.shape[-3]:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
    times = q.shape[-3] // k.shape[-3]
    if times == 1:
        return k
    head, tail = k.shape[:-2], k.shape[-2:]
    return k.unsqueeze(-3).expand(*head, times, *tail).reshape(*head[:-1], head[-1] * times, *tail)


def _check_mask(mask: Tensor, shape: tuple[int, ...]) -> None:
    try:
        fits = np.broadcast_shapes(tuple(mask.shape), shape)
    except ValueError:
        fits = ()
    if fits[-2:] != shape[-2:]:
        raise RuntimeError(
            f"scaled_dot_product_attention: attn_mask {list(mask.shape)} must be broadcastable to {list(shape)}"
        )


def _check(q: Tensor, k: Tensor, v: Tensor, mask: Any, dropout_p: float, is_causal: bool) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{q.ndim} key.dim: {k.ndim} and value.dim: {v.ndim} instead."
        )
    if not q.dtype == k.dtype == v.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{plain_name(q)} key.dtype: {plain_name(k)} and value.dtype: {plain_name(v)} instead."
        )
    if raw(q).dtype.kind in "biu":
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: float != {plain_name(q)}")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if mask is not None:
        if is_causal:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )
        if mask.dtype.category != 0 and mask.dtype != q.dtype:
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{plain_name(mask)} and  query.dtype: {plain_name(q)} instead."
            )
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query {list(q.shape)} and key {list(k.shape)} must have the same last "
            f"size, key and value {list(v.shape)} the same last but one"
        )
