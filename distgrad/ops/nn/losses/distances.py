"""Distances between vectors, and the losses of pairs and triplets that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...._arguments import checked
from ....autograd import Tensor, primitive
from ..._declare import in_float32
from ...arithmetic import minimum
from ...elementwise import sqrt
from ...norms import norm
from ...selection import where
from .common import fits, known, legacy_reduction, promoted, reduced, tensors


@checked
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False) -> Tensor:
    """The ``p``-norm of ``x1 - x2 + eps`` over the last dimension.

    Args:
        x1, x2: vectors (N, D) or (D), broadcast.
        keepdim: (N, 1) instead of (N).

    >>> F.pairwise_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    tensors("pairwise_distance", x1=x1, x2=x2)
    fits(x1._data.shape, x2._data.shape, "pairwise_distance")
    return norm(x1 - x2 + eps, p, -1, keepdim)


def _length(x: Tensor, dim: int, eps: float) -> Tensor:
    """The 2-norm over ``dim``, kept, at least ``eps``: a limit that its gradient does not see."""
    return _raised(norm(x, 2.0, dim, True), eps)


@primitive(grad_name="CloneBackward0")
@in_float32
def _raised(xp, x, least):
    """At least ``least``; the gradient passes everywhere."""
    return xp.maximum(x, least)


_raised.defvjp(lambda g, ans, x, least: g, saves="")


@checked
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """The cosine of the angle between vectors along ``dim``, whose norms count as at least ``eps``.

    Args:
        x1, x2: floating-point tensors, broadcast; the result has their shape without ``dim``.

    Raises:
        RuntimeError: integers.  IndexError: no such dimension.

    >>> F.cosine_similarity(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.7071])
    """
    tensors("cosine_similarity", x1=x1, x2=x2)
    x1, x2 = promoted(x1, x2)
    if not (x1.dtype.is_floating_point or x1.dtype.is_complex):
        raise RuntimeError(
            f"cosine_similarity: expected common dtype to be floating point, yet common dtype is {x1.dtype}"
        )
    shape = fits(x1._data.shape, x2._data.shape, "cosine_similarity")
    x1, x2 = (x if x._data.shape == shape else x.expand(shape) for x in (x1, x2))
    return ((x1 / _length(x1, dim, eps)) * (x2 / _length(x2, dim, eps))).sum(dim)


@checked
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``input`` where the target is 1, max(0, margin - input) where it is -1; both broadcast.

    >>> F.hinge_embedding_loss(torch.tensor([0.5, 0.5]), torch.tensor([1, -1]))
    tensor(0.5000)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("hinge_embedding_loss", input=input, target=target)
    reduction = known(reduction)
    fits(input._data.shape, target._data.shape, "hinge_embedding_loss")
    y = target.detach()
    apart = where(y != 1, (margin - input).clamp_min(0), 0)
    return reduced(apart + where(y != -1, input, 0), reduction)


@checked
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    Args:
        input1, input2: (N, D) or (D).  target: (N) or ().

    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> F.cosine_embedding_loss(a, b, torch.tensor([1]))
    tensor(1.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("cosine_embedding_loss", input1=input1, input2=input2, target=target)
    reduction = known(reduction)
    n = target.ndim
    if n > 1:
        raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported; got {list(target.shape)}")
    if input1.ndim != n + 1 or input2.ndim != n + 1:
        raise RuntimeError(
            f"{n}D target tensor expects {n + 1}D input tensors, but found inputs with sizes {list(input1.shape)} and "
            f"{list(input2.shape)}."
        )
    fits(input1._data.shape, input2._data.shape, "cosine_embedding_loss")
    least = 1e-12
    squares = ((input1 * input1).sum(n) + least) * ((input2 * input2).sum(n) + least)
    cos = (input1 * input2).sum(n) / sqrt(squares)
    fits(cos._data.shape, target._data.shape, "cosine_embedding_loss")
    y = target.detach()
    return reduced(where(y == 1, 1 - cos, 0.0) + where(y == -1, (cos - float(margin)).clamp_min(0), 0.0), reduction)


@checked
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y (input1 - input2) + margin): y = 1 asks for the first to be the larger, -1 for the second.

    Args:
        input1, input2, target: of one rank, broadcast; RuntimeError for others.

    >>> F.margin_ranking_loss(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1]))
    tensor(2.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("margin_ranking_loss", input1=input1, input2=input2, target=target)
    reduction = known(reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    pair = fits(input1._data.shape, input2._data.shape, "margin_ranking_loss")
    fits(target._data.shape, pair, "margin_ranking_loss")
    return reduced((-target * (input1 - input2) + float(margin)).clamp_min(0), reduction)


@checked
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-06,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the :func:`pairwise_distance` (Balntas et al. 2016,
    doi:10.5244/C.30.119).

    Args:
        anchor, positive, negative: (N, D) or (D), of one rank.
        swap: take d(positive, negative) where that is the smaller distance to the negative.

    Raises:
        ValueError: a margin that is not positive.  RuntimeError: ranks or sizes that don't fit.

    >>> F.triplet_margin_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2), margin=2.0)
    tensor(0.5858)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    tensors("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    reduction = known(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    near: Any = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced((near - far + margin).clamp_min(0), reduction)


@checked
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with a distance of one's own, by default :func:`pairwise_distance`.

    Raises:
        ValueError: a margin that is not positive, another reduction.  RuntimeError: ranks that don't fit.

    >>> one, none = torch.ones(1, 2), torch.zeros(1, 2)
    >>> F.triplet_margin_with_distance_loss(none, none, one, distance_function=lambda a, b: (a - b).abs().sum(-1))
    tensor(0.)
    """
    tensors("triplet_margin_with_distance_loss", anchor=anchor, positive=positive, negative=negative)
    reduction = known(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    distance: Any = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), reduction)
