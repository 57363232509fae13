"""Attention: means of values, weighted by how well their keys meet a query.

The weights of all queries at all keys are as many as their lengths multiplied.  They are never held at once: a block
of queries at a time is compared with the keys, weighted and forgotten, and the backward pass computes the weights of
each block again from what softmax subtracted and divided by (Rabe & Staats 2021, arXiv:2112.05682; Dao et al. 2022,
arXiv:2205.14135).  Only where they are few, ``_KEPT`` at most, are they kept for the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, fused
from .._declare import raw
from ..elementwise import exp
from ..linalg.products import matmul
from ..selection import where
from ._attention_kernels import check_kernels
from ._spatial import plain_name

__all__ = ["scaled_dot_product_attention"]

_SCORES = 2**18  # how many scores a block has: what stays in a core's cache
_KEPT = 2**20  # so many weights are kept for the backward pass, however long the sequences: 4 MiB
_SCORES_ON_DEVICE = 2**25  # there a block shall give every core work
_FEWEST = 16  # queries of a block, however many keys there are
_CHUNK = 2**16  # so many of dropout's bits have one key of the random numbers


class _Options(NamedTuple):
    """How :func:`scaled_dot_product_attention` weighs.

    Attributes:
        scale: what scores are multiplied by.
        allowed: which keys a query may see, bool, broadcast to (…, L, S); None for all.
        causal: whether query i sees the keys up to i alone.
        p: the probability with which a weight is dropped.
        seed: of the random numbers that say which.
    """

    scale: float
    allowed: Any
    causal: bool
    p: float
    seed: int


class _Rows(NamedTuple):
    """Matrices with their leading dimensions made one, which others may repeat.

    Attributes:
        own: (M, rows, columns).
        places: which of the M each of the N repeated ones is; None for each its own.
    """

    own: Any
    places: Any

    @classmethod
    def of(cls, x: Any, lead: tuple[int, ...]) -> _Rows:
        x = x.reshape((1,) * (2 - x.ndim) + x.shape)
        own = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
        if x.shape[:-2] == lead or len(own) == math.prod(lead):
            return cls(own, None)
        return cls(own, np.broadcast_to(np.arange(len(own)).reshape(x.shape[:-2]), lead).reshape(-1))

    def at(self, heads: slice) -> Any:
        """The matrices of these of the N; one for all of them where they share it."""
        if self.places is None:
            return self.own[heads]
        places = self.places[heads]
        first = int(places[0])
        return self.own[first : first + 1] if (places == first).all() else self.own[places]


class _Sum:
    """The gradient of an input, of which blocks give parts: with the leading dimensions made one, as :class:`_Rows`."""

    own: Any

    def __init__(self, x: Any, rows: Any) -> None:
        self.x, self.places, self.own = x, rows.places, None
        self.shape = rows.own.shape

    def add(self, xp: Any, heads: slice, rows: slice, columns: slice, part: Any) -> None:
        """Add ``part``, of these of the N, to the matrices that they repeat."""
        if self.own is None:
            if self.places is None and part.shape == self.shape:
                self.own = part
                return
            self.own = xp.zeros(self.shape, self.x.dtype)
        if self.places is None:
            self.own[heads, rows, columns] += part
            return
        places = self.places[heads]
        if (places == places[0]).all():
            self.own[int(places[0]), rows, columns] += part.sum(0)
            return
        for place, one in zip(places.tolist(), part, strict=True):
            self.own[place, rows, columns] += one

    def total(self, xp: Any, kind: Any) -> Any:
        """All parts together, in the input's shape and the type ``kind``."""
        if self.own is None:
            return xp.zeros(self.x.shape, kind)
        return self.own.reshape(self.x.shape).astype(kind, copy=False)


def _lead(*arrays: Any) -> tuple[int, ...]:
    """The leading dimensions that all of the arrays broadcast to."""
    shapes = {x.shape[:-2] for x in arrays if x is not None}
    return shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)


def _blocks(xp: Any, n: int, length: int, source: int, causal: bool) -> Iterator[tuple[slice, slice, slice]]:
    """Which heads, queries and keys a block takes: about as many scores as ``_SCORES``, and of the keys all that a
    query may see."""
    most = _SCORES if xp is np else _SCORES_ON_DEVICE
    rows = max(1, min(length, max(_FEWEST, most // max(source, 1))))
    heads = max(1, most // max(rows * source, 1)) if rows == length or xp is not np else 1
    for head in range(0, n, heads):
        for row in range(0, length, rows):
            last = min(row + rows, length)
            yield (
                slice(head, min(head + heads, n)),
                slice(row, last),
                slice(0, min(source, last) if causal else source),
            )


def _cut(x: Any, rows: slice, columns: slice) -> Any:
    """Of each matrix these rows and columns; a single row or column, which is repeated, stays."""
    if x.shape[1] != 1:
        x = x[:, rows]
    return x if x.shape[2] == 1 else x[:, :, columns]


def _keep(xp: Any, like: Any, shape: tuple[int, int, int], place: Any, options: _Options) -> Any:
    """What dropout multiplies the weights of a block by, of all (N, L, S) = ``shape``."""
    from ...random import Generator

    heads, rows, keys = place
    _, length, source = shape
    low, high = (heads.start * length + rows.start) * source, ((heads.stop - 1) * length + rows.stop) * source
    parts = [
        Generator.keyed(options.seed, chunk).keep_mask(min(_CHUNK, high - chunk * _CHUNK), options.p)
        for chunk in range(low // _CHUNK, -(-high // _CHUNK))
    ]
    flat = np.concatenate(parts)[low % _CHUNK :] if parts else np.zeros(0, bool)
    span = (heads.stop - heads.start - 1) * length + rows.stop - rows.start
    kept = flat[: span * source].reshape(span, source)[:, keys]
    kept = kept.reshape(heads.stop - heads.start, rows.stop - rows.start, kept.shape[1])
    factor = like.dtype.type(1 / (1 - options.p) if options.p < 1 else 0)
    return (kept if xp is np else backend.to_device(kept, backend.device_of(like))) * factor


class _Scores(NamedTuple):
    """What the scores are made of: queries and keys, what is added and what is allowed."""

    q: _Rows
    k: _Rows
    mask: _Rows | None
    allowed: _Rows | None
    options: _Options

    def of(self, xp: Any, place: tuple[slice, slice, slice]) -> Any:
        """The scores of a block, -inf where a key may not be seen; and the queries, scaled, that they were made of."""
        heads, rows, keys = place
        q = self.q.at(heads)[:, rows]
        q = q * q.dtype.type(self.options.scale)
        found = xp.matmul(q, self.k.at(heads)[:, keys].swapaxes(-1, -2))
        n = heads.stop - heads.start
        if len(found) != n:
            found = xp.repeat(found, n, axis=0)
        if self.mask is not None:
            found += _cut(self.mask.at(heads), rows, keys)
        none = found.dtype.type(-math.inf)
        if self.allowed is not None:
            found = xp.where(_cut(self.allowed.at(heads), rows, keys), found, none)
        if self.options.causal and rows.start < keys.stop:
            edge = found[:, :, rows.start :]
            edge[...] = xp.where(xp.tri(*edge.shape[1:], dtype=bool), edge, none)
        return found, q


def _most(xp: Any, scores: Any) -> Any:
    """The largest score of each query; 0 where none is allowed."""
    if not scores.shape[-1]:
        return xp.zeros((*scores.shape[:-1], 1), scores.dtype)
    most = scores.max(-1, keepdims=True)
    return xp.where(most == -math.inf, 0.0, most).astype(scores.dtype)


def _plain(x: Any) -> Any:
    """Half precisions in float32, to compute in."""
    return x.astype(np.float32) if x is not None and x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x


def _reference(q: Any, k: Any, v: Any, mask: Any, options: _Options) -> Any:
    scores = matmul(q, k.swapaxes(-1, -2)) * options.scale
    xp = backend.array_module(scores._data)
    if mask is not None:
        scores = scores + mask
    if options.allowed is not None:
        scores = where(Tensor._wrap(options.allowed, None), scores, -math.inf)
    if options.causal:
        scores = where(Tensor._wrap(xp.tri(*scores.shape[-2:], dtype=bool), None), scores, -math.inf)
    weights = exp(scores - Tensor._wrap(_most(xp, scores._data), None))
    total = weights.sum(-1, True)
    weights = weights / where(total == 0, 1.0, total)
    if options.p:
        lead = np.broadcast_shapes(weights.shape[:-2], v.shape[:-2])
        n, length, source = math.prod(lead), weights.shape[-2], weights.shape[-1]
        whole = (slice(0, n), slice(0, length), slice(0, source))
        kept = _keep(xp, weights._data, (n, length, source), whole, options)
        weights = weights * Tensor._wrap(kept.reshape(*lead, length, source), None)
    return matmul(weights, v)


@fused(reference=_reference, inputs=4, grad_name="ScaledDotProductFlashAttentionForCpuBackward0")
def _attention(xp, q, k, v, mask, options):
    """softmax(q kᵀ scale + mask) v, over the keys that are allowed, of the weights those that dropout keeps.  A query
    that may see nothing gets zeros.  Kept are, of each query, what was subtracted from its scores and 1 over the sum of
    their exponentials, and the exponentials if they are few."""
    kind, options = q.dtype, _Options(*options)
    q, k, v, mask = (_plain(x) for x in (q, k, v, mask))
    lead = _lead(q, k, v, mask, options.allowed)
    n, length, source = math.prod(lead), q.shape[-2], k.shape[-2]
    scores, values = _scores(q, k, mask, lead, options), _Rows.of(v, lead)
    out = xp.empty((n, length, v.shape[-1]), q.dtype)
    most, inverse = (xp.empty((n, length, 1), q.dtype) for _ in range(2))
    few: Any = [] if n * length * source <= _KEPT else None
    for place in _blocks(xp, n, length, source, options.causal):
        at = place[:2]
        weights, _ = scores.of(xp, place)
        most[at] = _most(xp, weights)
        weights -= most[at]
        xp.exp(weights, out=weights)
        total = weights.sum(-1, keepdims=True)
        inverse[at] = 1 / xp.where(total == 0, total.dtype.type(1), total)
        used = weights * _keep(xp, weights, (n, length, source), place, options) if options.p else weights
        part = xp.matmul(used, values.at(place[0])[:, place[2]])
        xp.multiply(part, inverse[at], out=out[at])
        if few is not None:
            few.append(weights)
    return out.reshape(*lead, *out.shape[1:]).astype(kind, copy=False), (most, inverse, few)


def _scores(q: Any, k: Any, mask: Any, lead: tuple[int, ...], options: _Options) -> _Scores:
    added, allowed = (None if x is None else _Rows.of(x, lead) for x in (mask, options.allowed))
    return _Scores(_Rows.of(q, lead), _Rows.of(k, lead), added, allowed, options)


@_attention.defbackward
def _attention_backward(xp, g, ans, kept, wanted, q, k, v, mask, options):
    """With weights P, output O: dV = Pᵀ dO, dP = dO Vᵀ, dS = P (dP - rowsum(P dP)), and dQ, dK from S = scale Q Kᵀ.

    P is E times the inverse sum of its row: that goes into the rows of dO, so that no pass over a block is needed for
    it."""
    options = _Options(*options)
    kinds = [None if x is None else x.dtype for x in (q, k, v, mask)]
    g, q, k, v, mask = (_plain(x) for x in (g, q, k, v, mask))
    most, inverse, few = kept
    lead = _lead(q, k, v, mask, options.allowed)
    n, length, source = math.prod(lead), q.shape[-2], k.shape[-2]
    scores, values = _scores(q, k, mask, lead, options), _Rows.of(v, lead)
    g = g.reshape(n, *g.shape[-2:])
    grads = [
        None if w is None else _Sum(x, rows)
        for w, x, rows in zip(wanted, (q, k, v, mask), (scores.q, scores.k, values, scores.mask), strict=True)
    ]
    for i, place in enumerate(_blocks(xp, n, length, source, options.causal)):
        heads, rows, keys = place
        if few is None:
            weights, queries = scores.of(xp, place)
            weights -= most[heads, rows]
            xp.exp(weights, out=weights)
        else:
            weights, queries = few[i], None
        keep = _keep(xp, weights, (n, length, source), place, options) if options.p else None
        slope = g[heads, rows] * inverse[heads, rows]
        if grads[2] is not None:
            used = weights if keep is None else weights * keep
            grads[2].add(xp, heads, keys, slice(None), xp.matmul(used.swapaxes(-1, -2), slope))
        if grads[0] is None and grads[1] is None and grads[3] is None:
            continue
        slope = xp.matmul(slope, values.at(heads)[:, keys].swapaxes(-1, -2))
        if keep is not None:
            slope *= keep
        slope -= xp.einsum("nij,nij->ni", weights, slope)[..., None] * inverse[heads, rows]
        slope *= weights
        _add_slopes(xp, grads, slope, place, scores, queries)
    return tuple(None if d is None else d.total(xp, kind) for d, kind in zip(grads, kinds, strict=True))


def _add_slopes(xp: Any, grads: list[Any], slope: Any, place: Any, scores: _Scores, queries: Any) -> None:
    """Add what a block gives to the gradients of queries, keys and mask."""
    heads, rows, keys = place
    scale = slope.dtype.type(scores.options.scale)
    whole = slice(None)
    if grads[3] is not None:
        part, (_, height, width) = slope, grads[3].shape
        part = part.sum(1, keepdims=True) if height == 1 else part
        part = part.sum(2, keepdims=True) if width == 1 else part
        grads[3].add(xp, heads, whole if height == 1 else rows, whole if width == 1 else keys, part)
    if grads[0] is not None:
        part = xp.matmul(slope, scores.k.at(heads)[:, keys])
        part *= scale
        grads[0].add(xp, heads, rows, whole, part)
    if grads[1] is not None:
        queries = scores.q.at(heads)[:, rows] * scale if queries is None else queries
        grads[1].add(xp, heads, keys, whole, xp.matmul(slope.swapaxes(-1, -2), queries))


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
    check_kernels(q, k, v, attn_mask, dropout_p)
    mask: Any = attn_mask
    grouped = enable_gqa and _groups(q, k) * _groups(q, v) > 1
    if grouped:
        q, k, v, mask = _grouped(q, k, v, mask)
    try:
        shape = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2])
        np.broadcast_shapes(shape[:-2], v.shape[:-2])
    except ValueError:
        raise RuntimeError(
            f"scaled_dot_product_attention: the leading dimensions of query {list(q.shape)}, key {list(k.shape)} and "
            f"value {list(v.shape)} must match at non-singleton dimensions"
        ) from None
    allowed: Any = None
    if mask is not None:
        _check_mask(mask, shape)
        if mask.dtype.category == 0:
            with backend.where_it_lies(mask._data):
                mask, allowed = None, mask._data.copy()
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None and q.shape[-1] else 1.0 if scale is None else scale
    found = _attention(q, k, v, mask, _Options(scale, allowed, is_causal, dropout_p, _seed() if dropout_p else 0))
    return found.flatten(-4, -3) if grouped else found


def _seed() -> int:
    """A key for dropout's random numbers, which the backward pass draws again."""
    from ...random import default_generator

    return int(default_generator.integers(0, 2**62, ()))


def _groups(q: Tensor, k: Tensor) -> int:
    """How many heads of ``q`` share one of ``k``."""
    if q.ndim < 3 or k.ndim < 3:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-q.ndim}, {q.ndim - 1}], but got -3)")
    if k.shape[-3] == 0 or q.shape[-3] % k.shape[-3]:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
    return q.shape[-3] // k.shape[-3]


def _grouped(q: Tensor, k: Tensor, v: Tensor, mask: Any) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Each with its heads as two dimensions: those of ``q`` in groups, of which each shares a head of ``k`` and of
    ``v``.  Of the two, the one with fewer heads repeats them."""
    heads, kept = q.shape[-3], max(k.shape[-3], v.shape[-3])
    k, v = (x.repeat_interleave(kept // x.shape[-3], -3) if x.shape[-3] != kept else x for x in (k, v))
    if mask is not None and mask.ndim > 2:
        mask = mask.unsqueeze(-3) if mask.shape[-3] != heads else mask.unflatten(-3, (kept, heads // kept))
    return q.unflatten(-3, (kept, heads // kept)), k.unsqueeze(-3), v.unsqueeze(-3), mask


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
