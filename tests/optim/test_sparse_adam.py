"""SparseAdam: by hand, beside PyTorch's, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn import functional as F


def table(t: Any = distgrad, seed: int = 0, rows: int = 6) -> Any:
    return t.nn.Parameter(t.tensor(np.random.default_rng(seed).standard_normal((rows, 3))))


def trajectory(t: Any, options: dict[str, Any], groups: dict[str, Any], steps: int = 25) -> tuple[list[Any], Any]:
    """The two tables after each step, and the optimizer; rows come unevenly, twice in a step, or not at all."""
    a, b = table(t), table(t, 1, 9)
    optimizer = t.optim.SparseAdam([{"params": [a]}, {"params": [b], **groups}], **options)
    rng = np.random.default_rng(3)
    seen = []
    for k in range(steps):
        optimizer.zero_grad()
        i, j = rng.integers(0, 5, 4), rng.integers(0, 9, (2, 3))
        loss = (t.nn.functional.embedding(t.tensor(i), a, sparse=True) ** 3).sum()
        if k % 4:
            loss = loss + (t.nn.functional.embedding(t.tensor(j), b, sparse=True) - 1).pow(2).sum()
        loss.backward()
        optimizer.step()
        seen.append((a.detach().numpy().copy(), b.detach().numpy().copy()))
    return seen, optimizer


@pytest.mark.torch
@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({}, {}),
        ({"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4}, {}),
        ({"lr": 0.01, "maximize": True}, {}),
        ({"lr": 0.01}, {"lr": 0.3, "betas": (0.5, 0.6), "maximize": True}),
    ],
    ids=str,
)
def test_trajectories_are_pytorchs(options: dict[str, Any], groups: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, optimizer = trajectory(distgrad, options, groups)
    theirs, other = trajectory(torch, options, groups)
    for mine, yours in zip(ours, theirs, strict=True):
        for x, y in zip(mine, yours, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-14)
    mine, yours = optimizer.state_dict(), other.state_dict()
    assert {k: sorted(v) for k, v in mine["state"].items()} == {k: sorted(v) for k, v in yours["state"].items()}
    for k in yours["state"]:
        assert mine["state"][k]["step"] == yours["state"][k]["step"]
        for name in ("exp_avg", "exp_avg_sq"):
            np.testing.assert_allclose(mine["state"][k][name].numpy(), yours["state"][k][name].numpy(), rtol=1e-8)


@pytest.mark.torch
def test_pytorchs_state_is_taken_over() -> None:
    torch = pytest.importorskip("torch")
    _, other = trajectory(torch, {"lr": 0.1}, {}, steps=3)
    _, ours = trajectory(distgrad, {"lr": 0.1}, {}, steps=3)
    fresh = distgrad.optim.SparseAdam([{"params": [p]} for g in ours.param_groups for p in g["params"]], lr=0.5)
    fresh.load_state_dict(other.state_dict())
    assert fresh.param_groups[0]["lr"] == 0.1
    for mine, yours in zip(fresh.state.values(), other.state.values(), strict=True):
        assert mine["step"] == yours["step"]
        np.testing.assert_allclose(mine["exp_avg"].numpy(), yours["exp_avg"].numpy())
    for g in ours.param_groups:
        (p,) = g["params"]
        p.grad = None
        F.embedding(distgrad.tensor([0, 1]), p, sparse=True).sum().backward()
    fresh.step()
    assert [s["step"] for s in fresh.state.values()] == [s["step"] + 1 for s in other.state.values()]


def test_the_first_step_by_hand() -> None:
    """m = (1 - β₁) g and v = (1 - β₂) g², so the step is lr √(1 - β₂) g / (√(1 - β₂) |g| + ε)."""
    p = table()
    before = p.tolist()
    optimizer = distgrad.optim.SparseAdam([p], lr=0.5, eps=1e-3)
    (F.embedding(distgrad.tensor([2, 4, 2]), p, sparse=True) * 3).sum().backward()
    optimizer.step()
    root = (1 - 0.999) ** 0.5
    for row, g in ((2, 6.0), (4, 3.0)):
        moved = 0.5 * root * g / (root * g + 1e-3)
        assert p[row].tolist() == pytest.approx([x - moved for x in before[row]], rel=1e-12)
    for row in (0, 1, 3, 5):
        assert p[row].tolist() == before[row]
    state = optimizer.state[p]
    assert state["step"] == 1
    assert state["exp_avg"][:, 0].tolist() == pytest.approx([0, 0, 0.6, 0, 0.3, 0])
    assert state["exp_avg_sq"][:, 0].tolist() == pytest.approx([0, 0, 0.036, 0, 0.009, 0])


def test_rows_not_named_keep_value_and_moments() -> None:
    p = table()
    optimizer = distgrad.optim.SparseAdam([p], lr=0.1)
    for rows in ([0, 1], [1, 2]):
        optimizer.zero_grad()
        F.embedding(distgrad.tensor(rows), p, sparse=True).sum().backward()
        optimizer.step()
        if rows == [0, 1]:
            kept, moments = p[0].tolist(), optimizer.state[p]["exp_avg"][0].tolist()
    assert p[0].tolist() == kept
    assert optimizer.state[p]["exp_avg"][0].tolist() == moments
    optimizer.zero_grad(set_to_none=False)
    before = p.tolist()
    optimizer.step()  # an empty gradient counts a step and changes nothing, as in PyTorch
    assert p.tolist() == before
    assert optimizer.state[p]["step"] == 3


def test_state_round_trip() -> None:
    p, q = table(), table()
    first, second = distgrad.optim.SparseAdam([p], lr=0.1), distgrad.optim.SparseAdam([q], lr=0.1)

    def step(t: Any, optimizer: Any) -> None:
        optimizer.zero_grad()
        F.embedding(distgrad.tensor([0, 3, 3]), t, sparse=True).pow(2).sum().backward()
        optimizer.step()

    step(p, first)
    with distgrad.no_grad():
        q.copy_(p)
    second.load_state_dict(first.state_dict())
    step(p, first)
    step(q, second)
    assert p.tolist() == q.tolist()
    assert second.state[q]["exp_avg"] is not first.state[p]["exp_avg"]
    assert first.step(lambda: 7.0) == 7.0


def test_a_model_learns() -> None:
    distgrad.manual_seed(0)
    words, layer = nn.Embedding(50, 8, sparse=True), nn.Linear(8, 2)
    sparse = distgrad.optim.SparseAdam(words.parameters(), lr=0.05)
    dense = distgrad.optim.Adam(layer.parameters(), lr=0.05)
    x = distgrad.arange(50).reshape(10, 5)
    y = distgrad.arange(10) % 2
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(layer(words(x).mean(1)), y)
        sparse.zero_grad()
        dense.zero_grad()
        loss.backward()
        sparse.step()
        dense.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_what_is_refused() -> None:
    p = table()
    for options, text in (
        ({"lr": 0.0}, "Invalid learning rate: 0.0; it must be above 0"),
        ({"eps": 0.0}, "Invalid epsilon value: 0.0; it must be above 0"),
        ({"betas": (0.5, 1.0)}, r"Invalid beta parameter at index 1: 1.0; it must be in \[0, 1\)"),
        ({"lr": distgrad.ones(2)}, "Tensor lr must be 1-element, got 2 elements"),
    ):
        with pytest.raises(ValueError, match=text):
            distgrad.optim.SparseAdam([p], **options)
    with pytest.raises(ValueError, match=r"Complex params at indices \[0\]"):
        distgrad.optim.SparseAdam([distgrad.zeros(2, dtype=distgrad.complex64).requires_grad_()])
    p.sum().backward()
    with pytest.raises(RuntimeError, match="does not support dense gradients, please consider Adam instead"):
        distgrad.optim.SparseAdam([p]).step()


def test_on_a_device(device_double: Any) -> None:
    found = []
    for where in ("cpu", "cuda:0"):
        p = nn.Parameter(table().detach().to(where))
        optimizer = distgrad.optim.SparseAdam([p], lr=0.1)
        for rows in ([0, 1, 1], [4, 0, 4]):
            optimizer.zero_grad()
            F.embedding(distgrad.tensor(rows, device=where), p, sparse=True).pow(2).sum().backward()
            optimizer.step()
        assert str(p.device) == where
        found.append(p.detach().cpu().numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
