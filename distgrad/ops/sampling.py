"""Numbers drawn from distributions whose parameters are tensors: gamma, Poisson, binomial.

They are drawn on the host, in float64.  The gradient of a gamma number by its concentration is that of implicit
reparameterization (Figurnov, Mohamed & Mnih 2018, arXiv:1805.08498).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes, random
from .._arguments import checked
from ..autograd import Tensor, primitive
from ._declare import raw, unknown

__all__ = ["binomial", "poisson"]


def _drawn(xp: Any, generator: random.Generator | None, name: str, like: Any, *parameters: Any) -> Any:
    """What ``name`` of NumPy's generators draws, in the dtype and on the device of ``like``."""
    host = [np.asarray(backend.to_host(p), np.float64) for p in parameters]
    if name == "binomial":
        host[0] = host[0].astype(np.int64)
    found = (generator or random.default_generator).sampled(name, *host)
    made = found.astype(like.dtype)
    return made if xp is np else backend.to_device(made, backend.device_of(like))


def _slope(xp: Any, alpha: Any, x: Any) -> Any:
    """dx/dα of a number x of the standard gamma distribution: -(∂P(α, x)/∂α) / p(x), at one and the same P.

    The derivative of the incomplete gamma function P is a quotient of differences of fourth order, of its smaller
    side; very near 0, where P is x^α / Γ(α + 1), it is known.
    """
    special = backend.special_module(xp)
    a, v = alpha.astype(np.float64), x.astype(np.float64)
    log_v, unit = xp.log(v), 2e-3 * xp.minimum(a, xp.sqrt(a))
    density = xp.exp((a - 1) * log_v - v - special.gammaln(a))
    lower = v < a
    sides = []
    for n in (-2, -1, 1, 2):
        at = a + n * unit
        sides.append(xp.where(lower, special.gammainc(at, v), -special.gammaincc(at, v)))
    rise = (sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / (12 * unit)
    near = v < 1e-8
    usual = -rise / xp.where(near | (density == 0), 1.0, density)
    return xp.where(near, -v / a * (log_v - special.digamma(a + 1)), usual).astype(x.dtype)


def _no_second(g: Any, ans: Any, alpha: Any, x: Any) -> Any:
    raise NotImplementedError("the derivative for '_standard_gamma_grad: self' is not implemented.")


@primitive(grad_name="StandardGammaGradBackward0")
def _gamma_slope(xp, alpha, x):
    with np.errstate(all="ignore"):
        return _slope(xp, alpha, x)


_gamma_slope.defvjp(_no_second, _no_second, saves="")


@primitive(grad_name="StandardGammaBackward0")
def _standard_gamma(xp, alpha):
    if alpha.dtype.kind not in "fV":
        raise unknown("gamma", alpha)
    found = _drawn(xp, None, "standard_gamma", alpha, alpha)
    least = dtypes.finfo(dtypes.from_numpy_dtype(alpha.dtype)).tiny
    return xp.maximum(found, xp.asarray(least, alpha.dtype))  # 0 has no logarithm


_standard_gamma.defvjp(lambda g, ans, alpha: g * _gamma_slope(alpha, ans), saves="ans alpha")


@primitive(grad_name="PoissonBackward0")
def _poisson(xp, x, generator):
    return _drawn(xp, generator, "poisson", x, x)


_poisson.defvjp(lambda g, ans, x, generator: g * 0, saves="")


@checked
def poisson(input: Tensor, generator: random.Generator | None = None) -> Tensor:
    """For each element a whole number of the Poisson distribution of that rate, in its dtype; the gradient is 0.

    RuntimeError for a negative rate; NotImplementedError for integers.

    >>> torch.poisson(torch.zeros(2))
    tensor([0., 0.])
    """
    if input.dtype.category != 2:
        raise unknown("poisson_cpu", raw(input))
    if bool((input < 0).any()):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return _poisson(input, generator)


@checked
def binomial(count: Tensor, prob: Tensor, generator: random.Generator | None = None) -> Tensor:
    """How many of ``count`` trials succeed, each with probability ``prob``, element by element; without gradients.

    Both are floats of one dtype.  ValueError for a negative count or a probability that is none.

    >>> torch.binomial(torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([3.])
    """
    if bool((count < 0).any()) or bool((prob < 0).any()) or not bool((prob <= 1).all()):
        raise ValueError("binomial takes counts from 0 on and probabilities from 0 to 1")
    if count.dtype.category != 2 or count.dtype is not prob.dtype:
        raise ValueError(f"binomial only supports floating-point dtypes for count, got: {count.dtype}, {prob.dtype}")
    xp = backend.array_module(raw(prob))
    return Tensor._wrap(_drawn(xp, generator, "binomial", raw(prob), raw(count), raw(prob)), None)
