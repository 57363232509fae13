"""Negative log-likelihoods of regression, and the divergence of distributions."""

from __future__ import annotations

import math
import warnings

from ...._arguments import checked
from ....autograd import Tensor, no_grad
from ....backend import where_it_lies
from ...arithmetic import xlogy
from ...creation import full_like
from ...elementwise import exp, log
from .common import REDUCTIONS, fits, known, legacy_reduction, reduced, tensors


@checked
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-06,
    reduction: str = "mean",
) -> Tensor:
    """(log var + (input - target)² / var) / 2: a normal distribution's, but for a constant (Nix & Weigend 1994).

    Args:
        input: expectations, of shape (*).  target: samples, broadcast.
        var: variances: a float, or of the input's shape, of that without the last dimension, or with one dimension 1.
        full: add the constant log(2 pi) / 2.
        eps: the variances are at least this; the gradient does not see it.

    Raises:
        ValueError: a negative variance, variances of another size, an unknown reduction.

    >>> F.gaussian_nll_loss(torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([1.0]))
    tensor(2.)
    """
    tensors("gaussian_nll_loss", input=input, target=target)
    if isinstance(var, float):
        if var < 0:
            raise ValueError(f"var has negative entry/entries: {var}")
        spread = full_like(input, var)
    else:
        tensors("gaussian_nll_loss", var=var)
        with where_it_lies(var._data):
            if bool((var._data < 0).any()):
                raise ValueError("var has negative entry/entries")
        spread = var
    a, b = input._data.shape, spread._data.shape
    if a != b:
        if a[:-1] == b:
            spread = spread.unsqueeze(-1)
        elif len(a) != len(b) or sum(n for m, n in zip(a, b, strict=True) if m != n) != 1:
            raise ValueError(f"var is of incorrect size: {list(b)}; the input's is {list(a)}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not valid; the values are none, mean, sum")
    fits(a, target._data.shape, "gaussian_nll_loss")
    spread = spread.clone()
    with no_grad():
        spread.clamp_(min=eps)
    off = input - target
    loss = (log(spread) + off * off / spread) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@checked
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-08,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target * input, or of expectations (``log_input`` False) input - target * log(input + eps).

    Args:
        input: logarithms of expectations, or expectations, of shape (*).  target: counts, broadcast.
        full: add Stirling's approximation of log(target!) for targets above 1.

    >>> F.poisson_nll_loss(torch.tensor([0.0]), torch.tensor([2.0]))
    tensor(1.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction; the values are none, mean, sum")
    tensors("poisson_nll_loss", input=input, target=target)
    fits(input._data.shape, target._data.shape, "poisson_nll_loss")
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        stirling = target * log(target) - target + log(target * (2 * math.pi)) * 0.5
        loss = loss + stirling.masked_fill(target.detach() <= 1, 0).to(loss.dtype)
    return reduced(loss, reduction)


@checked
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - input): the divergence of distributions (Kullback & Leibler 1951,
    doi:10.1214/aoms/1177729694).

    Args:
        input: log-probabilities, of shape (*).
        target: probabilities, or log-probabilities with ``log_target``; broadcast.
        reduction: ``"batchmean"`` is the definition: the sum over the first dimension's size; ``"mean"`` divides by
            the number of elements, and warns of it.

    Raises:
        RuntimeError: integers or complex numbers.

    >>> p = torch.tensor([[0.5, 0.5]])
    >>> F.kl_div(torch.log(p), p, reduction="batchmean")
    tensor(0.)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    elif reduction == "mean":
        warnings.warn(
            "reduction='mean' divides the loss by the number of elements; 'batchmean' divides by the batch size alone, "
            "which is the divergence as it is defined",
            stacklevel=3,
        )
    tensors("kl_div", input=input, target=target)
    by_batch = reduction == "batchmean"
    reduction = "sum" if by_batch else known(reduction)
    for t in (input, target):
        if not t.dtype.is_floating_point:
            raise RuntimeError(f"kl_div: {'Complex' if t.dtype.is_complex else 'Integral'} inputs not supported.")
    fits(input._data.shape, target._data.shape, "kl_div")
    loss = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    out = reduced(loss, reduction)
    return out / input.shape[0] if by_batch and input.ndim else out
