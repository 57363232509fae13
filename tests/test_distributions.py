"""Distributions against SciPy, against each other, and against PyTorch where it is installed."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

import distgrad
from distgrad import distributions
from distgrad.autograd import gradcheck

# Name, parameters, SciPy's distribution of the same, and where it is asked.
REAL: dict[str, tuple[dict[str, float], Any, list[float]]] = {
    "Normal": ({"loc": 0.5, "scale": 2.0}, stats.norm(0.5, 2.0), [-3.0, 0.5, 4.0]),
    "LogNormal": ({"loc": 0.5, "scale": 0.7}, stats.lognorm(0.7, scale=np.exp(0.5)), [0.3, 1.0, 4.0]),
    "Uniform": ({"low": -1.0, "high": 3.0}, stats.uniform(-1.0, 4.0), [-0.5, 1.0, 2.5]),
    "Exponential": ({"rate": 1.5}, stats.expon(scale=1 / 1.5), [0.2, 1.0, 3.0]),
    "Laplace": ({"loc": -0.5, "scale": 1.5}, stats.laplace(-0.5, 1.5), [-2.0, 0.0, 3.0]),
}
COUNTS: dict[str, tuple[dict[str, float], Any, list[float]]] = {
    "Bernoulli": ({"probs": 0.3}, stats.bernoulli(0.3), [0.0, 1.0]),
    "Geometric": ({"probs": 0.3}, stats.geom(0.3, loc=-1), [0.0, 1.0, 5.0]),
}


def _made(t: Any, name: str, parameters: dict[str, Any], grad: bool = False) -> Any:
    module = importlib.import_module(f"{t.__name__}.distributions")
    tensors = {k: t.tensor(v, dtype=t.float64, requires_grad=grad) for k, v in parameters.items()}
    return getattr(module, name)(**tensors)


def _f64(values: Any) -> Any:
    return distgrad.tensor(values, dtype=distgrad.float64)


@pytest.mark.parametrize("name", [*REAL, *COUNTS])
def test_densities_and_moments_are_scipys(name: str) -> None:
    parameters, reference, points = (REAL | COUNTS)[name]
    made = _made(distgrad, name, parameters)
    density = reference.logpdf if name in REAL else reference.logpmf
    assert np.allclose(made.log_prob(_f64(points)).numpy(), density(points), rtol=1e-10)
    assert np.isclose(made.mean.item(), reference.mean())
    assert np.isclose(made.variance.item(), reference.var())
    assert np.isclose(made.stddev.item(), reference.std())
    assert np.isclose(made.entropy().item(), float(reference.entropy()), rtol=1e-6)


@pytest.mark.parametrize("name", REAL)
def test_cumulative_ones_and_their_inverses_are_scipys(name: str) -> None:
    parameters, reference, points = REAL[name]
    made = _made(distgrad, name, parameters)
    assert np.allclose(made.cdf(_f64(points)).numpy(), reference.cdf(points))
    shares = [0.1, 0.5, 0.9]
    assert np.allclose(made.icdf(_f64(shares)).numpy(), reference.ppf(shares))


@pytest.mark.parametrize("name", [*REAL, *COUNTS])
def test_samples_have_the_moments(name: str) -> None:
    parameters, reference, _ = (REAL | COUNTS)[name]
    distgrad.manual_seed(0)
    drawn = _made(distgrad, name, parameters).sample((40_000,)).numpy()
    error = 5 * reference.std() / 200
    assert abs(drawn.mean() - reference.mean()) < error
    assert 0.9 < drawn.std() / reference.std() < 1.1


@pytest.mark.parametrize("name", [*REAL, *COUNTS])
def test_log_prob_has_its_gradient(name: str) -> None:
    parameters, _, points = (REAL | COUNTS)[name]
    cls, value = getattr(distributions, name), _f64(points)
    given = [_f64(v).requires_grad_() for v in parameters.values()]
    assert gradcheck(lambda *v: cls(**dict(zip(parameters, v, strict=True))).log_prob(value), given)


@pytest.mark.parametrize("name", REAL)
def test_rsample_has_a_gradient_of_the_parameters(name: str) -> None:
    parameters = REAL[name][0]
    given = [_f64(v).requires_grad_() for v in parameters.values()]

    def drawn(*values: Any) -> Any:
        distgrad.manual_seed(3)
        return getattr(distributions, name)(**dict(zip(parameters, values, strict=True))).rsample((4,))

    assert gradcheck(drawn, given)


def test_categories() -> None:
    made = distributions.Categorical(logits=_f64([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]))
    shares = np.exp([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    shares /= shares.sum(1, keepdims=True)
    assert np.allclose(made.probs.numpy(), shares)
    assert np.allclose(made.log_prob(distgrad.tensor([2, 0])).numpy(), np.log([shares[0, 2], shares[1, 0]]))
    assert np.allclose(made.entropy().numpy(), -(shares * np.log(shares)).sum(1))
    distgrad.manual_seed(0)
    drawn = made.sample((30_000,)).numpy()
    for row in (0, 1):
        assert np.allclose(np.bincount(drawn[:, row], minlength=3) / 30_000, shares[row], atol=0.02)


def test_the_normal_of_several_dimensions() -> None:
    mean, spread = [1.0, -1.0], [[2.0, 0.6], [0.6, 1.0]]
    made = distributions.MultivariateNormal(_f64(mean), covariance_matrix=_f64(spread))
    reference = stats.multivariate_normal(mean, spread)
    points = [[0.0, 0.0], [1.5, -2.0]]
    assert np.allclose(made.log_prob(_f64(points)).numpy(), reference.logpdf(points))
    assert np.isclose(made.entropy().item(), reference.entropy())
    distgrad.manual_seed(0)
    assert np.allclose(np.cov(made.sample((40_000,)).numpy().T), spread, atol=0.06)


def test_independent_dimensions_add_up() -> None:
    inner = distributions.Normal(distgrad.zeros(2, 3), distgrad.ones(2, 3))
    made = distributions.Independent(inner, 1)
    assert made.batch_shape == (2,)
    assert made.event_shape == (3,)
    x = distgrad.arange(6.0).reshape(2, 3)
    assert made.log_prob(x).tolist() == inner.log_prob(x).sum(-1).tolist()


@pytest.mark.parametrize("name", REAL)
def test_divergences_within_a_family_are_integrals(name: str) -> None:
    parameters, reference, _ = REAL[name]
    other = {k: v * 1.3 for k, v in parameters.items()}
    p, q = _made(distgrad, name, parameters), _made(distgrad, name, other)
    x = np.linspace(*reference.ppf([1e-9, 1 - 1e-9]), 400_001)
    both = p.log_prob(_f64(x)).numpy(), q.log_prob(_f64(x)).numpy()
    assert np.isclose(
        distributions.kl_divergence(p, q).item(), np.trapezoid(np.exp(both[0]) * (both[0] - both[1]), x), rtol=1e-4
    )


def test_divergences_that_there_are_not_are_refused() -> None:
    p, q = distributions.Normal(0.0, 1.0), distributions.Bernoulli(0.5)
    with pytest.raises(NotImplementedError):
        distributions.kl_divergence(p, q)


def test_wrong_parameters_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        distributions.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="probs"):
        distributions.Bernoulli(1.5)
    with pytest.raises(ValueError, match="value"):
        distributions.Exponential(1.0).log_prob(distgrad.tensor(-1.0))
    assert distributions.Normal(0.0, -1.0, validate_args=False).scale.item() == -1.0


@pytest.mark.torch
@pytest.mark.parametrize("pair", list(itertools.product(REAL, REAL)), ids="-".join)
def test_divergences_are_pytorchs(pair: tuple[str, str]) -> None:
    torch = pytest.importorskip("torch")
    first, second = pair
    found = []
    for t in (torch, distgrad):
        divergence = importlib.import_module(f"{t.__name__}.distributions").kl_divergence
        p, q = _made(t, first, REAL[first][0]), _made(t, second, {k: v * 1.3 for k, v in REAL[second][0].items()})
        try:
            found.append(float(divergence(p, q)))
        except NotImplementedError:
            found.append(None)
    if found[1] is not None:
        assert found[0] is not None
        assert np.isclose(*found, rtol=1e-6)
