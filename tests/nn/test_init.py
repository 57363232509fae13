"""How parameters start: bounds, variances, shapes of distributions, seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn import init

OUT, IN = 200, 300


def drawn_from(values: np.ndarray, distribution: Any, args: tuple[float, ...] = ()) -> bool:
    """Whether Kolmogorov and Smirnov believe it."""
    from scipy import stats  # a second, which every worker would spend that collects this file

    return bool(stats.kstest(values, distribution, args=args).pvalue > 1e-4)


NORMAL, UNIFORM = "norm", "uniform"


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    distgrad.manual_seed(1234)
    yield
    distgrad.random.seed()


# name: (fill, distribution, standard deviation)
FILLS: dict[str, tuple[Callable[[Any], Any], str, float]] = {
    "uniform": (lambda t: init.uniform_(t, -0.3, 0.3), UNIFORM, 0.3 / math.sqrt(3)),
    "normal": (lambda t: init.normal_(t, 0.0, 0.2), NORMAL, 0.2),
    "xavier_uniform": (init.xavier_uniform_, UNIFORM, math.sqrt(2 / (IN + OUT))),
    "xavier_normal": (lambda t: init.xavier_normal_(t, gain=2.0), NORMAL, 2 * math.sqrt(2 / (IN + OUT))),
    "kaiming_uniform": (init.kaiming_uniform_, UNIFORM, math.sqrt(2 / IN)),
    "kaiming_uniform sqrt 5": (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), UNIFORM, 1 / math.sqrt(3 * IN)),
    "kaiming_normal": (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), NORMAL, math.sqrt(2 / IN)),
    "kaiming_normal fan_out": (lambda t: init.kaiming_normal_(t, mode="fan_out"), NORMAL, math.sqrt(2 / OUT)),
    "trunc_normal, far bounds": (lambda t: init.trunc_normal_(t, std=0.1), NORMAL, 0.1),
}


@pytest.mark.parametrize("name", FILLS)
def test_distributions(name: str) -> None:
    fill, distribution, std = FILLS[name]
    t = nn.Parameter(distgrad.empty(OUT, IN))
    assert fill(t) is t
    assert t.requires_grad
    assert t.is_leaf
    scale = std if distribution == NORMAL else 2 * std * math.sqrt(3)
    low = 0.0 if distribution == NORMAL else -scale / 2
    values = t.detach().numpy().ravel()
    assert drawn_from(values, distribution, (low, scale))
    assert values.std() == pytest.approx(std, rel=0.01)
    assert abs(values.mean()) < 5 * std / math.sqrt(values.size)


def test_linear_starts_as_pytorch_starts_it() -> None:
    layer = nn.Linear(IN, OUT)
    bound = 1 / math.sqrt(IN)
    for parameter in (layer.weight, layer.bias):
        values = parameter.detach().numpy().ravel()
        assert abs(values).max() <= bound
        assert drawn_from(values, "uniform", (-bound, 2 * bound))
    with pytest.warns(UserWarning, match="zero-element"):
        assert nn.Linear(0, 2).bias.tolist() == [0.0, 0.0]


def test_a_seed_gives_the_same_layers() -> None:
    first = nn.Linear(3, 2).state_dict()
    second = nn.Linear(3, 2).state_dict()
    distgrad.manual_seed(1234)
    again = nn.Linear(3, 2).state_dict()
    assert first["weight"].tolist() == again["weight"].tolist() != second["weight"].tolist()
    assert first["bias"].tolist() == again["bias"].tolist()
    own = distgrad.Generator().manual_seed(5)
    a = init.normal_(distgrad.empty(4), generator=own).tolist()
    assert a == init.normal_(distgrad.empty(4), generator=distgrad.Generator().manual_seed(5)).tolist()


def test_constants() -> None:
    assert init.constant_(distgrad.empty(2), 3.5).tolist() == [3.5, 3.5]
    assert init.ones_(distgrad.empty(2)).tolist() == [1.0, 1.0]
    assert init.zeros_(nn.Parameter(distgrad.ones(2))).tolist() == [0.0, 0.0]
    assert init.eye_(nn.Parameter(distgrad.ones(2, 3))).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    t = init.orthogonal_(distgrad.empty(*shape, dtype=distgrad.float64), gain=2.0).numpy()
    m = t.reshape(shape[0], -1)
    product = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_trunc_normal_stays_inside() -> None:
    values = init.trunc_normal_(distgrad.empty(OUT, IN), mean=1.0, std=2.0, a=0.0, b=1.5).numpy()
    assert values.min() >= 0.0
    assert values.max() <= 1.5
    assert drawn_from(values.ravel(), "truncnorm", (-0.5, 0.25, 1.0, 2.0))


def test_fans_and_gains() -> None:
    assert init._calculate_fan_in_and_fan_out(distgrad.empty(4, 3, 5, 2)) == (30, 40)
    assert init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1.0
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 2) == math.sqrt(2 / 5)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (lambda: init.kaiming_uniform_(distgrad.ones(2)), r"fewer than 2 dimensions; this one has shape \[2\]"),
        (lambda: init.kaiming_uniform_(distgrad.ones(2, 2), mode="x"), r"Mode x not supported, please use one of"),
        (lambda: init.calculate_gain("x"), "Unsupported nonlinearity x; the possible ones are: .*leaky_relu"),
        (lambda: init.calculate_gain("leaky_relu", True), "negative_slope True not a valid number"),
        (lambda: init.eye_(distgrad.ones(2)), r"Only tensors with 2 dimensions are supported.*\[2\]"),
        (lambda: init.orthogonal_(distgrad.ones(2)), r"Only tensors with 2 or more dimensions are supported"),
        (lambda: init.trunc_normal_(distgrad.ones(2), a=1.0, b=0.0), r"a <= b, but got a=1.0 > b=0.0"),
    ],
)
def test_what_is_refused(run: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        run()
