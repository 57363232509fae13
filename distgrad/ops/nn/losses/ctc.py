"""Connectionist temporal classification: the likelihood of a sequence of labels that is not aligned with the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .... import backend
from ...._arguments import checked
from ....autograd import Tensor, fused
from ..._declare import raw, wide
from ...selection import where
from .common import known, tensors

__all__ = ["ctc_loss"]


def _no_second(*args: Any) -> Any:
    raise RuntimeError("derivative for aten::_ctc_loss_backward is not implemented")


def _paths(xp: Any, labels: Any, blank: int) -> tuple[Any, Any]:
    """The labels (N, S) with a blank around each, (N, 2 S + 1), and where a path may go past the blank before."""
    n, s = labels.shape
    around = xp.full((n, 2 * s + 1), blank, labels.dtype)
    around[:, 1::2] = labels
    past = xp.zeros(around.shape, bool)
    past[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    return around, past


def _moved(xp: Any, a: Any, by: int) -> Any:
    """The columns of ``a`` moved ``by`` to the right, or, if that is negative, to the left; -inf comes in."""
    out = xp.full_like(a, -np.inf)
    if a.shape[1] > abs(by):
        if by > 0:
            out[:, by:] = a[:, :-by]
        else:
            out[:, :by] = a[:, -by:]
    return out


def _at_ends(xp: Any, a: Any, lengths: Any) -> Any:
    """The sum, as logarithms, of the two places (N) at which a path may end."""
    rows = xp.arange(len(a))
    before = a[rows, xp.maximum(2 * lengths - 1, 0)]
    return xp.logaddexp(a[rows, 2 * lengths], xp.where(lengths > 0, before, -np.inf))


@fused(reference=_no_second, inputs=1, grad_name="CtcLossBackward0")
def _ctc(xp, logs, labels, steps, lengths, blank, zero_infinity):
    """-log of the sum over all paths that give the labels, of (T, N, C), (N, S), (N) and (N): (N).

    Forwards: the logarithm of the sum over the beginnings of paths that are at each label or blank at each step."""
    kind, logs = logs.dtype, wide(logs)
    t = len(logs)
    around, past = _paths(xp, labels, blank)
    at = xp.take_along_axis(logs, xp.broadcast_to(around, (t, *around.shape)), 2)
    alpha = xp.full_like(at, -np.inf)
    likely = xp.where(lengths > 0, xp.asarray(-np.inf, logs.dtype), xp.asarray(0, logs.dtype))
    for i in range(t):
        if i == 0:
            alpha[0, :, :2] = at[0, :, :2]
        else:
            a = xp.logaddexp(alpha[i - 1], _moved(xp, alpha[i - 1], 1))
            a = xp.logaddexp(a, xp.where(past, _moved(xp, alpha[i - 1], 2), xp.asarray(-np.inf, a.dtype)))
            alpha[i] = a + at[i]
        likely = xp.where(steps == i + 1, _at_ends(xp, alpha[i], lengths), likely)
    return (-likely).astype(kind, copy=False), (alpha, at, around, past)


@_ctc.defbackward
def _ctc_backward(xp, g, ans, kept, wanted, logs, labels, steps, lengths, blank, zero_infinity):
    """The gradient below log_softmax, as in PyTorch: the probabilities minus how much each class is used (Graves et al.
    2006, doi:10.1145/1143844.1143891, equation 16)."""
    kind, logs, g, ans = logs.dtype, wide(logs), wide(g), wide(ans)
    alpha, at, around, past = kept
    t, c = len(logs), logs.shape[2]
    beta = xp.full_like(at, -np.inf)
    places = xp.arange(around.shape[1])
    ends = (places == 2 * lengths[:, None]) | ((places == 2 * lengths[:, None] - 1) & (lengths[:, None] > 0))
    nothing = xp.asarray(-np.inf, at.dtype)
    for i in range(t - 1, -1, -1):
        if i < t - 1:
            after = beta[i + 1]
            b = xp.logaddexp(after, _moved(xp, after, -1))
            beta[i] = xp.logaddexp(b, _moved(xp, xp.where(past, after, nothing), -2)) + at[i]
        beta[i] = xp.where((steps == i + 1)[:, None], xp.where(ends, at[i], nothing), beta[i])
    both = alpha + beta
    possible = xp.isfinite(both) & xp.isfinite(ans)[:, None]
    share = xp.where(possible, xp.exp(xp.where(possible, both - at + ans[:, None], 0)), 0)
    one_hot = (around[:, :, None] == xp.arange(c)).astype(logs.dtype)
    used = xp.matmul(share.transpose(1, 0, 2), one_hot).transpose(1, 0, 2)
    d = (xp.exp(logs) - used) * g[:, None]
    d = xp.where(xp.isinf(ans)[:, None], xp.asarray(0 if zero_infinity else np.nan, d.dtype), d)
    d = xp.where((xp.arange(t)[:, None] < steps)[:, :, None], d, xp.asarray(0, d.dtype))
    return (d.astype(kind, copy=False),)


def _lengths(given: Any, name: str, n: int) -> np.ndarray:
    found = np.asarray(given.tolist() if isinstance(given, Tensor) else given, np.int64).reshape(-1)
    if len(found) != n:
        raise RuntimeError(f"{name} must be of size batch_size")
    if len(found) and found.min() < 0:
        raise RuntimeError(f"Expected {name} to have value at least 0, but got value {found.min()}")
    return found


def _padded(targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The labels of each sequence in a row of its own, with zeros behind."""
    n, most = len(lengths), int(lengths.max(initial=0))
    labels = np.zeros((n, most), np.int64)
    if targets.ndim == 1 and targets.size < lengths.sum():
        raise RuntimeError(
            f"Expected tensor to have size at least {lengths.sum()}, but got size {targets.size} for argument #2 "
            "'targets' (while checking arguments for ctc_loss_allocate_outputs)"
        )
    if targets.ndim == 2 and targets.shape[1] < most:
        raise RuntimeError(
            f"Expected tensor to have size at least {most} at dimension 1, but got size {targets.shape[1]} for "
            "argument #2 'targets' (while checking arguments for ctc_loss_allocate_outputs)"
        )
    at = np.concatenate(([0], np.cumsum(lengths)))
    for i, length in enumerate(lengths):
        row = targets[i] if targets.ndim == 2 else targets[at[i] :]
        labels[i, :length] = row[:length]
    return labels


@checked
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of all paths that give the target: a path names a class or the blank at each step, and
    gives its classes without blanks and without repetitions (Graves et al. 2006, doi:10.1145/1143844.1143891).

    Args:
        log_probs: logarithms of probabilities, as of :func:`log_softmax`, (T, N, C) or (T, C).
        targets: classes, (N, S), or those of all sequences in one row.
        input_lengths, target_lengths: how many steps and classes each sequence has, (N) or ().
        blank: the class that stands for none.
        reduction: ``"mean"`` divides each by its target's length, and averages; ``"sum"``; ``"none"`` gives (N) or ().
        zero_infinity: 0, with a gradient of 0, where a target is too long for its steps.

    Raises:
        ValueError: another reduction.
        RuntimeError: lengths that do not fit, a blank that is no class; a second derivative, which is not known.

    The gradient is the one below :func:`log_softmax`, as PyTorch's.

    >>> logs = torch.zeros(2, 1, 2).log_softmax(2)
    >>> F.ctc_loss(logs, torch.tensor([[1]]), [2], [1])    # of four paths three: _1, 1_, 11
    tensor(0.2877)
    """
    tensors("ctc_loss", log_probs=log_probs, targets=targets)
    reduction = known(reduction)
    single = log_probs.ndim == 2
    logs = log_probs.unsqueeze(1) if single else log_probs
    if logs.ndim != 3:
        raise RuntimeError(f"Expected tensor to have 3 dimensions, but got {log_probs.ndim} (in ctc_loss)")
    t, n, c = logs.shape
    if not 0 <= blank < c:
        raise RuntimeError("blank must be in label range")
    steps, lengths = _lengths(input_lengths, "input_lengths", n), _lengths(target_lengths, "target_lengths", n)
    if len(steps) and steps.max() > t:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {t}, but got value {steps.max()} (while checking arguments "
            "for ctc_loss_allocate_outputs)"
        )
    labels = _padded(np.asarray(targets.detach().cpu().numpy()), lengths)
    x = raw(logs)
    with backend.where_it_lies(x):
        xp = backend.array_module(x)
        loss = _ctc(logs, xp.asarray(labels), xp.asarray(steps), xp.asarray(lengths), blank, bool(zero_infinity))
        if zero_infinity:
            loss = where(Tensor._wrap(xp.isinf(raw(loss)), None), 0.0, loss)
        if reduction == "mean":
            return (loss / Tensor._wrap(xp.asarray(np.maximum(lengths, 1)).astype(raw(loss).dtype), None)).mean()
    return loss.sum() if reduction == "sum" else loss.squeeze(0) if single else loss
