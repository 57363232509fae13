"""The Kullback-Leibler divergence of two distributions, by formula (Kullback & Leibler 1951)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from .continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from .discrete import Bernoulli, Categorical
from .distribution import Distribution
from .several import Independent, MultivariateNormal

__all__ = ["kl_divergence", "register_kl"]

_Formula = Callable[[Any, Any], Any]
_FORMULAS: dict[tuple[type, type], _Formula] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[_Formula], _Formula]:
    """Make the function behind it what :func:`kl_divergence` calls for a ``type_p`` and a ``type_q``.

    TypeError: either is no class of distributions.

    >>> class Mine(torch.distributions.Normal):
    ...     pass
    >>> @torch.distributions.register_kl(Mine, Mine)
    ... def formula(p, q):
    ...     return p.loc - q.loc
    """
    for given in (type_p, type_q):
        if not (isinstance(given, type) and issubclass(given, Distribution)):
            raise TypeError(f"Expected type_p and type_q to be Distribution subclasses but got {given}")

    def enter(formula: _Formula) -> _Formula:
        _FORMULAS[type_p, type_q] = formula
        return formula

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """KL(p ‖ q) = E_p[log p - log q], one number for each of the batch.

    NotImplementedError: no formula is known for the two.

    >>> normal = torch.distributions.Normal
    >>> torch.distributions.kl_divergence(normal(0.0, 1.0), normal(1.0, 1.0))
    tensor(0.5000)
    """
    for one in type(p).__mro__:
        for other in type(q).__mro__:
            if (one, other) in _FORMULAS:
                return _FORMULAS[one, other](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normals(p: Normal, q: Normal) -> Any:
    if isinstance(p, LogNormal) != isinstance(q, LogNormal):  # only two of a kind have that of their logarithms
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Exponential, Exponential)
def _exponentials(p: Exponential, q: Exponential) -> Any:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Laplace, Laplace)
def _laplaces(p: Laplace, q: Laplace) -> Any:
    ratio, off = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + off / q.scale + ratio * (-off / p.scale).exp() - 1


@register_kl(Uniform, Uniform)
def _uniforms(p: Uniform, q: Uniform) -> Any:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return ops.selection.where((q.low > p.low) | (q.high < p.high), float("inf"), found)


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Bernoulli, q: Bernoulli) -> Any:
    softplus, a, b, probs = ops.nn.activation.softplus, p.logits, q.logits, p.probs
    ones = probs * (softplus(-b) - softplus(-a))
    ones = ops.selection.where((q.probs == 0) & (probs > 0), float("inf"), ones)
    ones = ops.selection.where(probs == 0, 0.0, ones)
    zeros = (1 - probs) * (softplus(b) - softplus(a))
    zeros = ops.selection.where((q.probs == 1) & (probs < 1), float("inf"), zeros)
    return ones + ops.selection.where(probs == 1, 0.0, zeros)


@register_kl(Categorical, Categorical)
def _categoricals(p: Categorical, q: Categorical) -> Any:
    terms = p.probs * (p.logits - q.logits)
    terms = ops.selection.where((q.probs == 0).expand(terms.shape), float("inf"), terms)
    return ops.selection.where((p.probs == 0).expand(terms.shape), 0.0, terms).sum(-1)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normals(p: MultivariateNormal, q: MultivariateNormal) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    solve = ops.linalg.solving.solve_triangular
    batch = ops.shape.broadcast_shapes(p.batch_shape, q.batch_shape)
    lower, other = (d._lower.expand((*batch, -1, -1)) for d in (q, p))
    off = (q.loc - p.loc).expand((*batch, -1)).unsqueeze(-1)
    trace = solve(lower, other, upper=False).pow(2).sum((-2, -1))
    squares = solve(lower, off, upper=False).pow(2).sum((-2, -1))
    return q._half_logdet() - p._half_logdet() + 0.5 * (trace + squares - p.event_shape[0])


@register_kl(Independent, Independent)
def _independents(p: Independent, q: Independent) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
