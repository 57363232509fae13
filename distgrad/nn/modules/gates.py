"""Gated activations as modules: the output is half as large as the input."""

from __future__ import annotations

from ...autograd import Tensor
from .. import functional as F
from ..base.module import Module

__all__ = ["GLU"]


class GLU(Module):
    """a · sigmoid(b), a and b being the halves of the input along ``dim``, by default the last.

    >>> nn.GLU()(torch.tensor([2.0, 4.0, 0.0, 0.0]))
    tensor([1., 2.])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
