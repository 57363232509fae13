"""Normalization: values brought to mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import backend, dtypes
from ..._arguments import checked
from ...autograd import Tensor, fused
from ...autograd.views import refresh
from .._declare import needs_tensor
from .._layout import as_rows, lies_last, turned, turned_back
from ..elementwise import sqrt

# In what follows x (N, C, *) is taken as (N, C) or (N, C, L), and what is one number a channel is an array (C).  Where
# the channels lie last in memory it is (N L / k, k C), for long rows are quicker: each channel is there k times.

_LONG = 2**11  # elements in a row


def _by_rows(x: Any) -> bool:
    return lies_last(x) and x.dtype.itemsize > 2 and x.size > 0


def _channels_second(x: Any) -> Any:
    """``x`` as (N, C), or as (N, C, L) where that is more; float16 and bfloat16 as float32, to compute in."""
    if _by_rows(x):
        rows = as_rows(x)
        k = math.gcd(len(rows), 1 << (max(_LONG // rows.shape[1], 1).bit_length() - 1))
        return rows.reshape(len(rows) // k, -1)
    if x.ndim > 2:
        length = math.prod(x.shape[2:])
        x = x.reshape(x.shape[:2] if length == 1 else (*x.shape[:2], length))
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _each(value: Any, x: Any) -> Any:
    """Numbers of channels, beside ``x``."""
    if x.ndim == 2:
        return value if len(value) == x.shape[1] else np.tile(value, x.shape[1] // len(value))
    return value[:, None]


def _laid_as(g: Any, x: Any) -> Any:
    """``g``, in the order of ``x`` where the channels of that lie last, or do not."""
    if lies_last(x) is lies_last(g):
        return g
    return turned_back(np.ascontiguousarray(turned(g))) if lies_last(x) else g.copy(order="C")


def _whole(like: Any, a: Any) -> Any:
    """``a``, computed from what :func:`_channels_second` made of ``like``, in the shape and order of that."""
    a = a.astype(like.dtype, copy=False)
    if _by_rows(like):
        return turned_back(a.reshape(turned(like).shape))
    return a.reshape(like.shape)


# So many elements at a time: what one pass leaves in cache, the next finds there.
_BLOCK = 2**17


def _blocks(xp: Any, x: Any) -> list[Any]:
    """Parts of the batch that fit in cache; on a device the whole."""
    rows = max(1, _BLOCK * len(x) // max(x.size, 1) if xp is np else len(x))
    return [slice(i, i + rows) for i in range(0, len(x), rows)]


def _sums(xp: Any, x: Any, c: int) -> Any:
    """The sum of each of ``c`` channels; in NumPy first over the batch, by BLAS, which is quicker than its
    reductions."""
    if xp is not np:
        return xp.add.reduce(x if x.ndim == 2 else xp.add.reduce(x, 2), 0)
    first = np.ones(len(x), x.dtype) @ x.reshape(len(x), math.prod(x.shape[1:]))
    return _folded(first, c) if x.ndim == 2 else np.add.reduce(first.reshape(x.shape[1:]), 1)


def _products(xp: Any, x: Any, y: Any, c: int) -> Any:
    """The sum of ``x * y`` of each of ``c`` channels, without an array of the products."""
    if x.ndim == 2:
        return _folded(xp.einsum("nc,nc->c", x, y), c)
    return xp.einsum("ncl,ncl->c", x, y)


def _folded(sums: Any, c: int) -> Any:
    """Sums of ``c`` channels that are there several times, of each together."""
    return sums if len(sums) == c else sums.reshape(-1, c).sum(0)


def _reference_batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, notice: Any = None, training: bool = False
) -> Any:
    shape = (1, x.shape[1], *[1] * (x.ndim - 2))
    kind = x.dtype
    if kind.itemsize == 2:
        x = x.float()
    if training:
        over = [d for d in range(x.ndim) if d != 1]
        centred = x - x.mean(over, keepdim=True)
        spread = (centred * centred).mean(over, keepdim=True)
    else:
        centred, spread = x - mean.reshape(shape), Tensor._wrap(var, None).reshape(shape)
    out = centred / sqrt(spread + eps)
    if weight is not None:
        out = out * weight.to(out.dtype).reshape(shape)
    if bias is not None:
        out = out + bias.to(out.dtype).reshape(shape)
    return out.to(kind)


@fused(reference=_reference_batch_norm, inputs=3, grad_name="NativeBatchNormBackward0", linear="bias")
def _batch_norm(xp, x, weight, bias, mean, var, eps, notice=None, training=False):
    """Of given ``mean`` and ``var`` (C), or, in training, of the batch's, which go to ``notice(mean, var, n)``.

    Data far from 0 loses nothing: a mean rounded to x's dtype is subtracted first, which is exact near it, and what
    mean is left then (``rest``) is taken off the small differences.
    """
    a, c = _channels_second(x), x.shape[1]
    out, blocks = xp.empty(a.shape, a.dtype), _blocks(xp, a)
    rest: Any = 0.0
    if training:
        n = a.size // max(c, 1)
        mean = _sums(xp, a, c) / max(n, 1)
        center = _each(mean, a)
        rest = squares = xp.zeros_like(mean)
        for rows in blocks:
            centred = xp.subtract(a[rows], center, out=out[rows])
            rest = rest + _sums(xp, centred, c)
            squares = squares + _products(xp, centred, centred, c)
        rest = rest / max(n, 1)
        var = xp.maximum(squares / max(n, 1) - rest * rest, 0)
        if notice is not None and n:
            notice(mean + rest, var, n)
    else:
        center = _each(mean, a)
        for rows in blocks:
            xp.subtract(a[rows], center, out=out[rows])
    inverse = 1 / xp.sqrt(var + a.dtype.type(eps))
    scale = inverse if weight is None else inverse * weight.astype(a.dtype)
    shift = -rest * scale if bias is None else bias.astype(a.dtype) - rest * scale
    factor, summand = _each(scale, a), _each(shift, a)
    for rows in blocks:
        block = out[rows]
        block *= factor
        block += summand
    return _whole(x, out), (mean, rest, inverse)


@_batch_norm.defbackward
def _batch_norm_backward(xp, g, ans, kept, wanted, x, weight, bias, mean, var, eps, notice=None, training=False):
    """With x̂ the normalized input and s = weight / σ: g x̂ summed for the weight, g summed for the bias, and for the
    input s g, in training s (g - mean(g) - x̂ mean(g x̂)), for mean and variance depend on it."""
    mean, rest, inverse = kept
    grad, a, c = _channels_second(_laid_as(g, x)), _channels_second(x), x.shape[1]
    gx, blocks, center = xp.empty(a.shape, a.dtype), _blocks(xp, a), _each(mean, a)
    total = along = xp.zeros_like(inverse)
    for rows in blocks:
        centred = xp.subtract(a[rows], center, out=gx[rows])
        total = total + _sums(xp, grad[rows], c)
        along = along + _products(xp, grad[rows], centred, c)
    along = along - rest * total
    gw = None if wanted[1] is None else (along * inverse).astype(weight.dtype)
    gb = None if wanted[2] is None else total.astype(bias.dtype)
    if wanted[0] is None:
        return None, gw, gb
    scale = inverse if weight is None else inverse * weight.astype(a.dtype)
    n = max(a.size // max(c, 1), 1)
    slope = -scale * inverse * inverse * along / n
    factor, by_mean, summand = _each(scale, a), _each(slope, a), _each(-scale * total / n - slope * rest, a)
    for rows in blocks:
        block = gx[rows]  # the centred input
        if training:
            block *= by_mean
            block += summand
            block += grad[rows] * factor
        else:
            xp.multiply(grad[rows], factor, out=block)
    return _whole(x, gx), gw, gb


@checked
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, channel by channel (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Args:
        input: (N, C, *), floating.
        running_mean, running_var: (C).  In training they take in the batch's statistics, the variance divided by
            n - 1: ``running += momentum * (batch - running)``; else they are what is normalized with.
        weight, bias: (C); 1 and 0 by default.
        training: normalize with mean and variance of the batch, the latter divided by n.
        momentum: the share of the batch in the running statistics.
        eps: added to the variance.

    All have one dtype; beside a float16 or bfloat16 input the others may be float32.

    Raises:
        ValueError: in training, one value a channel, or an ``eps`` that is not positive; one running statistic alone.
        RuntimeError: no running statistics to normalize with, another number of channels, dtypes that do not fit,
            running statistics that require gradients.
        IndexError: an input without channels.
        NotImplementedError: an input that is not floating.

    >>> F.batch_norm(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0]), torch.tensor([4.0]), eps=0.0)
    tensor([[-0.5000],
            [ 0.5000]])
    """
    x = needs_tensor(input, "batch_norm")
    shape, statistics = x.shape, {"running_mean": running_mean, "running_var": running_var}
    if shape == (0,):  # as in PyTorch, with nothing there is nothing to normalize
        out = input.clone()
        out = out if weight is None else out * weight[0]
        return out if bias is None else out + bias[0]
    if len(shape) < 2:
        raise IndexError(f"batch_norm needs an input (N, C, *), but got {len(shape)} dimensions")
    if training:
        if len({tensor is None for tensor in statistics.values()}) == 2:
            raise ValueError("running_mean and running_var must either both be None or neither be None")
        if math.prod(shape) == shape[1]:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")
        if not eps > 0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    for name, tensor in statistics.items():
        if tensor is None and not training:
            raise RuntimeError(f"{name} must be defined in evaluation mode")
        if tensor is not None and tensor.requires_grad:
            raise RuntimeError(f"batch_norm is not differentiable with respect to {name}; it cannot require gradients")
    others = {name: t for name, t in {**statistics, "weight": weight, "bias": bias}.items() if t is not None}
    for name, tensor in others.items():
        if tensor.numel() != shape[1]:
            raise RuntimeError(f"{name} should contain {shape[1]} elements not {tensor.numel()}")
    _check_dtypes(x, others)
    if not training:
        assert running_mean is not None and running_var is not None  # refused above
        wide = np.float32 if x.dtype.itemsize == 2 else x.dtype.np
        with backend.where_it_lies(running_mean._data):
            mean, var = (t.detach()._data.astype(wide) for t in (running_mean, running_var))  # they may change later
        return _batch_norm(x, weight, bias, mean, var, eps)
    notice = None if running_mean is None else _averaging(running_mean, running_var, momentum)
    return _batch_norm(x, weight, bias, None, None, eps, notice=notice, training=True)


def _check_dtypes(x: Tensor, others: dict[str, Tensor], name: str = "batch_norm") -> None:
    if x.dtype.category != 2:
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype}')
    kinds = {tensor.dtype for tensor in others.values()}
    allowed = {x.dtype, dtypes.float32} if x.dtype.itemsize == 2 else {x.dtype}
    if len(kinds) > 1 or not kinds <= allowed:
        given = ", ".join(f"{role} {tensor.dtype}" for role, tensor in {"input": x, **others}.items())
        raise RuntimeError(
            f"{name}: {given}; all must be of the input's dtype, or, beside float16 or bfloat16, all others float32"
        )


def _averaging(running_mean: Any, running_var: Any, momentum: float) -> Callable[[Any, Any, int], None]:
    """What takes a batch's mean and variance (of n values each, divided by n) into the running ones."""

    def notice(mean: Any, var: Any, n: int) -> None:
        for running, batch in ((running_mean, mean), (running_var, var * (n / (n - 1)))):
            if running._view is not None:
                refresh(running)
            held = running._data
            moved = held.astype(batch.dtype, copy=False) * (1 - momentum) + batch * momentum
            held[...] = moved.astype(held.dtype, copy=False)
            running._bump()

    return notice
