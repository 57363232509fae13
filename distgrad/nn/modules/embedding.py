"""A table of vectors."""

from __future__ import annotations

import math
from typing import Any, Self

from ..._arguments import integer, number, sizes_of
from ...autograd import Tensor, no_grad
from ...ops import creation
from ...ops.nn.embedding import embedding
from .. import init
from ..base.module import Module
from ..parameter import Parameter


class Embedding(Module):
    """The rows of a table that integers (*) name: (*, embedding_dim).

    The table starts normal; the row of ``padding_idx`` starts at zero and is not trained.

    Args:
        num_embeddings, embedding_dim: rows and columns of the table.
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: as of :func:`distgrad.nn.functional.embedding`.
            With ``sparse`` the gradient holds only the rows used: for ``optim.SparseAdam``, ``optim.SGD``.
        _weight, _freeze: a table to start from, and whether it is not trained; see :meth:`from_pretrained`.
        device, dtype: of the table; by default the CPU and the default dtype.

    Attributes:
        weight: (num_embeddings, embedding_dim).

    >>> table = nn.Embedding(10, 3)
    >>> table(torch.tensor([1, 2, 1])).shape
    torch.Size([3, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes_of("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None:
            integer("Embedding", "padding_idx", padding_idx)
        if max_norm is not None:
            number("Embedding", "max_norm", max_norm, 0)
        if not (isinstance(norm_type, float) and math.isinf(norm_type)):
            number("Embedding", "norm_type", norm_type)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError(f"Padding_idx must be within num_embeddings ({num_embeddings}), got {padding_idx}")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if _weight is None:
            made = creation.empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.weight = Parameter(made, requires_grad=not _freeze)
            self.reset_parameters()
        elif tuple(_weight.shape) != (num_embeddings, embedding_dim):
            raise AssertionError(
                f"Shape of weight {list(_weight.shape)} does not match num_embeddings and embedding_dim "
                f"({num_embeddings}, {embedding_dim})"
            )
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew; the row of ``padding_idx`` is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer over the table ``embeddings`` (num_embeddings, embedding_dim), not trained if ``freeze``."""
        if embeddings.ndim != 2:
            raise AssertionError(f"Embeddings parameter is expected to be 2-dimensional, got {list(embeddings.shape)}")
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)

    def forward(self, input: Tensor) -> Tensor:
        return embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, usual in (("padding_idx", None), ("max_norm", None), ("norm_type", 2), ("scale_grad_by_freq", False)):
            value = getattr(self, name)
            if value != usual:
                text += f", {name}={value}"
        return text + ", sparse=True" * bool(self.sparse)
