"""Activations and their probabilities: relu, softmax and their kin; dropout."""

from __future__ import annotations

import functools
import math
from typing import Any

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, primitive
from ...autograd.recording import names_read
from ...autograd.tensor import TENSORS
from ...dtypes import as_dtype, float32
from .._declare import DType, attach, axis, in_float32, method, ndim_of, noun, of_floats, raw, unknown
from .._numbers import fitting
from ..elementwise import exp, sigmoid, tanh
from ..selection import _where

__all__ = [
    "celu", "dropout", "elu", "erf", "erfc", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log_softmax", "logsigmoid", "mish", "positive_part", "prelu_of", "relu", "relu6", "selu", "sigmoid", "silu",
    "softmax", "softmin", "softplus", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip


def _in_wide(rule: Any) -> Any:
    """A rule of one input and one option that computes half precisions in float32, as the forward function does."""

    @functools.wraps(rule)  # what it reads is what is saved
    def widened(g, ans, x, option):
        if g.dtype.itemsize != 2:
            return rule(g, ans, x, option)
        return _cast(rule(_cast(g), _cast(ans), _cast(x), option), g.dtype)

    # what must be saved is read from the rule that is called: tell it what the one inside reads
    read = names_read(rule)
    if "ans" in read and "x" in read:
        return widened
    if "ans" in read:
        return lambda g, ans, x, option: widened(g, ans, None, option)
    return lambda g, ans, x, option: widened(g, None, x, option)


def _cast(x: Any, kind: Any = float32) -> Any:
    """A tensor or array in the dtype ``kind``; None as it is."""
    return x if x is None else x.to(kind) if x.__class__ in TENSORS else x.astype(as_dtype(kind).np)


@primitive("relu", "relu_")
def relu(xp, x):
    """``relu(input)``: max(input, 0); the gradient at 0 is 0.

    >>> torch.relu(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    if x.dtype.kind in "cb":
        raise unknown("relu", x)
    return xp.maximum(x, 0)


@primitive()
def positive_part(xp, x):
    """Of what :func:`relu` returned, where it is positive or NaN (which passes the gradient on); a constant to
    differentiation."""
    return x != 0


relu.defvjp(lambda g, ans, x: g * positive_part(ans))
positive_part.defvjp(lambda g, ans, x: g * 0)  # so that relu's gradient has a gradient, 0, as in PyTorch


@primitive("_leaky_relu", grad_name="LeakyReluBackward0")
@of_floats
def _leaky_relu(xp, x, slope):
    return xp.where(x > 0, x, x * slope)


@primitive(grad_name="ThresholdBackwardBackward0")
def _tied(xp, g, x):
    return g


_tied.defvjp(lambda g, ans, d, x: g, lambda g, ans, d, x: g * 0)


def _stepwise(g: Any, x: Any) -> Any:
    """``g``, a gradient that depends on ``x`` in steps: recorded it has a gradient there, 0, as in PyTorch."""
    return _tied(g, x) if g.__class__ in TENSORS else g


_leaky_relu.defvjp(lambda g, ans, x, slope: _stepwise(_where(g, g * slope, raw(x > 0)), x))


@checked
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input`` where positive, else ``negative_slope * input``.

    >>> F.leaky_relu(torch.tensor([-1.0, 0.0, 1.0]), 0.1)
    tensor([-0.1000,  0.0000,  1.0000])
    """
    return _into(input, _leaky_relu(_kept_from(input, inplace), negative_slope), inplace)


@primitive(promote="same", grad_name="PreluKernelBackward0")
def prelu_of(xp, x, weight):
    """``input`` where positive, else ``weight * input``, the weight broadcast."""
    if x.dtype.kind not in "fV":
        raise unknown("prelu", x)
    return xp.where(x > 0, x, weight * x)


@primitive(promote="same", grad_name="PreluKernelBackwardBackward0")
def _prelu_slope(xp, upper, x, weight):
    """``upper`` where ``x`` is positive, else ``weight * upper``; at 0, a kink, it does not change with the weight."""
    return xp.where(x > 0, upper, upper * weight)


_prelu_slope.defvjp(
    lambda g, ans, upper, x, weight: _where(g, g * weight, raw(x > 0)),
    lambda g, ans, upper, x, weight: g * 0,
    lambda g, ans, upper, x, weight: _where(0.0, g * upper, raw(x >= 0)),
)
prelu_of.defvjp(
    lambda g, ans, x, weight: _prelu_slope(g, x, weight),
    lambda g, ans, x, weight: _where(0.0, g * x, raw(x >= 0)),
)


def _kept_from(input: Any, inplace: bool) -> Any:
    """What to compute from: a copy where ``input`` will be overwritten and a gradient rule may save what it was."""
    return input.clone() if inplace and input.requires_grad else input


def _into(input: Any, out: Any, inplace: bool) -> Any:
    return input.copy_(out) if inplace else out


@primitive(grad_name="SoftmaxBackward0")
@functools.partial(of_floats, nothing=True)
def _softmax(xp, x, dim):
    if x.ndim == 0:
        return xp.exp(x - x)
    if not x.shape[dim]:
        return x.copy()
    out = x - x.max(axis=dim, keepdims=True)
    xp.exp(out, out=out)
    out /= out.sum(axis=dim, keepdims=True)
    return out


_softmax.defvjp(_in_wide(lambda g, ans, x, dim: ans * (g - (g * ans).sum(dim).reshape(_kept(ans.shape, dim)))))


def _kept(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return tuple([1 if i == dim else d for i, d in enumerate(shape)])


def _implicit(dim: Any, ndim: int) -> int:
    if dim is not None:
        return axis(dim, ndim)
    return 0 if ndim in (0, 1, 3) else 1


def _floats(x: Any, name: str) -> Any:
    if x.dtype.category != 2:
        kind = x.dtype.tensor_type.removesuffix("Tensor")
        raise NotImplementedError(f"\"{name}_lastdim_kernel_impl\" not implemented for '{kind}'")
    return x


@method("softmax")
def softmax(input: Tensor, dim: int | None = None, dtype: DType = None) -> Tensor:
    """exp(input) divided by its sum over ``dim``: non-negative, sums to 1.

    >>> torch.softmax(torch.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    if dtype is not None:
        input = _floats(input.to(dtype), "softmax")
    return _softmax(input, _implicit(dim, ndim_of(input)))


@checked
def softmin(input: Tensor, dim: int | None = None, dtype: DType = None) -> Tensor:
    """:func:`softmax` of ``-input``.

    >>> F.softmin(torch.tensor([0.0, 1.0]), dim=0)
    tensor([0.7311, 0.2689])
    """
    return softmax(-input, dim, dtype)


@primitive(grad_name="LogSoftmaxBackward0")
@functools.partial(of_floats, nothing=True)
def _log_softmax(xp, x, dim):
    if x.ndim == 0:
        return x - x
    if not x.shape[dim]:
        return x.copy()
    out = x - x.max(axis=dim, keepdims=True)
    out -= xp.log(xp.exp(out).sum(axis=dim, keepdims=True))
    return out


_log_softmax.defvjp(
    _in_wide(lambda g, ans, x, dim: g - exp(ans) * (g.sum(dim).reshape(_kept(ans.shape, dim)) if ans.shape else g))
)


@method("log_softmax")
def log_softmax(input: Tensor, dim: int | None = None, dtype: DType = None) -> Tensor:
    """Logarithm of :func:`softmax` over ``dim``, without overflow.

    >>> torch.log_softmax(torch.tensor([1.0, 1.0]), dim=0)
    tensor([-0.6931, -0.6931])
    """
    if dtype is not None:
        input = _floats(input.to(dtype), "log_softmax")
    return _log_softmax(input, _implicit(dim, ndim_of(input)))


def _special(xp: Any) -> Any:
    """The module of special functions of an array module; imported when first used, as it takes longer than NumPy."""
    return backend.special_module(xp)


@primitive("erf", promote="float")
@of_floats
def erf(xp, x):
    """``erf(input)``: error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0.

    >>> torch.erf(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return _special(xp).erf(x)


erf.defvjp(lambda g, ans, x: g * exp(x * -x) * (2 / math.sqrt(math.pi)))


@primitive("erfc", promote="float")
@of_floats
def erfc(xp, x):
    """``erfc(input)``: 1 - erf(input), exact for large inputs.

    >>> torch.erfc(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return _special(xp).erfc(x)


erfc.defvjp(lambda g, ans, x: g * exp(x * -x) * (-2 / math.sqrt(math.pi)))


_CUBIC, _TANH = 0.044715, math.sqrt(2 / math.pi)


@primitive(grad_name="GeluBackward0")
@of_floats
def _gelu(xp, x, by_tanh):
    if by_tanh:
        return x * 0.5 * (1 + xp.tanh((x + x * x * x * _CUBIC) * _TANH))
    return x * 0.5 * (1 + _special(xp).erf(x * math.sqrt(0.5)))


def _gelu_vjp(g, ans, x, by_tanh):
    if by_tanh:
        bend = tanh((x + x * x * x * _CUBIC) * _TANH)
        return g * (0.5 * (1 + bend) + 0.5 * x * (1 - bend * bend) * (_TANH * (1 + 3 * _CUBIC * x * x)))
    return g * (0.5 * (1 + erf(x * math.sqrt(0.5))) + x * (exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))))


_gelu.defvjp(_in_wide(_gelu_vjp))


@checked
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), a Gaussian unit (Hendrycks & Gimpel 2016, arXiv:1606.08415); ``approximate="tanh"`` by tanh.

    >>> F.gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}.")
    return _gelu(input, approximate == "tanh")


@primitive(grad_name="SoftplusBackward0")
@of_floats
def _softplus(xp, x, beta, threshold):
    scaled = x * beta
    return xp.where(scaled > threshold, x, xp.logaddexp(scaled, 0).astype(x.dtype) / beta)


@primitive(grad_name="SoftplusBackwardBackward0")
@in_float32
def _rising(xp, x, beta, threshold):
    """sigmoid(beta * input), the slope of softplus up to the threshold, at which its own slope ends."""
    return sigmoid(x * beta)


_rising.defvjp(
    lambda g, ans, x, beta, threshold: _where(0.0, g * (ans * (1 - ans) * beta), raw(x * beta >= threshold)),
)
_softplus.defvjp(
    lambda g, ans, x, beta, threshold: _where(g, g * _rising(x, beta, threshold), raw(x * beta > threshold)),
)


@checked
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; the input itself where beta * input > threshold.

    >>> F.softplus(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([0.3133, 0.6931, 1.3133])
    """
    return _softplus(input, beta, threshold)


@primitive(grad_name="LogSigmoidBackward0")
@of_floats
def _logsigmoid(xp, x, _):
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))


_logsigmoid.defvjp(_in_wide(lambda g, ans, x, _: g * sigmoid(-x)))


@checked
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without overflow.

    >>> F.logsigmoid(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-1.3133, -0.6931, -0.3133])
    """
    return _logsigmoid(input, None)


@primitive(grad_name="EluBackward0")
@of_floats
def _elu(xp, x, alpha, scale, slope):
    return xp.where(x > 0, x * scale, xp.expm1(xp.minimum(x, 0) * slope) * (alpha * scale))


@primitive(grad_name="EluBackwardBackward0")
@in_float32
def _below(xp, x, slope):
    """exp(slope * input) where the input is at most 0, else 1; the derivative at 0, a kink, is 0."""
    return xp.exp(xp.minimum(x, 0) * slope)


_below.defvjp(lambda g, ans, x, slope: _where(g * ans * slope, 0.0, raw(x < 0)))
_elu.defvjp(
    lambda g, ans, x, alpha, scale, slope: _where(
        g * _below(x, slope) * (alpha * scale * slope), g * scale, raw(x <= 0)
    )
)


@checked
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` where positive, else alpha (exp(input) - 1) (Clevert et al. 2015, arXiv:1511.07289).

    >>> F.elu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.6321,  0.0000,  1.0000])
    """
    return _into(input, _elu(_kept_from(input, inplace), alpha, 1.0, 1.0), inplace)


@checked
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1)) (Barron 2017, arXiv:1704.07483).

    >>> torch.celu(torch.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """
    return _into(input, _elu(_kept_from(input, inplace), alpha, 1.0, 1 / alpha), inplace)


@checked
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled exponential linear unit (Klambauer et al. 2017, arXiv:1706.02515).

    >>> torch.selu(torch.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return _into(input, _elu(_kept_from(input, inplace), 1.6732632423543772, 1.0507009873554805, 1.0), inplace)


@primitive(grad_name="SiluBackward0")
@of_floats
def _silu(xp, x, _):
    return x / (1 + xp.exp(-x))


def _silu_vjp(g, ans, x, _):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


_silu.defvjp(_in_wide(_silu_vjp))


@checked
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x).

    >>> F.silu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """
    return _into(input, _silu(_kept_from(input, inplace), None), inplace)


@primitive(grad_name="MishBackward0")
@of_floats
def _mish(xp, x, _):
    return x * xp.tanh(xp.logaddexp(x, x.dtype.type(0)))


def _mish_vjp(g, ans, x, _):
    t = tanh(softplus(x))
    return g * (t + x * sigmoid(x) * (1 - t * t))


_mish.defvjp(_in_wide(_mish_vjp))


@checked
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    >>> F.mish(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])
    """
    return _into(input, _mish(_kept_from(input, inplace), None), inplace)


@checked
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` limited to [min_val, max_val]; no gradient at the limits.

    >>> F.hardtanh(torch.tensor([-4.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val, but they are {min_val} and {max_val}")
    return _into(input, _hardtanh(_kept_from(input, inplace), min_val, max_val), inplace)


@primitive(grad_name="HardtanhBackward0")
@in_float32
def _hardtanh(xp, x, low, high):
    if x.dtype.kind in "biuc":
        if x.dtype.kind in "bc":
            raise unknown("hardtanh", x)
        low, high = int(low), int(high)
        if x.dtype.kind == "u" and low < 0:
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return xp.minimum(xp.maximum(x, low), high)


_hardtanh.defvjp(lambda g, ans, x, low, high: _stepwise(_where(0.0, g, raw((x <= low) | (x >= high))), x))


@checked
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``input`` limited to [0, 6].

    >>> F.relu6(torch.tensor([-1.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """
    return hardtanh(input, 0.0, 6.0, inplace)


@primitive(grad_name="HardsigmoidBackward0")
@of_floats
def _hardsigmoid(xp, x, _):
    return xp.minimum(xp.maximum(x + 3, 0), 6) / 6


_hardsigmoid.defvjp(lambda g, ans, x, _: _where(g / 6, 0.0, raw((x > -3) & (x < 3))))


@checked
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6.

    >>> F.hardsigmoid(torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    return _into(input, _hardsigmoid(_kept_from(input, inplace), None), inplace)


@primitive(grad_name="HardswishBackward0")
@of_floats
def _hardswish(xp, x, _):
    return x * xp.minimum(xp.maximum(x + 3, 0), 6) / 6


_hardswish.defvjp(lambda g, ans, x, _: _where(0.0, _where(g * (x / 3 + 0.5), g, raw(x < 3)), raw(x <= -3)))


@checked
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x relu6(x + 3) / 6 (Howard et al. 2019, arXiv:1905.02244).

    >>> F.hardswish(torch.tensor([1.0, 3.0]))
    tensor([0.6667, 3.0000])
    """
    return _into(input, _hardswish(_kept_from(input, inplace), None), inplace)


@checked
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    >>> F.softsign(torch.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """
    return input / (1 + input.abs())


@checked
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    >>> F.tanhshrink(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2384,  0.0000,  0.2384])
    """
    return input - tanh(input)


@primitive(grad_name="ThresholdBackward0")
def _threshold(xp, x, threshold, value):
    if x.dtype.kind in "bc":
        raise unknown("threshold", x)
    if x.dtype.kind == "u" and value < 0:
        raise RuntimeError(f"value cannot be converted to type {x.dtype} without overflow")
    return xp.where(x <= threshold, x.dtype.type(fitting(value, x.dtype)), x)


_threshold.defvjp(lambda g, ans, x, threshold, value: _stepwise(_where(0.0, g, raw(x <= threshold)), x))


@checked
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``input`` where above ``threshold`` (or NaN), else ``value``.

    >>> torch.threshold(torch.tensor([0.0, 1.0]), 0.5, 9.0)
    tensor([9., 1.])
    """
    return _into(input, _threshold(_kept_from(input, inplace), threshold, value), inplace)


@primitive(grad_name="MulBackward0")
@in_float32
def _dropped(xp, x, mask, scale):
    out = x * mask
    out *= scale
    return out


_dropped.defvjp(lambda g, ans, x, mask, scale: _dropped(g, mask, scale))


@checked
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element zero with probability ``p``, the others divided by 1 - p (Hinton et al. 2012, arXiv:1207.0580).

    >>> sorted(set(F.dropout(torch.ones(100), p=0.5).tolist()))
    [0.0, 2.0]
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return _into(input, input * 0.0, inplace)
    from ...random import default_generator

    if input._data.dtype.kind in "biu":
        raise RuntimeError(f"result type Float can't be cast to the desired output type {noun(input)}")
    mask = default_generator.keep_mask(input._data.shape, p)
    device = input.device
    return _into(
        input, _dropped(input, mask if device.type == "cpu" else backend.to_device(mask, device), 1 / (1 - p)), inplace
    )


attach("sigmoid", sigmoid)
