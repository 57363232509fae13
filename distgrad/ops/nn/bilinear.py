"""The bilinear form of two vectors."""

from __future__ import annotations

from ..._arguments import checked
from ...autograd import Tensor
from ..linalg.products import matmul

__all__ = ["bilinear"]


@checked
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1ᵀ A x2 + b for each output.

    Args:
        input1, input2: x1 (*, I), x2 (*, J).
        weight: A of each output, (K, I, J).
        bias: b (K).

    Returns:
        (*, K).

    Raises:
        RuntimeError: sizes that do not fit.

    >>> F.bilinear(torch.tensor([1.0, 2.0]), torch.tensor([3.0]), torch.ones(1, 2, 1))
    tensor([9.])
    """
    if input1.ndim != input2.ndim:
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}"
        )
    for d in range(input1.ndim - 1):
        if input1.shape[d] != input2.shape[d]:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {d}: got {input1.shape[d]} and "
                f"{input2.shape[d]}"
            )
    for k, x in enumerate((input1, input2), 1):
        if x.shape[-1] != weight.shape[k]:
            raise RuntimeError(
                f"bilinear(): input{k} size does not match weight size: got {x.shape[-1]} but expected "
                f"{weight.shape[k]}"
            )
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected {weight.shape[0]}"
        )
    k, i, j = weight.shape
    lead = input1.shape[:-1]
    one, two = input1.reshape(-1, i), input2.reshape(-1, 1, j)
    half = matmul(one, weight.permute(1, 0, 2).reshape(i, k * j)).view(-1, k, j)
    out = (half * two).sum(-1).view(*lead, k)
    return out if bias is None else out + bias
