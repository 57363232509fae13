"""Probability distributions: what is drawn from them, how likely a value is, and gradients through both.

>>> policy = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
>>> action = policy.sample()
>>> policy.log_prob(action)
tensor(-0.6931)
"""

from __future__ import annotations

from . import categorical, constraints, normal, transforms
from .continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from .counts import Binomial, Multinomial, NegativeBinomial, Poisson
from .discrete import Bernoulli, Categorical, Geometric
from .distribution import Distribution
from .gammas import Beta, Chi2, Dirichlet, Gamma, StudentT
from .kl import kl_divergence, register_kl
from .located import Cauchy, Gumbel, HalfCauchy, HalfNormal, Pareto, Weibull
from .made_of_others import MixtureSameFamily, TransformedDistribution
from .several import Independent, MultivariateNormal
from .transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    PowerTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    Transform,
    identity_transform,
)

__all__ = [
    "AffineTransform", "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ComposeTransform",
    "Dirichlet", "Distribution", "ExpTransform", "Exponential", "Gamma", "Geometric", "Gumbel", "HalfCauchy",
    "HalfNormal", "Independent", "IndependentTransform", "Laplace", "LogNormal", "MixtureSameFamily",
    "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "Pareto", "Poisson", "PowerTransform",
    "SigmoidTransform", "SoftplusTransform", "StudentT", "TanhTransform", "Transform",
    "TransformedDistribution", "Uniform", "Weibull", "categorical", "constraints", "identity_transform",
    "kl_divergence", "normal", "register_kl", "transforms",
]  # fmt: skip
