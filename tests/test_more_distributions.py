"""Gamma and its relatives, tails, counts, mixtures, transformed ones: against SciPy, and PyTorch where installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

import distgrad
from distgrad import distributions
from distgrad.autograd import gradcheck
from distgrad.ops.sampling import _standard_gamma

# Name: parameters, SciPy's distribution of the same, where it is asked, whether numbers are drawn with gradients.
CASES: dict[str, tuple[dict[str, Any], Any, list[float], bool]] = {
    "Gamma": ({"concentration": 2.5, "rate": 1.5}, stats.gamma(2.5, scale=1 / 1.5), [0.2, 1.0, 4.0], True),
    "Chi2": ({"df": 3.0}, stats.chi2(3.0), [0.2, 1.0, 4.0], True),
    "Beta": ({"concentration1": 2.5, "concentration0": 1.5}, stats.beta(2.5, 1.5), [0.2, 0.5, 0.9], True),
    "StudentT": ({"df": 5.0, "loc": 0.5, "scale": 2.0}, stats.t(5.0, 0.5, 2.0), [-3.0, 0.5, 4.0], True),
    "Cauchy": ({"loc": 0.5, "scale": 2.0}, stats.cauchy(0.5, 2.0), [-3.0, 0.5, 4.0], True),
    "HalfNormal": ({"scale": 2.0}, stats.halfnorm(scale=2.0), [0.1, 0.5, 4.0], True),
    "HalfCauchy": ({"scale": 2.0}, stats.halfcauchy(scale=2.0), [0.1, 0.5, 4.0], True),
    "Gumbel": ({"loc": 0.5, "scale": 2.0}, stats.gumbel_r(0.5, 2.0), [-3.0, 0.5, 4.0], True),
    "Weibull": ({"scale": 2.0, "concentration": 1.5}, stats.weibull_min(1.5, scale=2.0), [0.1, 0.5, 4.0], True),
    "Pareto": ({"scale": 2.0, "alpha": 3.5}, stats.pareto(3.5, scale=2.0), [2.1, 3.0, 9.0], True),
    "Poisson": ({"rate": 2.5}, stats.poisson(2.5), [0.0, 2.0, 7.0], False),
    "Binomial": ({"total_count": 7.0, "probs": 0.3}, stats.binom(7, 0.3), [0.0, 2.0, 7.0], False),
    "NegativeBinomial": ({"total_count": 4.0, "probs": 0.3}, stats.nbinom(4, 0.7), [0.0, 2.0, 7.0], False),
}
NO_MOMENTS = ("Cauchy", "HalfCauchy")
WITHOUT_ENTROPY = ("NegativeBinomial", "Poisson")
SEVERAL = {
    "Dirichlet": ({"concentration": [2.5, 1.5, 0.7]}, [[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]]),
    "Multinomial": ({"total_count": 4, "probs": [0.2, 0.3, 0.5]}, [[1.0, 1.0, 2.0], [0.0, 0.0, 4.0]]),
}


def _made(t: Any, name: str, parameters: dict[str, Any], grad: bool = False) -> Any:
    module = importlib.import_module(f"{t.__name__}.distributions")
    tensors = {
        k: v if isinstance(v, int) else t.tensor(v, dtype=t.float64, requires_grad=grad) for k, v in parameters.items()
    }
    return getattr(module, name)(**tensors), [v for v in tensors.values() if not isinstance(v, int)]


def _f64(values: Any) -> Any:
    return distgrad.tensor(values, dtype=distgrad.float64)


@pytest.mark.parametrize("name", CASES)
def test_densities_and_moments_are_scipys(name: str) -> None:
    parameters, reference, points, smooth = CASES[name]
    made, _ = _made(distgrad, name, parameters)
    density = reference.logpdf if smooth else reference.logpmf
    np.testing.assert_allclose(made.log_prob(_f64(points)).numpy(), density(points), rtol=1e-9)
    if name not in NO_MOMENTS:
        assert made.mean.item() == pytest.approx(reference.mean())
        assert made.variance.item() == pytest.approx(reference.var())
        assert made.stddev.item() == pytest.approx(reference.std())
    if name not in WITHOUT_ENTROPY:
        assert made.entropy().item() == pytest.approx(float(reference.entropy()), rel=1e-6)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case[3] and n not in ("Beta", "StudentT")])
def test_cumulative_ones_are_scipys(name: str) -> None:
    parameters, reference, points, _ = CASES[name]
    made, _ = _made(distgrad, name, parameters)
    np.testing.assert_allclose(made.cdf(_f64(points)).numpy(), reference.cdf(points), rtol=1e-9)
    if name not in ("Gamma", "Chi2"):
        shares = [0.1, 0.5, 0.9]
        np.testing.assert_allclose(made.icdf(_f64(shares)).numpy(), reference.ppf(shares), rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_samples_follow_the_distribution(name: str) -> None:
    """Kolmogorov and Smirnov's statistic of what is continuous, the moments of counts."""
    distgrad.manual_seed(0)
    parameters, reference, _, smooth = CASES[name]
    made, _ = _made(distgrad, name, parameters)
    drawn = made.sample((20_000,)).numpy()
    assert drawn.shape == (20_000,)
    if smooth:
        assert stats.kstest(drawn, reference.cdf).pvalue > 1e-4
    else:
        assert drawn.mean() == pytest.approx(reference.mean(), abs=5 * reference.std() / 140)
        assert drawn.var() == pytest.approx(reference.var(), rel=0.1)


@pytest.mark.parametrize("name", CASES)
def test_log_prob_has_its_gradient(name: str) -> None:
    parameters, _, points, smooth = CASES[name]
    names = [n for n in parameters if n != "total_count"]
    fixed = {n: v for n, v in parameters.items() if n == "total_count"}

    def log_prob(value: Any, *given: Any) -> Any:
        made = getattr(distributions, name)(**dict(zip(names, given, strict=True)), **fixed)
        return made.log_prob(value)

    leaves = [_f64(parameters[n]).requires_grad_() for n in names]
    assert gradcheck(log_prob, [_f64(points).requires_grad_(smooth), *leaves])


@pytest.mark.parametrize("alpha", [0.05, 0.7, 1.0, 3.0, 40.0, 2000.0])
def test_gamma_numbers_move_along_their_quantiles(alpha: float) -> None:
    """dx/dα at one share of the probability, by differences of SciPy's quantiles."""
    distgrad.manual_seed(1)
    a = distgrad.full((50,), alpha, dtype=distgrad.float64, requires_grad=True)
    drawn = _standard_gamma(a)
    drawn.sum().backward()
    x = drawn.detach().numpy()
    h = 1e-4 * alpha
    below = x < alpha
    share, rest = special.gammainc(alpha, x), special.gammaincc(alpha, x)
    high, low = (
        np.where(below, special.gammaincinv(alpha + s * h, share), special.gammainccinv(alpha + s * h, rest))
        for s in (1, -1)
    )
    seen = x > 1e-200
    np.testing.assert_allclose(a.grad.numpy()[seen], ((high - low) / (2 * h))[seen], rtol=2e-6 if alpha > 0.5 else 1e-4)
    (g,) = distgrad.autograd.grad(_standard_gamma(a).sum(), a, create_graph=True)
    with pytest.raises(NotImplementedError, match="_standard_gamma_grad"):
        g.sum().backward()


@pytest.mark.parametrize("name", ["Gamma", "Chi2", "Beta", "Weibull", "Pareto", "Gumbel", "HalfNormal", "StudentT"])
def test_rsample_has_the_gradient_of_the_mean(name: str) -> None:
    """Of many numbers the mean gradient is that of the mean, which is known."""
    distgrad.manual_seed(2)
    made, leaves = _made(distgrad, name, CASES[name][0], grad=True)
    drawn = made.rsample((40_000,))
    found = distgrad.autograd.grad(drawn.mean(), leaves, retain_graph=True)
    wanted = distgrad.autograd.grad(made.mean.sum(), leaves, allow_unused=True)
    for a, b in zip(found, wanted, strict=True):
        assert a.item() == pytest.approx(0.0 if b is None else b.item(), abs=0.06), name


def test_dirichlet_and_multinomial() -> None:
    concentration, points = SEVERAL["Dirichlet"][0]["concentration"], SEVERAL["Dirichlet"][1]
    made = distributions.Dirichlet(_f64(concentration))
    reference = stats.dirichlet(concentration)
    np.testing.assert_allclose(made.log_prob(_f64(points)).numpy(), [reference.logpdf(p) for p in points])
    np.testing.assert_allclose(made.mean.numpy(), reference.mean())
    np.testing.assert_allclose(made.variance.numpy(), reference.var())
    assert made.entropy().item() == pytest.approx(reference.entropy())
    drawn = made.rsample((4000,))
    np.testing.assert_allclose(drawn.sum(-1).numpy(), 1.0)
    np.testing.assert_allclose(drawn.mean(0).numpy(), reference.mean(), atol=0.02)
    counts = distributions.Multinomial(4, _f64([0.2, 0.3, 0.5]))
    same = stats.multinomial(4, [0.2, 0.3, 0.5])
    values = SEVERAL["Multinomial"][1]
    np.testing.assert_allclose(counts.log_prob(_f64(values)).numpy(), same.logpmf(values))
    assert counts.entropy().item() == pytest.approx(float(same.entropy()))
    sampled = counts.sample((5, 2))
    assert sampled.shape == (5, 2, 3)
    assert (sampled.sum(-1) == 4).all()


def test_transformed_distributions() -> None:
    base = distributions.Normal(_f64(0.5), _f64(0.7))
    made = distributions.TransformedDistribution(base, distributions.ExpTransform())
    reference = stats.lognorm(0.7, scale=np.exp(0.5))
    points = [0.3, 1.0, 4.0]
    np.testing.assert_allclose(made.log_prob(_f64(points)).numpy(), reference.logpdf(points))
    np.testing.assert_allclose(made.cdf(_f64(points)).numpy(), reference.cdf(points))
    np.testing.assert_allclose(made.icdf(_f64([0.1, 0.9])).numpy(), reference.ppf([0.1, 0.9]))
    falling = distributions.TransformedDistribution(base, [distributions.AffineTransform(1.0, -2.0)])
    np.testing.assert_allclose(falling.cdf(_f64([0.3])).numpy(), stats.norm(0.0, 1.4).cdf([0.3]))
    with pytest.raises(ValueError, match="transforms must be a Transform or list"):
        distributions.TransformedDistribution(base, [3])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "transform",
    [
        distributions.ExpTransform(), distributions.SigmoidTransform(), distributions.TanhTransform(),
        distributions.SoftplusTransform(), distributions.PowerTransform(2.5), distributions.AffineTransform(1.0, -2.0),
        distributions.ComposeTransform([distributions.AffineTransform(0.0, 0.5), distributions.ExpTransform()]),
    ],
    ids=lambda t: type(t).__name__,
)  # fmt: skip
def test_transforms_are_inverted_and_say_how_they_stretch(transform: Any) -> None:
    x = _f64([0.3, 0.9, 1.7]).requires_grad_()
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y).detach().numpy(), x.detach().numpy())
    (slope,) = distgrad.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(transform.log_abs_det_jacobian(x, y).detach().numpy(), np.log(abs(slope.numpy())))
    np.testing.assert_allclose(
        transform.inv.log_abs_det_jacobian(y, x).detach().numpy(), -np.log(abs(slope.numpy()))
    )
    assert transform.inv.inv is transform


def test_mixtures() -> None:
    which = distributions.Categorical(_f64([0.25, 0.75]))
    each = distributions.Normal(_f64([-1.0, 2.0]), _f64([0.5, 1.5]))
    made = distributions.MixtureSameFamily(which, each)
    points = np.array([-1.0, 0.5, 3.0])
    parts = [stats.norm(-1.0, 0.5), stats.norm(2.0, 1.5)]
    density = 0.25 * parts[0].pdf(points) + 0.75 * parts[1].pdf(points)
    np.testing.assert_allclose(made.log_prob(_f64(points)).numpy(), np.log(density))
    share = 0.25 * parts[0].cdf(points) + 0.75 * parts[1].cdf(points)
    np.testing.assert_allclose(made.cdf(_f64(points)).numpy(), share)
    assert made.mean.item() == pytest.approx(1.25)
    assert made.variance.item() == pytest.approx(0.25 * (0.25 + 1) + 0.75 * (2.25 + 4) - 1.25**2)
    distgrad.manual_seed(0)
    drawn = made.sample((5000,)).numpy()
    assert drawn.mean() == pytest.approx(1.25, abs=0.1)
    with pytest.raises(ValueError, match="Categorical"):
        distributions.MixtureSameFamily(each, each)  # type: ignore[arg-type]


def test_expanding_repeats_a_batch() -> None:
    made = distributions.Gamma(_f64([1.0, 2.0]), _f64(3.0)).expand((4, 2))
    assert made.batch_shape == (4, 2)
    assert made.sample((3,)).shape == (3, 4, 2)
    assert made.mean.shape == (4, 2)


def test_poisson_and_binomial_functions() -> None:
    distgrad.manual_seed(0)
    assert distgrad.poisson(distgrad.full((2000,), 3.0)).mean().item() == pytest.approx(3.0, abs=0.2)
    counts = distgrad.binomial(distgrad.full((2000,), 10.0), distgrad.full((2000,), 0.3))
    assert counts.mean().item() == pytest.approx(3.0, abs=0.2)
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        distgrad.poisson(distgrad.tensor([-1.0]))
    rate = distgrad.ones(2, requires_grad=True)
    distgrad.poisson(rate).sum().backward()
    assert rate.grad is not None
    assert rate.grad.tolist() == [0.0, 0.0]


def test_wrong_parameters_are_refused() -> None:
    for make in (
        lambda: distributions.Gamma(-1.0, 1.0), lambda: distributions.Chi2(0.0), lambda: distributions.Beta(0.0, 1.0),
        lambda: distributions.Poisson(-1.0), lambda: distributions.Binomial(3, 1.5),
        lambda: distributions.NegativeBinomial(3, 1.0), lambda: distributions.HalfNormal(-1.0),
        lambda: distributions.Dirichlet(distgrad.tensor([-1.0, 1.0])),
        lambda: distributions.Dirichlet(distgrad.ones(())),
        lambda: distributions.Binomial(3), lambda: distributions.Gamma(1.0, 1.0).log_prob(distgrad.tensor(-1.0)),
        lambda: distributions.Poisson(1.0).log_prob(distgrad.tensor(0.5)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"Expected|at least one-dim|Either"):
            make()


@pytest.mark.torch
@pytest.mark.parametrize("name", [*CASES, *SEVERAL])
def test_all_is_pytorchs(name: str) -> None:
    import torch

    parameters, points = (CASES[name][0], CASES[name][2]) if name in CASES else SEVERAL[name]
    ours, our_leaves = _made(distgrad, name, parameters, grad=True)
    theirs, their_leaves = _made(torch, name, parameters, grad=True)
    assert ours.has_rsample == theirs.has_rsample
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    for what in ("mean", "mode", "variance", "stddev", "log_prob", "entropy", "cdf", "icdf"):
        arguments = [points] if what in ("log_prob", "cdf") else [[0.1, 0.5]] if what == "icdf" else []
        try:
            wanted = getattr(theirs, what)
            if callable(wanted):
                wanted = wanted(*[torch.tensor(a, dtype=torch.float64) for a in arguments])
        except NotImplementedError:
            continue
        found = getattr(ours, what)
        if callable(found):
            found = found(*[_f64(a) for a in arguments])
        np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-7, err_msg=what)
        if what == "cdf" and name in ("Gamma", "Chi2"):  # of which nobody has the derivative
            continue
        if wanted.requires_grad and what != "mode" and wanted.isfinite().all():
            a = distgrad.autograd.grad(found.sum(), our_leaves, retain_graph=True, allow_unused=True)
            b = torch.autograd.grad(wanted.sum(), their_leaves, retain_graph=True, allow_unused=True)
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(
                    0 if x is None else x.numpy(), 0 if y is None else y.numpy(), rtol=1e-6, atol=1e-9, err_msg=what
                )


@pytest.mark.torch
@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0, 60.0])
def test_the_gradient_of_gamma_numbers_is_near_pytorchs_approximation(alpha: float) -> None:
    import torch

    from distgrad.ops.sampling import _gamma_slope

    x = np.array([0.05, 0.3, 0.8, 1.2, 2.5]) * alpha
    ours = _gamma_slope(distgrad.full((5,), alpha, dtype=distgrad.float64), _f64(x)).numpy()
    theirs = torch._standard_gamma_grad(torch.full((5,), alpha, dtype=torch.float64), torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=3e-3)


PAIRS = [
    ("Gamma", "Gamma"), ("Beta", "Beta"), ("Poisson", "Poisson"), ("HalfNormal", "HalfNormal"), ("Cauchy", "Cauchy"),
    ("Gumbel", "Gumbel"), ("Pareto", "Pareto"), ("Binomial", "Binomial"), ("Geometric", "Geometric"),
    ("Exponential", "Gamma"), ("Gamma", "Exponential"), ("Dirichlet", "Dirichlet"),
]  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "Gamma": {"concentration": 1.3, "rate": 0.7}, "Beta": {"concentration1": 1.2, "concentration0": 3.0},
    "Poisson": {"rate": 1.1}, "HalfNormal": {"scale": 0.9}, "Cauchy": {"loc": -0.5, "scale": 1.5},
    "Gumbel": {"loc": 0.1, "scale": 1.5}, "Pareto": {"scale": 1.5, "alpha": 2.0},
    "Binomial": {"total_count": 7.0, "probs": 0.6}, "Geometric": {"probs": 0.6}, "Exponential": {"rate": 0.8},
    "Dirichlet": {"concentration": [1.1, 2.0, 3.0]},
}  # fmt: skip
FIRST = {
    **{n: c[0] for n, c in CASES.items()}, "Geometric": {"probs": 0.3}, "Exponential": {"rate": 1.5},
    "Dirichlet": SEVERAL["Dirichlet"][0],
}  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_divergences_are_pytorchs(pair: tuple[str, str]) -> None:
    import torch

    found = []
    for t in (distgrad, torch):
        module = importlib.import_module(f"{t.__name__}.distributions")
        p, q = _made(t, pair[0], FIRST[pair[0]])[0], _made(t, pair[1], OTHERS[pair[1]])[0]
        found.append(module.kl_divergence(p, q).item())
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize("name", ["Gamma", "Beta", "HalfNormal", "Gumbel", "Pareto"])
def test_divergences_are_integrals(name: str) -> None:
    from scipy.integrate import quad

    p, _ = _made(distgrad, name, FIRST[name])
    q, _ = _made(distgrad, name, OTHERS[name])
    reference = CASES[name][1]

    def integrand(x: float) -> float:
        return float(reference.pdf(x) * (p.log_prob(_f64(x)) - q.log_prob(_f64(x))).item())

    low, high = reference.ppf(1e-9), reference.ppf(1 - 1e-9)
    middle = reference.ppf([0.1, 0.5, 0.9])
    total, _ = quad(integrand, low, high, limit=400, points=list(middle))
    assert distributions.kl_divergence(p, q).item() == pytest.approx(total, rel=2e-4)
