"""Sampling at places, and activations that overwrite: by hand, what is refused, and beside PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.nn import functional as F

rng = np.random.default_rng(2)
X = distgrad.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])


def at(*places: tuple[float, float], **options: Any) -> list[float]:
    """The elements 0, 1 / 2, 3 at these places, x and y."""
    found = F.grid_sample(X, distgrad.tensor([[list(map(list, places))]]), **{"align_corners": False, **options})
    return found.flatten().tolist()


def test_by_hand() -> None:
    # the middles of the elements are at ±1/2, where the corners are not aligned
    assert at((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.0, 0.0)) == [0.0, 1.0, 2.0, 1.5]
    assert at((0.5, 1.0), (1.5, 0.0), (3.0, 0.0)) == [1.5, 0.0, 0.0]  # a half and all of it is outside
    assert at((0.5, 1.0), (3.0, 0.5), (-9.0, 0.0), padding_mode="border") == [3.0, 3.0, 1.0]
    assert at((1.5, 0.5), (-1.5, -0.5), (2.5, 0.5), padding_mode="reflection") == [3.0, 0.0, 2.0]
    assert at((-1.0, -1.0), (1.0, 1.0), (0.0, -1.0), align_corners=True) == [0.0, 3.0, 0.5]
    assert at((0.1, 0.9), (-0.6, -0.9), (-1.3, 0.0), mode="nearest") == [3.0, 0.0, 0.0]
    assert at((0.5, -0.5), mode="bicubic") == [1.0]
    grid = distgrad.tensor([[[[0.25, 0.0]]]], requires_grad=True)
    F.grid_sample(X, grid, align_corners=True).sum().backward()
    assert grid.grad is not None
    assert grid.grad.tolist() == [[[[0.5, 1.0]]]]  # an element is half a unit; a row is 2


def test_places_that_are_no_number() -> None:
    assert math.isnan(at((math.nan, 0.0))[0])
    assert at((math.nan, math.nan), padding_mode="border") == [0.0]
    assert at((math.nan, math.nan), padding_mode="reflection", mode="nearest") == [0.0]


def R(t: Any, *shape: int) -> Any:
    return t.ones(*shape)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "last dimension": lambda t: t.nn.functional.grid_sample(R(t, 1, 1, 2, 2), R(t, 1, 2, 2, 3), align_corners=False),
    "batch": lambda t: t.nn.functional.grid_sample(R(t, 1, 1, 2, 2), R(t, 2, 2, 2, 2), align_corners=False),
    "rank": lambda t: t.nn.functional.grid_sample(R(t, 1, 2, 2), R(t, 1, 2, 2, 2), align_corners=False),
    "mode": lambda t: t.nn.functional.grid_sample(R(t, 1, 1, 2, 2), R(t, 1, 2, 2, 2), mode="x"),
    "padding": lambda t: t.nn.functional.grid_sample(R(t, 1, 1, 2, 2), R(t, 1, 2, 2, 2), padding_mode="x"),
    "volume": lambda t: t.nn.functional.grid_sample(
        R(t, 1, 1, 2, 2, 2), R(t, 1, 2, 2, 2, 3), mode="bicubic", align_corners=False
    ),
    "empty": lambda t: t.nn.functional.grid_sample(R(t, 1, 1, 0, 2), R(t, 1, 2, 2, 2), align_corners=False),
    "dtypes": lambda t: t.nn.functional.grid_sample(R(t, 1, 1, 2, 2), R(t, 1, 2, 2, 2).double(), align_corners=False),
    "integers": lambda t: t.nn.functional.grid_sample(
        R(t, 1, 1, 2, 2).int(), R(t, 1, 2, 2, 2).int(), align_corners=False
    ),
    "theta": lambda t: t.nn.functional.affine_grid(R(t, 1, 3, 3), (1, 1, 2, 2), align_corners=False),
    "whole theta": lambda t: t.nn.functional.affine_grid(R(t, 1, 2, 3).int(), (1, 1, 2, 2), align_corners=False),
    "theta of an image": lambda t: t.nn.functional.affine_grid(R(t, 1, 2, 3), (1, 1, 2, 2, 2), align_corners=False),
    "no size": lambda t: t.nn.functional.affine_grid(R(t, 1, 2, 3), (1, 1, 0, 2), align_corners=False),
    "few sizes": lambda t: t.nn.functional.affine_grid(R(t, 1, 2, 3), (1, 1, 2), align_corners=False),
    "samples": lambda t: t.nn.functional.affine_grid(R(t, 2, 2, 3), (1, 1, 1, 2), align_corners=False),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        REFUSED[case](distgrad)


@pytest.mark.torch
@pytest.mark.parametrize("case", REFUSED)
def test_errors_are_pytorchs(case: str) -> None:
    said = []
    for t in (distgrad, pytest.importorskip("torch")):
        with pytest.raises(Exception) as caught:
            REFUSED[case](t)
        said.append((caught.type.__name__, str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.torch
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_values_and_gradients_are_pytorchs(mode: str, padding: str, aligned: bool) -> None:
    torch = pytest.importorskip("torch")
    for shape, places in (
        ((2, 3, 4, 5), (2, 6, 7, 2)),
        ((2, 2, 1, 3), (2, 4, 4, 2)),
        ((1, 2, 3, 4, 2), (1, 5, 3, 2, 3)),
    ):
        if mode == "bicubic" and len(shape) == 5:
            continue
        x, grid = rng.standard_normal(shape), rng.standard_normal(places) * 2
        weight = rng.standard_normal((*shape[:2], *places[1:-1]))
        results = []
        for t in (distgrad, torch):
            a, g = t.tensor(x, requires_grad=True), t.tensor(grid, requires_grad=True)
            out = t.nn.functional.grid_sample(a, g, mode, padding, aligned)
            (out * t.tensor(weight)).sum().backward()
            results.append([out, a.grad, t.zeros_like(g) if g.grad is None else g.grad])
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.torch
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 1, 3), (1, 1, 2, 3, 4)])
@pytest.mark.filterwarnings("ignore:Since version 1.3.0")
def test_places_are_pytorchs(size: tuple[int, ...], aligned: bool) -> None:
    torch = pytest.importorskip("torch")
    n = len(size) - 2
    theta = rng.standard_normal((size[0], n, n + 1))
    ours = F.affine_grid(distgrad.tensor(theta), size, aligned)
    theirs = torch.nn.functional.affine_grid(torch.tensor(theta), size, aligned)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-10, atol=1e-12)


def test_the_default_warns() -> None:
    with pytest.warns(UserWarning, match="Default grid_sample and affine_grid behavior"):
        F.grid_sample(X, distgrad.zeros(1, 1, 1, 2))
    with pytest.warns(UserWarning, match="Default grid_sample and affine_grid behavior"):
        F.affine_grid(distgrad.zeros(1, 2, 3), (1, 1, 2, 2))
    with pytest.warns(UserWarning, match="unit-size grids"):
        F.affine_grid(distgrad.zeros(1, 2, 3), (1, 1, 1, 2), align_corners=True)


OVERWRITING: dict[str, tuple[Any, ...]] = {
    "relu": (), "elu": (0.5,), "celu": (0.5,), "selu": (), "hardtanh": (-0.5, 0.7), "leaky_relu": (0.2,),
    "rrelu": (0.3, 0.3), "threshold": (0.1, 5.0),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERWRITING)
def test_activations_overwrite(name: str) -> None:
    values = rng.standard_normal(20)
    leaf = distgrad.tensor(values, requires_grad=True)
    x = leaf * 1.0
    kept = x
    found = getattr(F, name + "_")(x, *OVERWRITING[name])
    assert found is kept
    other = distgrad.tensor(values, requires_grad=True)
    plain = getattr(F, name)(other, *OVERWRITING[name])
    assert kept.tolist() == plain.tolist()
    kept.sum().backward()
    plain.sum().backward()
    assert leaf.grad is not None
    assert other.grad is not None
    assert leaf.grad.tolist() == other.grad.tolist()
    with pytest.raises(RuntimeError, match="leaf"):
        getattr(F, name + "_")(leaf, *OVERWRITING[name])


def test_deprecated_names_warn() -> None:
    x = distgrad.tensor(rng.standard_normal((1, 1, 2, 2)))
    for name, options in (("upsample", {}), ("upsample_nearest", {}), ("upsample_bilinear", {"mode": "bilinear"})):
        with pytest.warns(UserWarning, match="deprecated"):
            found = getattr(F, name)(x, 4)
        aligned = {"align_corners": True} if options else {}
        assert found.equal(F.interpolate(x, 4, **options, **aligned))  # type: ignore[arg-type]
