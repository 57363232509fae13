"""Normalization within a sample: of layers, groups of channels and single channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import backend, dtypes
from ..._arguments import checked
from ...autograd import Tensor, fused
from .._declare import needs_tensor, noun
from ..elementwise import rsqrt
from .linear import _column_sums as _sums_by_blas
from .normalization import _averaging, _check_dtypes, batch_norm

__all__ = ["group_norm", "instance_norm", "layer_norm", "rms_norm"]

# So many elements at a time: what one pass leaves in cache, the next finds there.
_BLOCK = 2**15


_FAR = 64  # a mean whose square is at most so many variances is rounded as well as the data are


def _reference(
    x: Any, weight: Any, bias: Any, rows: int, view: Any, eps: float, centre: bool, notice: Any = None, name: str = ""
) -> Any:
    kind, shape = x.dtype, x.shape
    a = x.float() if kind.itemsize == 2 else x
    a = a.reshape(rows, math.prod(view) // max(rows, 1))
    if centre:
        a = a - a.mean(1, True)
    out = (a * rsqrt((a * a).mean(1, True) + eps)).reshape(view)
    if weight is not None:
        out = out * weight.to(out.dtype).reshape(view[1], 1)
    if bias is not None:
        out = out + bias.to(out.dtype).reshape(view[1], 1)
    return out.reshape(shape).to(kind)


def _parts(xp: Any, x: Any, rows: int, view: tuple[int, int, int]) -> list[tuple[slice, slice]]:
    """Parts that fit in cache (on a device the whole): slices of the view's first dimension and of the rows."""
    n, each = view[0], rows // max(view[0], 1)
    step = max(1, _BLOCK * n // max(x.size, 1)) if xp is np else max(n, 1)
    return [(slice(i, i + step), slice(i * each, (i + step) * each)) for i in range(0, n, step)]


def _flat(x: Any, rows: int) -> Any:
    """``x`` as (rows, n); float16 and bfloat16 as float32, to compute in."""
    x = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    return x.reshape(rows, x.size // max(rows, 1))


def _means(xp: Any, a: Any) -> Any:
    """The mean of each row; in NumPy by BLAS, which is quicker than its reductions."""
    n = a.shape[1]
    if xp is not np:
        return a.sum(1) / n
    return np.dot(a, np.ones(n, a.dtype)) / n if n else np.full(len(a), np.nan, a.dtype)


def _mean_products(xp: Any, a: Any, b: Any) -> Any:
    return xp.einsum("rn,rn->r", a, b) / max(a.shape[1], 1)


def _column_sums(xp: Any, a: Any) -> Any:
    return _sums_by_blas(xp, a, None)


def _beside(value: Any, kind: Any, view: tuple[int, int, int]) -> Any:
    """Weights (B) beside an array of ``view`` (A, B, L), or (A, B) where L is 1."""
    value = value.reshape(-1).astype(kind, copy=False)
    return value if view[2] == 1 else value[:, None]


def _seen(a: Any, view: tuple[int, int, int]) -> Any:
    """Some rows as (…, B, L), or (…, B) where L is 1."""
    return a.reshape(-1, *(view[1:2] if view[2] == 1 else view[1:])) if a.size else a.reshape(0, *view[1:])


def _name(node: Any) -> str:
    return (node.kwargs or {}).get("name", "NativeLayerNormBackward0")


@fused(reference=_reference, inputs=3, grad_name=_name)
def _normalized(xp, x, weight, bias, rows, view, eps, centre, notice=None, name=""):
    """``x`` as (rows, n) brought to variance 1, and to mean 0 if ``centre``; then, seen as (A, B, L) = ``view``, scaled
    and shifted by the numbers of B.  ``notice(mean, var, n)`` is told of the rows' statistics.

    Data far from 0 loses nothing: a rounded mean is subtracted first, and what mean is left then is taken off after.
    """
    a = _flat(x, rows)
    out = xp.empty(a.shape, a.dtype)
    mean, rest, inverse = (xp.zeros(rows, a.dtype) for _ in range(3))
    var = xp.zeros(rows, a.dtype) if notice is not None else None
    scale = None if weight is None else _beside(weight, a.dtype, view)
    shift = None if bias is None else _beside(bias, a.dtype, view)
    for _, at in _parts(xp, a, rows, view):
        block = out[at]
        if centre:
            mean[at] = _means(xp, a[at])
            xp.subtract(a[at], mean[at][:, None], out=block)
            spread = _mean_products(xp, block, block)
            if xp is not np or not (mean[at] * mean[at] <= _FAR * spread).all():
                rest[at] = _means(xp, block)
                spread = xp.maximum(spread - rest[at] * rest[at], 0)
                block -= rest[at][:, None]
        else:
            block[...] = a[at]
            spread = _mean_products(xp, block, block)
        if var is not None:
            var[at] = spread
        inverse[at] = 1 / xp.sqrt(spread + a.dtype.type(eps))
        block *= inverse[at][:, None]
        seen = _seen(block, view)
        if scale is not None:
            seen *= scale
        if shift is not None:
            seen += shift
    if notice is not None:
        notice(mean + rest, var, a.shape[1])
    return out.astype(x.dtype, copy=False).reshape(x.shape), (mean + rest, inverse)


@_normalized.defbackward
def _normalized_backward(
    xp, g, ans, kept, wanted, x, weight, bias, rows, view, eps, centre, notice=None, name=""
):  # fmt: skip
    """With x̂ the normalized input: g x̂ summed for the weight, g summed for the bias, and for the input, of
    h = weight g, (h - mean(h) - x̂ mean(h x̂)) / σ, without the first mean if there was no centring."""
    mean, inverse = kept
    grad, a = _flat(g, rows), _flat(x, rows)
    gx = xp.empty(a.shape, a.dtype)
    scale = None if weight is None else _beside(weight, a.dtype, view)
    gw, gb = (xp.zeros(view[1], a.dtype) for _ in range(2))
    for _, at in _parts(xp, a, rows, view):
        hat = gx[at]
        if centre:
            xp.subtract(a[at], mean[at][:, None], out=hat)
            hat *= inverse[at][:, None]
        else:
            xp.multiply(a[at], inverse[at][:, None], out=hat)
        upper = grad[at]
        seen = _seen(upper, view)
        if wanted[1] is not None:
            gw += xp.einsum("ab,ab->b" if view[2] == 1 else "abl,abl->b", seen, _seen(hat, view))
        if wanted[2] is not None:
            gb += _column_sums(xp, seen) if view[2] == 1 else _column_sums(xp, seen.sum(2))
        if wanted[0] is None:
            continue
        if scale is not None:
            upper = (seen * scale).reshape(upper.shape)
        hat *= -_mean_products(xp, upper, hat)[:, None]
        hat += upper
        if centre:
            hat -= _means(xp, upper)[:, None]
        hat *= inverse[at][:, None]
    return (
        None if wanted[0] is None else gx.astype(x.dtype, copy=False).reshape(x.shape),
        None if wanted[1] is None else gw.astype(weight.dtype, copy=False).reshape(weight.shape),
        None if wanted[2] is None else gb.astype(bias.dtype, copy=False).reshape(bias.shape),
    )


def _check_floats(x: Tensor, name: str) -> None:
    if x.dtype.category != 2:
        raise NotImplementedError(f"\"{name}\" not implemented for '{noun(x)}'")


def _normalized_shape(name: str, x: Tensor, shape: Any, others: dict[str, Tensor | None]) -> tuple[int, ...]:
    """``shape``, checked: the last sizes of ``x``, and those of ``others``."""
    shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for role, tensor in others.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise RuntimeError(
                f"Expected {role} to be of same shape as normalized_shape, but got {role} of shape "
                f"{list(tensor.shape)} and normalized_shape = {list(shape)}"
            )
    if tuple(x.shape[x.ndim - len(shape) :]) != shape or x.ndim < len(shape):
        expected = ", ".join(["*", *map(str, shape)])
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [{expected}], but got input of size"
            f"{list(x.shape)}"
        )
    return shape


@checked
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions (Ba et al. 2016, arXiv:1607.06450).

    Args:
        input: (*, *normalized_shape), floating.
        normalized_shape: the last sizes of the input; over these dimensions mean and variance (divided by n) are taken.
        weight, bias: of that shape; 1 and 0 by default.
        eps: added to the variance.

    Raises:
        RuntimeError: shapes or dtypes that do not fit.

    >>> F.layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.]])
    """
    x = needs_tensor(input, "layer_norm")
    shape = _normalized_shape("layer_norm", x, normalized_shape, {"weight": weight, "bias": bias})
    _check_floats(x, "LayerNormKernelImpl")
    others = {name: t for name, t in (("weight", weight), ("bias", bias)) if t is not None}
    _check_dtypes(x, others, "layer_norm")
    n = math.prod(shape)
    rows = math.prod(x.shape[: x.ndim - len(shape)])
    return _normalized(x, weight, bias, rows, (rows, n, 1), eps, True)


@checked
def rms_norm(
    input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x²) + eps) * weight over the last dimensions (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        input: (*, *normalized_shape), floating or complex.
        normalized_shape: the last sizes of the input, over which the mean is taken.
        weight: of that shape; 1 by default.
        eps: added to the mean; by default the machine epsilon of the type computed in.

    Raises:
        RuntimeError: shapes that do not fit.

    >>> F.rms_norm(torch.tensor([[1.0, 7.0]]), (2,), eps=0.0)
    tensor([[0.2000, 1.4000]])
    """
    x = needs_tensor(input, "rms_norm")
    shape = _normalized_shape("rms_norm", x, normalized_shape, {"weight": weight})
    if x.dtype.category < 2:
        raise NotImplementedError(f"\"rms_norm\" not implemented for '{noun(x)}'")
    n = math.prod(shape)
    rows = math.prod(x.shape[: x.ndim - len(shape)])
    if eps is None:
        eps = dtypes.finfo(dtypes.float32 if x.dtype.itemsize == 2 else x.dtype).eps
    view = (rows, n, 1)
    if x.dtype.is_complex:
        return _reference(x, weight, None, rows, view, eps, False)
    return _normalized(x, weight, None, rows, view, eps, False, name="MulBackward0")


@checked
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, group of channels by group (Wu and He 2018, arXiv:1803.08494).

    Args:
        input: (N, C, *), floating.
        num_groups: how many groups the C channels make.
        weight, bias: (C); 1 and 0 by default.
        eps: added to the variance, which is divided by n.

    Raises:
        RuntimeError: C is no multiple of the number of groups; shapes or dtypes that do not fit.
        ValueError: one value a group.

    >>> F.group_norm(torch.tensor([[[1.0], [3.0], [0.0], [4.0]]]), 2, eps=0.0).flatten()
    tensor([-1.,  1., -1.,  1.])
    """
    x = needs_tensor(input, "group_norm")
    shape = tuple(x.shape)
    if len(shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(shape)} and num_groups={num_groups}"
        )
    if shape[0] * shape[1] // num_groups * math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    for role, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and (tensor.ndim != 1 or tensor.numel() != shape[1]):
            raise RuntimeError(
                f"Expected {role} to be a vector of size equal to the number of channels in input, but got {role} of "
                f"shape {list(tensor.shape)} and input of shape {list(shape)}"
            )
    _check_floats(x, "GroupNormKernelImpl")
    _check_dtypes(x, {name: t for name, t in (("weight", weight), ("bias", bias)) if t is not None}, "group_norm")
    return _by_group(x, num_groups, weight, bias, eps, None, "NativeGroupNormBackward0")


def _by_group(x: Any, groups: int, weight: Any, bias: Any, eps: float, notice: Any, name: str) -> Tensor:
    shape = tuple(x.shape)
    view = (shape[0], shape[1], math.prod(shape[2:]))
    return _normalized(x, weight, bias, shape[0] * groups, view, eps, True, notice=notice, name=name)


@checked
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, each channel of each sample by itself (Ulyanov et al. 2016,
    arXiv:1607.08022).

    Args:
        input: (N, C, *), floating.
        running_mean, running_var: (C).  With ``use_input_stats`` they take in the means over the batch of the samples'
            statistics, the variance divided by n - 1; else they are what is normalized with.
        weight, bias: (C); 1 and 0 by default.
        use_input_stats: normalize with mean and variance of each sample's channel.
        momentum: the share of the batch in the running statistics.
        eps: added to the variance.

    Raises:
        ValueError: one value a channel.
        RuntimeError: no statistics to normalize with; sizes or dtypes that do not fit.

    >>> F.instance_norm(torch.tensor([[[1.0, 3.0]]]), eps=0.0)
    tensor([[[-1.,  1.]]])
    """
    x = needs_tensor(input, "instance_norm")
    shape = tuple(x.shape)
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {x.shape}")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    others = {name: t for name, t in given.items() if t is not None}
    for name, tensor in others.items():
        if tensor.numel() != shape[1]:
            raise RuntimeError(f"{name} should contain {shape[1]} elements not {tensor.numel()}")
    _check_floats(x, "instance_norm")
    _check_dtypes(x, others, "instance_norm")
    notice = None
    if running_mean is not None and running_var is not None:
        notice = _over_batch(shape[1], _averaging(running_mean, running_var, momentum))
    return _by_group(x, shape[1], weight, bias, eps, notice, "ViewBackward0")


def _over_batch(channels: int, notice: Callable[[Any, Any, int], None]) -> Callable[[Any, Any, int], None]:
    """What tells ``notice`` of the means over the batch of the statistics of samples' channels."""

    def told(mean: Any, var: Any, n: int) -> None:
        if mean.size:
            with backend.where_it_lies(mean):
                notice(mean.reshape(-1, channels).mean(0), var.reshape(-1, channels).mean(0), n)

    return told
