"""Activations and their probabilities: relu, softmax and their kin; dropout."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ... import backend
from ..._arguments import checked
from ...autograd import Tensor, primitive
from ...autograd.grad_mode import recording
from ...autograd.tensor import TENSORS
from ...dtypes import as_dtype, float32
from .. import _float32
from .._choosing import chosen
from .._declare import attach, in_float32, of_floats, raw, unknown
from .._limits import at_least, at_most
from .._pieces import in_pieces
from ..elementwise import exp, sigmoid, tanh
from ..selection import _where

__all__ = [
    "celu", "elu", "erf", "erfc", "gelu", "leaky_relu", "logsigmoid", "mish", "positive_part", "prelu_of", "relu",
    "selu", "sigmoid", "silu", "softplus", "tanh",
]  # fmt: skip


def _in_wide(rule: Any) -> Any:
    """A rule of one input and one option that computes half precisions in float32, as the forward function does."""

    @functools.wraps(rule)
    def widened(g, ans, x, option):
        if g.dtype.itemsize != 2:
            return rule(g, ans, x, option)
        return _cast(rule(_cast(g), _cast(ans), _cast(x), option), g.dtype)

    return widened


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
    return at_least(xp, x, 0)


@primitive()
def positive_part(xp, x):
    """Of what :func:`relu` returned, where it is positive or NaN (which passes the gradient on); a constant to
    differentiation."""
    return x != 0


relu.defvjp(lambda g, ans, x: g * positive_part(ans), saves="ans")
positive_part.defvjp(lambda g, ans, x: g * 0, saves="")  # so that relu's gradient has a gradient, 0, as in PyTorch


@primitive("_leaky_relu", grad_name="LeakyReluBackward0")
@of_floats
def _leaky_relu(xp, x, slope):
    if 0 < slope <= 1:
        return xp.maximum(x, x * slope)
    return chosen(xp, x > 0, x, x * slope)


@primitive(grad_name="ThresholdBackwardBackward0")
def _tied(xp, g, x):
    return g


_tied.defvjp(lambda g, ans, d, x: g, lambda g, ans, d, x: g * 0, saves="")


def _stepwise(g: Any, x: Any) -> Any:
    """``g``, a gradient that depends on ``x`` in steps: recorded it has a gradient there, 0, as in PyTorch."""
    return _tied(g, x) if g.__class__ in TENSORS else g


_leaky_relu.defvjp(
    in_pieces(lambda g, ans, x, slope: _stepwise(_where(g, g * slope, raw(x > 0)), x)), saves="x"
)


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
    return chosen(xp, x > 0, x, weight * x)


@primitive(promote="same", grad_name="PreluKernelBackwardBackward0")
def _prelu_slope(xp, upper, x, weight):
    """``upper`` where ``x`` is positive, else ``weight * upper``; at 0, a kink, it does not change with the weight."""
    return chosen(xp, x > 0, upper, upper * weight)


_prelu_slope.defvjp(
    lambda g, ans, upper, x, weight: _where(g, g * weight, raw(x > 0)),
    lambda g, ans, upper, x, weight: g * 0,
    lambda g, ans, upper, x, weight: _where(0.0, g * upper, raw(x >= 0)),
    saves=("x weight", "", "upper x"),
)
prelu_of.defvjp(
    lambda g, ans, x, weight: _prelu_slope(g, x, weight),
    lambda g, ans, x, weight: _where(0.0, g * x, raw(x >= 0)),
    saves=("x weight", "x"),
)


def _kept_from(input: Any, inplace: bool) -> Any:
    """What to compute from: a copy where ``input`` will be overwritten and a gradient rule may save what it was."""
    return input.clone() if inplace and input.requires_grad else input


def _into(input: Any, out: Any, inplace: bool) -> Any:
    return input.copy_(out) if inplace else out


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


erf.defvjp(lambda g, ans, x: g * exp(x * -x) * (2 / math.sqrt(math.pi)), saves="x")


@primitive("erfc", promote="float")
@of_floats
def erfc(xp, x):
    """``erfc(input)``: 1 - erf(input), exact for large inputs.

    >>> torch.erfc(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return _special(xp).erfc(x)


erfc.defvjp(lambda g, ans, x: g * exp(x * -x) * (-2 / math.sqrt(math.pi)), saves="x")


_CUBIC, _TANH = 0.044715, math.sqrt(2 / math.pi)


@primitive(grad_name="GeluBackward0")
@of_floats
@in_pieces
def _gelu(xp, x, by_tanh):
    if by_tanh:
        return x * 0.5 * (1 + xp.tanh((x + x * x * x * _CUBIC) * _TANH))
    return x * 0.5 * (1 + _special(xp).erf(x * math.sqrt(0.5)))


def _gelu_vjp(g, ans, x, by_tanh):
    if by_tanh:
        bend = tanh((x + x * x * x * _CUBIC) * _TANH)
        return g * (0.5 * (1 + bend) + 0.5 * x * (1 - bend * bend) * (_TANH * (1 + 3 * _CUBIC * x * x)))
    return g * (0.5 * (1 + erf(x * math.sqrt(0.5))) + x * (exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))))


_gelu.defvjp(in_pieces(_in_wide(_gelu_vjp)), saves="x")


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
@in_pieces
def _softplus(xp, x, beta, threshold):
    if beta == 1 and threshold >= 20 and x.dtype == np.float32:
        return _float32.softplus(xp, x)  # which is the input from some 17 on
    scaled = x * beta
    return chosen(xp, scaled > threshold, x, _float32.softplus(xp, scaled) / beta)


@primitive(grad_name="SoftplusBackwardBackward0")
@in_float32
def _rising(xp, x, beta, threshold):
    """sigmoid(beta * input), the slope of softplus up to the threshold, at which its own slope ends."""
    return sigmoid(x * beta)


_rising.defvjp(
    lambda g, ans, x, beta, threshold: _where(0.0, g * (ans * (1 - ans) * beta), raw(x * beta >= threshold)),
    saves="ans x",
)
_softplus.defvjp(
    in_pieces(
        lambda g, ans, x, beta, threshold: _where(g, g * _rising(x, beta, threshold), raw(x * beta > threshold))
    ),
    saves="x",
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
@in_pieces
def _logsigmoid(xp, x, _):
    return at_most(xp, x, 0) - _float32.log1p_of_exp_below(xp, x)


_logsigmoid.defvjp(in_pieces(_in_wide(lambda g, ans, x, _: g * sigmoid(-x))), saves="x")


@checked
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without overflow.

    >>> F.logsigmoid(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-1.3133, -0.6931, -0.3133])
    """
    return _logsigmoid(input, None)


@primitive(grad_name="EluBackward0")
@of_floats
@in_pieces
def _elu(xp, x, alpha, scale, slope):
    return chosen(xp, x > 0, x * scale, _float32.expm1(xp, at_most(xp, x, 0) * slope) * (alpha * scale))


@primitive(grad_name="EluBackwardBackward0")
@in_float32
def _below(xp, x, slope):
    """exp(slope * input) where the input is at most 0, else 1; the derivative at 0, a kink, is 0."""
    return xp.exp(at_most(xp, x, 0) * slope)


_below.defvjp(lambda g, ans, x, slope: _where(g * ans * slope, 0.0, raw(x < 0)), saves="ans x")
_elu.defvjp(
    in_pieces(
        lambda g, ans, x, alpha, scale, slope: _where(
            g * _below(x, slope) * (alpha * scale * slope), g * scale, raw(x <= 0)
        )
    ),
    saves="x",
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
@in_pieces
def _silu(xp, x, _):
    return x / (1 + xp.exp(-x))


def _silu_vjp(g, ans, x, _):
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


_silu.defvjp(in_pieces(_in_wide(_silu_vjp)), saves="x")


@checked
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x).

    >>> F.silu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """
    kept = _kept_from(input, inplace)
    if not kept.dtype.is_complex:
        return _into(input, _silu(kept, None), inplace)
    if kept.requires_grad and recording.enabled:
        raise RuntimeError("silu does not support automatic differentiation for outputs with complex dtype.")
    return _into(input, kept * sigmoid(kept), inplace)


@primitive(grad_name="MishBackward0")
@of_floats
@in_pieces
def _mish(xp, x, _):
    return x * xp.tanh(_float32.softplus(xp, x))


def _mish_vjp(g, ans, x, _):
    t = tanh(softplus(x))
    return g * (t + x * sigmoid(x) * (1 - t * t))


_mish.defvjp(in_pieces(_in_wide(_mish_vjp)), saves="x")


@checked
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    >>> F.mish(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])
    """
    return _into(input, _mish(_kept_from(input, inplace), None), inplace)


attach("sigmoid", sigmoid)
