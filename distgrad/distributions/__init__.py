"""Probability distributions: what is drawn from them, how likely a value is, and gradients through both.

>>> policy = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
>>> action = policy.sample()
>>> policy.log_prob(action)
tensor(-0.6931)
"""

from __future__ import annotations

from . import categorical, constraints, normal
from .continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from .discrete import Bernoulli, Categorical, Geometric
from .distribution import Distribution
from .kl import kl_divergence, register_kl
from .several import Independent, MultivariateNormal

__all__ = [
    "Bernoulli", "Categorical", "Distribution", "Exponential", "Geometric", "Independent", "Laplace", "LogNormal",
    "MultivariateNormal", "Normal", "Uniform", "categorical", "constraints", "kl_divergence",
    "normal", "register_kl",
]  # fmt: skip
