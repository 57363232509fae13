"""The Kullback-Leibler divergence of two distributions, by formula (Kullback & Leibler 1951)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from .continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from .counts import Binomial, Poisson
from .discrete import Bernoulli, Categorical, Geometric
from .distribution import Distribution
from .gammas import Beta, Dirichlet, Gamma
from .located import Cauchy, Gumbel, HalfNormal, Pareto
from .several import Independent, MultivariateNormal

__all__ = ["kl_divergence", "register_kl"]

_lgamma, _digamma = ops.special.lgamma, ops.special.digamma
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


@register_kl(Gamma, Gamma)
def _gammas(p: Gamma, q: Gamma) -> Any:
    rates = q.concentration * (p.rate / q.rate).log()
    norms = _lgamma(q.concentration) - _lgamma(p.concentration)
    slopes = (p.concentration - q.concentration) * _digamma(p.concentration)
    return rates + norms + slopes + (q.rate - p.rate) * (p.concentration / p.rate)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Any:
    return _gammas(Gamma(p.rate * 0 + 1, p.rate, validate_args=False), q)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Any:
    return _gammas(p, Gamma(q.rate * 0 + 1, q.rate, validate_args=False))


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Dirichlet, q: Dirichlet) -> Any:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norms = _lgamma(total) - _lgamma(b.sum(-1)) - (_lgamma(a) - _lgamma(b)).sum(-1)
    return norms + ((a - b) * (_digamma(a) - _digamma(total).unsqueeze(-1))).sum(-1)


@register_kl(Beta, Beta)
def _betas(p: Beta, q: Beta) -> Any:
    return _dirichlets(p._dirichlet(), q._dirichlet())


@register_kl(Poisson, Poisson)
def _poissons(p: Poisson, q: Poisson) -> Any:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Geometric, Geometric)
def _geometrics(p: Geometric, q: Geometric) -> Any:
    return -p.entropy() - ops.elementwise.log1p(-q.probs) / p.probs - q.logits


@register_kl(Binomial, Binomial)
def _binomials(p: Binomial, q: Binomial) -> Any:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    rest = ops.elementwise.log1p(-p.probs) - ops.elementwise.log1p(-q.probs)
    found = p.total_count * (p.probs * (p.logits - q.logits) + rest)
    return ops.selection.where(p.total_count > q.total_count, float("inf"), found)


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: HalfNormal, q: HalfNormal) -> Any:
    return _normals(p._whole(), q._whole())


@register_kl(Cauchy, Cauchy)
def _cauchys(p: Cauchy, q: Cauchy) -> Any:
    return (((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)) / (4 * p.scale * q.scale)).log()


@register_kl(Gumbel, Gumbel)
def _gumbels(p: Gumbel, q: Gumbel) -> Any:
    ratio, euler = p.scale / q.scale, 0.57721566490153286060
    off = (q.loc - p.loc) / q.scale
    return -ratio.log() - off + ratio * euler + (off + _lgamma(1 + ratio)).exp() - (1 + euler)


@register_kl(Pareto, Pareto)
def _paretos(p: Pareto, q: Pareto) -> Any:
    ratio = q.alpha / p.alpha
    found = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return ops.selection.where(p.scale < q.scale, float("inf"), found)


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
