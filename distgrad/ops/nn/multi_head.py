"""Attention of several heads: linear maps, scaled dot products, and their many masks."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...autograd import Tensor
from ..creation import zeros, zeros_like
from ..joining import cat
from ..linalg.products import matmul
from .attention import scaled_dot_product_attention
from .dropout import dropout
from .linear import linear
from .padding import pad
from .softmax import softmax

__all__ = ["additive", "multi_head_attention_forward"]


def additive(mask: Tensor | None, name: str, other: Any, other_name: str, dtype: Any, check: bool = True) -> Any:
    """``mask`` as numbers to be added: of a bool one -inf where it is true.

    AssertionError: integers.  A warning where ``other``, of a mask beside it, has another type.
    """
    if mask is None:
        return None
    kind = mask.dtype
    if kind.category != 0 and not kind.is_floating_point:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if check and other is not None and kind != other:
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    return mask if kind.is_floating_point else zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)


def _check_ranks(query: Tensor, key: Tensor, value: Tensor, padding: Any, mask: Any, heads: int) -> bool:
    """Whether the three are batches; AssertionError for ranks that do not go together."""
    n = query.ndim
    if n not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {n}-D query tensor")
    kind = "batched (3-D)" if n == 3 else "unbatched (2-D)"
    if key.ndim != n or value.ndim != n:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {n}-D but found {key.ndim}-D and {value.ndim}-D "
            "tensors respectively"
        )
    if padding is not None and padding.ndim != n - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {n - 1}-D but found {padding.ndim}-D "
            "tensor instead"
        )
    if mask is not None:
        if mask.ndim not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor "
                "instead"
            )
        wanted = (heads, query.shape[0], key.shape[0])
        if n == 2 and mask.ndim == 3 and tuple(mask.shape) != wanted:
            raise AssertionError(f"Expected `attn_mask` shape to be {wanted} but got {mask.shape}")
    return n == 3


def _packed(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The three maps whose weights lie one below the other: one product where the inputs are one."""
    e = q.shape[-1]
    if k is v:
        if q is k:
            first, second, third = linear(q, w, b).split(e, -1)
            return first, second, third
        w_q, w_kv = w.split([e, 2 * e])
        b_q, b_kv = (None, None) if b is None else b.split([e, 2 * e])
        second, third = linear(k, w_kv, b_kv).split(e, -1)
        return linear(q, w_q, b_q), second, third
    bs = (None, None, None) if b is None else b.chunk(3)
    q, k, v = [linear(x, m, c) for x, m, c in zip((q, k, v), w.chunk(3), bs, strict=True)]
    return q, k, v


def _projected(
    q: Tensor, k: Tensor, v: Tensor, packed: Any, bias: Any, separate: tuple[Any, ...] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The three inputs mapped, by a packed weight or by three ``separate`` ones."""
    if separate is None:
        if packed is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        return _packed(q, k, v, packed, bias)
    for name, w in zip("qkv", separate, strict=True):
        if w is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
    bs = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = [linear(x, w, b) for x, w, b in zip((q, k, v), separate, bs, strict=True)]
    return q, k, v


def _by_head(x: Tensor, n: int, size: int) -> Tensor:
    """(S, N, heads · size) as (N · heads, S, size)."""
    return x.reshape(x.shape[0], n, size).transpose(0, 1)


def _longer(mask: Any) -> Any:
    return None if mask is None else pad(mask, (0, 1))


def _check_static(name: str, x: Tensor, n: int, size: int) -> Tensor:
    if x.shape[0] != n:
        raise AssertionError(f"expecting static_{name}.size(0) of {n}, but got {x.shape[0]}")
    if x.shape[2] != size:
        raise AssertionError(f"expecting static_{name}.size(2) of {size}, but got {x.shape[2]}")
    return x


def _check_mask(mask: Tensor, rows: int, length: int, source: int) -> Tensor:
    """``mask`` with a dimension for heads."""
    wanted = (length, source) if mask.ndim == 2 else (rows, length, source)
    if tuple(mask.shape) != wanted:
        raise RuntimeError(
            f"The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should be {wanted}."
        )
    return mask.unsqueeze(0) if mask.ndim == 2 else mask


def _joined(mask: Any, padding: Any, n: int, heads: int, source: int) -> Any:
    """Both masks as one."""
    if padding is None:
        return mask
    if tuple(padding.shape) != (n, source):
        raise AssertionError(f"expecting key_padding_mask shape of {(n, source)}, but got {padding.shape}")
    padding = padding.view(n, 1, 1, source).expand(-1, heads, -1, -1).reshape(n * heads, 1, source)
    return padding if mask is None else mask + padding


def _weighed(q: Tensor, k: Tensor, v: Tensor, mask: Any, p: float) -> tuple[Tensor, Tensor]:
    """Of (rows, L, D), (rows, S, D) and (rows, S, D): the mean values (rows, L, D), and the weights (rows, L, S)."""
    scores = matmul(q * math.sqrt(1.0 / q.shape[-1]), k.transpose(-2, -1))
    weights = softmax(scores if mask is None else mask + scores, -1)
    if p > 0:
        weights = dropout(weights, p)
    return matmul(weights, v), weights


def _attended(q: Tensor, k: Tensor, v: Tensor, mask: Any, n: int, p: float, is_causal: bool) -> Tensor:
    """The same without the weights."""
    heads, source = q.shape[0] // n, k.shape[1]
    if mask is not None:
        mask = mask.unsqueeze(0) if mask.shape[0] == 1 and mask.ndim == 3 else mask.view(n, heads, -1, source)
    q, k, v = (x.view(n, heads, x.shape[1], x.shape[2]) for x in (q, k, v))
    found = scaled_dot_product_attention(q, k, v, mask, p, is_causal)
    return found.reshape(n * heads, found.shape[2], found.shape[3])


def _masks(
    padding: Any, mask: Any, is_causal: bool, need_weights: bool, dtype: Any
) -> tuple[Any, Any, bool]:
    """Both masks as numbers, and whether causality stands in the place of ``mask``."""
    padding = additive(padding, "key_padding_mask", None if mask is None else mask.dtype, "attn_mask", dtype)
    if is_causal and mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if is_causal and padding is None and not need_weights:
        return None, None, True
    return padding, additive(mask, "attn_mask", None, "", dtype, False), False


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
    out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True,
    key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention of several heads (Vaswani et al. 2017, arXiv:1706.03762): what :class:`distgrad.nn.MultiheadAttention`
    computes, which says what the arguments are.

    Args:
        query, key, value: (L, N, E), (S, N, Ek), (S, N, Ev), or without N.
        static_k, static_v: (N · heads, S, E / heads), in the places of key and value after their maps.

    Returns:
        (L, N, E), and the weights: (N, L, S), the heads' mean, or, not averaged, (N, heads, L, S); None if not needed.

    Raises:
        AssertionError: sizes and ranks that do not fit.  RuntimeError: a mask of another shape.

    >>> x = torch.ones(2, 1, 4)
    >>> w, none = torch.eye(4), (None, None)
    >>> F.multi_head_attention_forward(x, x, x, 4, 2, torch.cat([w, w, w]), None, *none, False, 0.0, w, None)[1]
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    batched = _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = query is key, key is value
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, n, e = query.shape
    padding, mask, is_causal = _masks(key_padding_mask, attn_mask, is_causal, need_weights, query.dtype)
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias, separate)
    rows, size = n * num_heads, e // num_heads
    if mask is not None:
        mask = _check_mask(mask, rows, length, k.shape[0])
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k, v = cat([k, bias_k.repeat(1, n, 1)]), cat([v, bias_v.repeat(1, n, 1)])
        mask, padding = _longer(mask), _longer(padding)
    q = _by_head(q, rows, size)
    k = _by_head(k, rows, size) if static_k is None else _check_static("k", static_k, rows, size)
    v = _by_head(v, rows, size) if static_v is None else _check_static("v", static_v, rows, size)
    if add_zero_attn:
        none = zeros(rows, 1, size, dtype=k.dtype, device=k.device)
        k, v = cat([k, none], 1), cat([v, none], 1)
        mask, padding = _longer(mask), _longer(padding)
    mask = _joined(mask, padding, n, num_heads, k.shape[1])
    p = dropout_p if training else 0.0
    weights: Tensor | None = None
    if need_weights:
        out, weights = _weighed(q, k, v, mask, p)
        weights = weights.view(n, num_heads, length, k.shape[1])
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        out = _attended(q, k, v, mask, n, p, is_causal)
    out = linear(out.transpose(0, 1).reshape(length * n, e), out_proj_weight, out_proj_bias)
    out = out.view(length, n, out.shape[1])
    return out if batched else out.squeeze(1), weights


def _check_sizes(query: Tensor, key: Tensor, value: Tensor, e: int, heads: int, separate: bool) -> None:
    if query.shape[2] != e:
        raise AssertionError(f"was expecting embedding dimension of {e}, but got {query.shape[2]}")
    if e % heads:
        raise AssertionError(f"embed_dim {e} not divisible by num_heads {heads}")
    if separate and tuple(key.shape[:2]) != tuple(value.shape[:2]):
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    if not separate and tuple(key.shape) != tuple(value.shape):
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
