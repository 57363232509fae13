"""Attention of several heads, as a module."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor
from ...ops import creation
from ...ops.nn.multi_head import additive, multi_head_attention_forward
from .. import init
from ..base.module import Module
from ..parameter import Parameter
from .linear import NonDynamicallyQuantizableLinear

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Of each query a mean of values, weighted by how well their keys meet it, in several heads, each of its own linear
    maps of queries, keys and values, joined by another (Vaswani et al. 2017, arXiv:1706.03762).

    ``attention(query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
    average_attn_weights=True, is_causal=False)``: (L, N, embed_dim), (S, N, kdim), (S, N, vdim), with ``batch_first``
    N before L and S, or without N.  ``key_padding_mask`` (N, S) and ``attn_mask`` (L, S) or (N · heads, L, S) are true
    where a key may *not* be seen, or numbers to be added.  ``is_causal`` says that ``attn_mask`` is the causal one.  It
    gives (L, N, embed_dim), and the weights (N, L, S), (N, heads, L, S) if not averaged, or None if not needed, which
    is quicker.

    Args:
        embed_dim: the size of queries and of the result.
        num_heads: each of size embed_dim / num_heads.
        dropout: with what probability, in training, a weight is dropped.
        bias: whether the linear maps have one.
        add_bias_kv: one key and value more, which are learnt.
        add_zero_attn: one key and value more, of zeros.
        kdim, vdim: the sizes of keys and values, by default ``embed_dim``.
        batch_first: see above.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Raises:
        ValueError: sizes below 1.  AssertionError: heads that do not divide ``embed_dim``; inputs that do not fit.

    >>> attention = nn.MultiheadAttention(4, 2, batch_first=True)
    >>> x = torch.ones(3, 5, 4)
    >>> out, weights = attention(x, x, x)
    >>> out.shape, weights.shape
    (torch.Size([3, 5, 4]), torch.Size([3, 5, 5]))
    """

    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def made(*shape: int) -> Parameter:
            return Parameter(creation.empty(*shape, device=device, dtype=dtype))

        apart = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        packed = self._qkv_same_embed_dim
        if packed:
            self.in_proj_weight = made(3 * embed_dim, embed_dim)
        for name, size in apart.items():
            self.register_parameter(name, None if packed else made(embed_dim, size))
        if not packed:
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", made(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            if add_bias_kv:
                self.register_parameter(name, made(1, 1, embed_dim))
            else:
                setattr(self, name, None)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight",) if self._qkv_same_embed_dim else (f"{k}_proj_weight" for k in "qkv"):
            init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for parameter in (self.bias_k, self.bias_v):
            if parameter is not None:
                init.xavier_normal_(parameter)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        turned = self.batch_first and query.ndim == 3
        if turned:
            same = query is key, key is value
            query = query.transpose(1, 0)
            key = query if same[0] else key.transpose(1, 0)
            value = key if same[1] else value.transpose(1, 0)
        key_padding_mask = additive(
            key_padding_mask, "key_padding_mask", None if attn_mask is None else attn_mask.dtype, "attn_mask",
            query.dtype,
        )  # fmt: skip
        attn_mask = additive(attn_mask, "attn_mask", None, "", query.dtype, False)
        packed = self._qkv_same_embed_dim
        out, weights = multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training,
            key_padding_mask, need_weights, attn_mask, not packed, self.q_proj_weight, self.k_proj_weight,
            self.v_proj_weight, average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return out.transpose(1, 0) if turned else out, weights
