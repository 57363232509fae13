"""The Transformer (Vaswani et al. 2017, arXiv:1706.03762), its encoder and its decoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ...autograd import Tensor
from ...ops import creation
from ...ops.nn.multi_head import additive
from .. import functional as F, init
from ..base.module import Module
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear
from .normalization import LayerNorm

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
           "TransformerEncoderLayer"]  # fmt: skip

Activation = str | Callable[[Tensor], Tensor]


def _causal_mask(size: int, device: Any = None, dtype: Any = None) -> Tensor:
    """(size, size): -inf where a column is beyond the row, else 0."""
    return creation.full((size, size), float("-inf"), dtype=dtype, device=device).triu(diagonal=1)


def _is_causal(mask: Tensor | None, hint: bool | None, size: int | None = None) -> bool:
    """Whether ``mask`` is the causal one: as the ``hint`` says, or, without it, as its values say."""
    if hint is not None or mask is None:
        return bool(hint)
    if mask.dtype.category == 0:
        return False
    wanted = _causal_mask(size if size is not None else mask.shape[-2], mask.device, mask.dtype)
    return mask.shape == wanted.shape and bool((mask == wanted).all())


def _length(x: Tensor, batch_first: bool) -> int | None:
    return x.shape[0] if x.ndim == 2 else x.shape[1 if batch_first else 0] if x.ndim == 3 else None


def _function(activation: Activation) -> Any:
    if not isinstance(activation, str):
        return activation
    if activation in ("relu", "gelu"):
        return getattr(F, activation)
    raise RuntimeError(f"activation should be relu/gelu, not {activation}")


class _Layer(Module):
    """What both kinds of layer share: attention to oneself, a network of two layers, sums and norms."""

    activation: Any

    def _build(
        self, sizes: tuple[int, int, int], dropout: float, activation: Activation, eps: float, batch_first: bool,
        norm_first: bool, bias: bool, attentions: tuple[str, ...], made: dict[str, Any],
    ) -> None:  # fmt: skip
        d_model, nhead, wide = sizes
        for name in attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **made)
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, wide, bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(wide, d_model, bias, **made)
        self.norm_first = norm_first
        count = len(attentions) + 1
        for i in range(1, count + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, eps, bias=bias, **made))
        for i in range(1, count + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _function(activation)

    def _attend(self, attention: Any, x: Tensor, memory: Tensor, mask: Any, padding: Any, causal: bool) -> Tensor:
        return attention(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
        )[0]

    def _feed(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _through(self, x: Tensor, parts: list[Any]) -> Tensor:
        """``x`` plus what each part makes of it, normalised after the sum or before the part."""
        for i, part in enumerate(parts, 1):
            norm, drop = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
            x = x + drop(part(norm(x))) if self.norm_first else norm(x + drop(part(x)))
        return x


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, and a network of two linear layers at each of its places.

    ``layer(src, src_mask=None, src_key_padding_mask=None, is_causal=False)``: (L, N, d_model), with ``batch_first``
    (N, L, d_model), or (L, d_model); masks as of :class:`MultiheadAttention`.

    Args:
        d_model, nhead: the size of the sequence's vectors, and in how many heads they attend.
        dim_feedforward: the size between the two linear layers.
        dropout: the probability of all dropout, in training.
        activation: between the two: ``"relu"``, ``"gelu"`` (RuntimeError for another text) or a function.
        layer_norm_eps: of the two layer normalizations.
        batch_first: see above.
        norm_first: normalise before each part instead of after (Xiong et al. 2020, arXiv:2002.04745).
        bias: whether linear layers and normalizations have one.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    >>> layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8)
    >>> layer(torch.ones(5, 3, 4)).shape
    torch.Size([5, 3, 4])
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self._build((d_model, nhead, dim_feedforward), dropout, activation, layer_norm_eps, batch_first, norm_first,
                    bias, ("self_attn",), made)  # fmt: skip

    def forward(
        self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        kind = None if src_mask is None else src_mask.dtype
        padding = additive(src_key_padding_mask, "src_key_padding_mask", kind, "src_mask", src.dtype)
        mask = additive(src_mask, "src_mask", None, "", src.dtype, False)
        return self._through(
            src, [lambda x: self._attend(self.self_attn, x, x, mask, padding, is_causal), self._feed]
        )


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself, then to ``memory``, and a network of two linear layers at each of its places.

    ``layer(tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None,
    tgt_is_causal=False, memory_is_causal=False)``: (T, N, d_model) and (S, N, d_model).  The arguments are those of
    :class:`TransformerEncoderLayer`.

    >>> layer = nn.TransformerDecoderLayer(4, 2, dim_feedforward=8)
    >>> layer(torch.ones(5, 3, 4), torch.ones(7, 3, 4)).shape
    torch.Size([5, 3, 4])
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self._build((d_model, nhead, dim_feedforward), dropout, activation, layer_norm_eps, batch_first, norm_first,
                    bias, ("self_attn", "multihead_attn"), made)  # fmt: skip

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        def own(x: Tensor) -> Tensor:
            return self._attend(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)

        def other(x: Tensor) -> Tensor:
            return self._attend(
                self.multihead_attn, x, memory, memory_mask, memory_key_padding_mask, memory_is_causal
            )

        return self._through(tgt, [own, other, self._feed])


def _copies(layer: Module, n: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(n)])


class TransformerEncoder(Module):
    """Copies of an encoder layer, one upon the other, and perhaps a normalization at the end.

    ``encoder(src, mask=None, src_key_padding_mask=None, is_causal=None)``, as of the layer; ``is_causal`` None: found
    out from the mask.

    Args:
        encoder_layer: a :class:`TransformerEncoderLayer`, or a module called like one.
        num_layers: how many copies.
        norm: a module at the end.
        enable_nested_tensor, mask_check: taken, and without effect: there are no nested tensors.

    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2)
    >>> encoder(torch.ones(5, 3, 4)).shape
    torch.Size([5, 3, 4])
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None, enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:  # fmt: skip
        kind = None if mask is None else mask.dtype
        padding = additive(src_key_padding_mask, "src_key_padding_mask", kind, "mask", src.dtype)
        mask = additive(mask, "mask", None, "", src.dtype, False)
        first = getattr(self.layers[0], "self_attn", None) if len(self.layers) else None
        causal = _is_causal(mask, is_causal, _length(src, getattr(first, "batch_first", False)))
        for layer in self.layers:
            src = layer(src, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of a decoder layer, one upon the other, and perhaps a normalization at the end.

    ``decoder(tgt, memory, …)``, as of the layer; ``tgt_is_causal`` None: found out from the mask.

    Args:
        decoder_layer: a :class:`TransformerDecoderLayer`, or a module called like one.
        num_layers: how many copies.
        norm: a module at the end.

    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2)
    >>> decoder(torch.ones(5, 3, 4), torch.ones(7, 3, 4)).shape
    torch.Size([5, 3, 4])
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        first = getattr(self.layers[0], "self_attn", None) if len(self.layers) else None
        causal = _is_causal(tgt_mask, tgt_is_causal, _length(tgt, getattr(first, "batch_first", False)))
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder, and a decoder that attends to what it gives.

    ``transformer(src, tgt, …)``: (S, N, d_model) and (T, N, d_model), with ``batch_first`` N first, or without N; it
    gives (T, N, d_model).  Matrices start by :func:`distgrad.nn.init.xavier_uniform_`.

    Args:
        num_encoder_layers, num_decoder_layers: how many layers each has.
        custom_encoder, custom_decoder: modules in their places.
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps: as of :class:`TransformerEncoderLayer`.
        batch_first, norm_first, bias, device, dtype: likewise.

    Raises:
        RuntimeError: batches or vectors of src and tgt that do not fit.

    >>> transformer = nn.Transformer(4, 2, 1, 1, 8)
    >>> transformer(torch.ones(5, 3, 4), torch.ones(7, 3, 4)).shape
    torch.Size([7, 3, 4])
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu,
        custom_encoder: Any = None, custom_decoder: Any = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        made = {"device": device, "dtype": dtype}
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        if custom_encoder is None:
            one: Module = TransformerEncoderLayer(*layer, **made)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
            custom_encoder = TransformerEncoder(one, num_encoder_layers, norm)
        self.encoder = custom_encoder
        if custom_decoder is None:
            one = TransformerDecoderLayer(*layer, **made)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
            custom_decoder = TransformerDecoder(one, num_decoder_layers, norm)
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz): -inf where a place would see a later one, else 0.

        >>> nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return _causal_mask(sz, device, dtype)

    def forward(
        self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        at = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[at] != tgt.shape[at]:
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip
