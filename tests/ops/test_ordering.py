"""Order, ranks and running extremes: ties, NaN, emptiness, names of results, and errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import distgrad as torch
from distgrad import return_types

nan, inf = float("nan"), float("inf")


def test_equals_stay_in_order_and_nan_is_the_largest() -> None:
    x = torch.tensor([2.0, nan, 1.0, 2.0, -0.0, 0.0, nan, inf])
    assert torch.sort(x).indices.tolist() == [4, 5, 2, 0, 3, 7, 1, 6]
    assert torch.sort(x, descending=True).indices.tolist() == [1, 6, 7, 0, 3, 2, 4, 5]
    assert torch.argsort(x, stable=True).tolist() == [4, 5, 2, 0, 3, 7, 1, 6]
    assert torch.topk(x, 3).indices.tolist() == [1, 6, 7]
    assert torch.topk(x, 2, largest=False).indices.tolist() == [4, 5]


def test_topk_of_many_is_the_end_of_the_sorting() -> None:
    x = torch.tensor(np.random.default_rng(3).integers(0, 50, (3, 200)).astype(np.float32))
    for largest in (True, False):
        values = torch.sort(x, descending=largest).values[:, :7]
        found = torch.topk(x, 7, largest=largest)
        assert torch.equal(found.values, values)
        assert torch.equal(torch.gather(x, 1, found.indices), values)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "int64"])
def test_every_type_is_sorted_in_its_own(dtype: str) -> None:
    x = torch.tensor([3, 1, 2, 1]).to(getattr(torch, dtype))
    found = torch.sort(x)
    assert found.values.dtype is x.dtype
    assert found.values.tolist() == [1, 1, 2, 3]
    assert found.indices.tolist() == [1, 3, 2, 0]
    assert torch.median(x).item() == 1
    assert torch.kthvalue(x, 3).values.item() == 2


def test_median_is_the_lower_one_and_nan_wins_unless_it_is_ignored() -> None:
    x = torch.tensor([[4.0, 1.0, 3.0, 2.0], [nan, 1.0, nan, 5.0]])
    assert torch.median(x[0]).item() == 2.0
    assert np.isnan(torch.median(x).item())
    assert torch.nanmedian(x).item() == 2.0
    assert torch.median(x, 1).indices.tolist() == [3, 0]
    assert torch.nanmedian(x, 1).values.tolist() == [2.0, 1.0]
    assert np.isnan(torch.median(torch.ones(0)).item())
    assert np.isnan(torch.nanmedian(torch.tensor([nan, nan]), 0).values.item())


def test_equals_share_the_gradient_of_the_median_of_all() -> None:
    x = torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0], requires_grad=True)
    torch.median(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)


def test_mode_is_the_smallest_of_the_most_frequent_at_its_last_place() -> None:
    found = torch.mode(torch.tensor([[2, 1, 2, 1, 3], [5, 5, 4, 3, 5]]))
    assert found.values.tolist() == [1, 5]
    assert found.indices.tolist() == [3, 4]


def test_running_extremes_take_the_last_of_equals_and_keep_nan() -> None:
    x = torch.tensor([1.0, 3.0, 3.0, 2.0, nan, 5.0])
    assert torch.cummax(x, 0).indices.tolist() == [0, 1, 2, 2, 4, 4]
    assert torch.cummin(x, 0).indices.tolist() == [0, 0, 0, 0, 4, 4]
    assert np.isnan(torch.cummax(x, 0).values.numpy()[4:]).all()
    y = torch.tensor([2.0, 1.0, 2.0], requires_grad=True)
    torch.cummax(y, 0).values.sum().backward()
    assert y.grad.tolist() == [2.0, 0.0, 1.0]


def test_the_product_so_far_has_a_gradient_at_zeros() -> None:
    x = torch.tensor([2.0, 0.0, 3.0, 0.0], requires_grad=True)
    torch.cumprod(x, 0).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0 + 6.0, 0.0, 0.0]


def test_the_logarithm_of_sums_so_far_does_not_overflow() -> None:
    x = torch.tensor([1000.0, 1000.0, -inf], dtype=torch.float64, requires_grad=True)
    out = torch.logcumsumexp(x, 0)
    np.testing.assert_allclose(out.detach().numpy(), [1000.0, 1000.0 + np.log(2), 1000.0 + np.log(2)])
    out[1].backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.5, 0.5, 0.0])


def test_quantiles_between_and_with_nan() -> None:
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0], [nan, 1.0, 3.0, 5.0]])
    assert torch.quantile(x[0], 0.5).item() == 3.0
    ways = {"lower": 2.0, "higher": 4.0, "midpoint": 3.0, "nearest": 4.0, "linear": 3.0}
    for way, want in ways.items():
        assert torch.quantile(x[0], 0.5, interpolation=way).item() == want, way
    found = torch.quantile(x, torch.tensor([0.0, 1.0]), dim=1, keepdim=True)
    assert found.shape == (2, 2, 1)
    assert np.isnan(found.numpy()[:, 1]).all()
    assert torch.nanquantile(x, 0.5, dim=1).tolist() == [3.0, 3.0]


def test_sums_and_means_without_nan() -> None:
    x = torch.tensor([[1.0, nan], [nan, nan]], requires_grad=True)
    assert torch.nansum(x).item() == 1.0
    torch.nansum(x).backward()
    assert x.grad.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    found = torch.nanmean(x, 1)
    assert found[0].item() == 1.0
    assert np.isnan(found[1].item())


def test_distinct_elements() -> None:
    x = torch.tensor([[3, 1], [1, 3], [3, 1]])
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([1, 3], [[1, 0], [0, 1], [1, 0]], [3, 3])
    values, inverse, counts = torch.unique(x, dim=0, return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([[1, 3], [3, 1]], [1, 0, 1], [1, 2])
    assert len(torch.unique(torch.tensor([nan, nan, 1.0]))) == 3
    assert torch.unique_consecutive(torch.tensor([1, 1, 2, 1])).tolist() == [1, 2, 1]
    assert torch.unique(torch.ones(0)).shape == (0,)
    assert torch.bincount(torch.tensor([], dtype=torch.int64), minlength=2).tolist() == [0, 0]


def test_results_have_names_as_pytorchs() -> None:
    found = torch.topk(torch.tensor([1.0, 3.0]), 1)
    assert repr(found) == "torch.return_types.topk(\nvalues=tensor([3.]),\nindices=tensor([1]))"
    values, indices = found
    assert found.values is values
    assert found[1] is indices
    assert isinstance(found, return_types.topk)
    assert repr(torch.aminmax(torch.tensor([1, 2]))) == "torch.return_types.aminmax(\nmin=tensor(1),\nmax=tensor(2))"
    assert repr(torch.max(torch.tensor([1, 2]), 0)).startswith("torch.return_types.max(")
    again = copy.copy(return_types.sort((1, 2)))
    assert type(again) is return_types.sort
    assert again == (1, 2)
    with pytest.raises(TypeError, match="takes a 2-sequence"):
        return_types.max((1,))
    with pytest.raises(TypeError, match="requires a sequence"):
        return_types.max(1)


ERRORS: dict[str, tuple[type[Exception], Any]] = {
    "selected index k out of range": (RuntimeError, lambda: torch.topk(torch.ones(3), 4)),
    "topk does not support bool": (RuntimeError, lambda: torch.topk(torch.tensor([True]), 1)),
    "Sort does not support complex": (RuntimeError, lambda: torch.sort(torch.ones(2, dtype=torch.complex64))),
    "Dimension out of range": (IndexError, lambda: torch.sort(torch.ones(2), 3)),
    "k out of range for dimension": (RuntimeError, lambda: torch.kthvalue(torch.ones(3), 0)),
    "non-zero size": (IndexError, lambda: torch.median(torch.ones(0, 2), 0)),
    "median_cpu": (NotImplementedError, lambda: torch.median(torch.tensor([True]))),
    "no identity": (RuntimeError, lambda: torch.aminmax(torch.ones(0))),
    "logcumsumexp_out_cpu": (NotImplementedError, lambda: torch.logcumsumexp(torch.tensor([1]), 0)),
    "at least one-dimensional": (RuntimeError, lambda: torch.diff(torch.tensor(1.0))),
    "must be in the range": (RuntimeError, lambda: torch.quantile(torch.ones(2), 1.5)),
    "either float or double": (RuntimeError, lambda: torch.quantile(torch.tensor([1, 2]), 0.5)),
    "non-negative integral": (RuntimeError, lambda: torch.bincount(torch.tensor([-1]))),
    "set to opposites": (
        RuntimeError,
        lambda: torch.searchsorted(torch.tensor([1]), torch.tensor([1]), side="left", right=True),
    ),
    "sorter index out of range": (
        RuntimeError,
        lambda: torch.searchsorted(torch.tensor([1]), torch.tensor([1]), sorter=torch.tensor([4])),
    ),
}


@pytest.mark.parametrize("said", ERRORS)
def test_what_is_refused(said: str) -> None:
    kind, call = ERRORS[said]
    with pytest.raises(kind, match=said):
        call()


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_with_the_weights_given(replacement: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    weights = torch.tensor([[1.0, 0.0, 3.0], [0.0, 5.0, 5.0]])
    draws = torch.cat([torch.multinomial(weights, 2, replacement, generator=generator)[:, :1] for _ in range(2000)], 1)
    assert draws.dtype is torch.int64
    shares = [torch.bincount(row, minlength=3).numpy() / 2000 for row in draws]
    np.testing.assert_allclose(shares, [[0.25, 0, 0.75], [0, 0.5, 0.5]], atol=0.05)


def test_multinomial_draws_none_twice_without_replacement() -> None:
    drawn = torch.multinomial(torch.ones(50, 4), 4)
    assert torch.equal(torch.sort(drawn).values, torch.arange(4).expand(50, 4))
    a, b = (torch.multinomial(torch.ones(9), 3, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("weights", "n", "said"),
    [
        ([0.0, 0.0], 1, "sum of probabilities <= 0"),
        ([-1.0, 2.0], 1, "element < 0"),
        ([nan, 2.0], 1, "element < 0"),
        ([1.0, 2.0], 3, "without replacement"),
        ([1.0, 2.0], 0, "n_sample <= 0"),
    ],
)
def test_multinomial_refuses(weights: list[float], n: int, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        torch.multinomial(torch.tensor(weights), n)
