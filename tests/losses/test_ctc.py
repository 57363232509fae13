"""Connectionist temporal classification: against all paths counted out, finite differences and PyTorch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn import functional as F

LOGITS = np.random.default_rng(3).standard_normal((5, 3, 4))


def by_paths(logs: np.ndarray, target: list[int], blank: int = 0) -> float:
    """-log of the sum over all paths, named one by one."""
    total = 0.0
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        if [c for c, _ in itertools.groupby(path) if c != blank] == target:
            total += math.exp(sum(row[c] for row, c in zip(logs, path, strict=True)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("blank", [0, 2])
def test_it_is_the_sum_over_all_paths(blank: int) -> None:
    logs = distgrad.tensor(LOGITS).log_softmax(2)
    targets = [[1, 1], [3], [3, 1, 3]]
    steps = [5, 4, 5]
    padded = distgrad.tensor([t + [0] * (3 - len(t)) for t in targets])
    found = F.ctc_loss(logs, padded, steps, [2, 1, 3], blank, "none")
    for i, (target, n) in enumerate(zip(targets, steps, strict=True)):
        assert found[i].item() == pytest.approx(by_paths(logs[:n, i].numpy(), target, blank))
    joined = distgrad.tensor([c for t in targets for c in t])
    assert distgrad.equal(F.ctc_loss(logs, joined, steps, [2, 1, 3], blank, "none"), found)


def test_gradients_below_log_softmax_equal_finite_differences() -> None:
    x = distgrad.tensor(LOGITS, requires_grad=True)
    targets = distgrad.tensor([[1, 1], [3, 0], [2, 3]])

    def loss(a: Any) -> Any:
        return F.ctc_loss(a.log_softmax(2), targets, [5, 4, 5], [2, 1, 2])

    assert distgrad.autograd.gradcheck(loss, [x])
    (first,) = distgrad.autograd.grad(loss(x), x)
    assert not first[4, 1].any()  # beyond the length
    with pytest.raises(RuntimeError, match="not implemented"):
        distgrad.autograd.grad(loss(x), x, create_graph=True)


def test_what_is_too_long_for_its_steps() -> None:
    x = distgrad.tensor(LOGITS, requires_grad=True)
    given = (distgrad.tensor([[1, 1], [3, 1], [2, 3]]), [2, 2, 5], [2, 2, 2])
    assert math.isinf(nn.CTCLoss(reduction="none")(x.log_softmax(2), *given)[0])
    loss = nn.CTCLoss(reduction="sum", zero_infinity=True)(x.log_softmax(2), *given)
    assert math.isfinite(loss)
    loss.backward()
    assert not x.grad[:, 0].any()
    assert x.grad[:, 2].any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"input_lengths": [7, 5, 5]}, "at most 5"),
        ({"input_lengths": [5]}, "batch_size"),
        ({"target_lengths": [2, 2, 3]}, "size at least 3 at dimension 1"),
        ({"blank": 9}, "blank must be in label range"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[str, Any], text: str) -> None:
    given = {"targets": distgrad.ones(3, 2).long(), "input_lengths": [5, 5, 5], "target_lengths": [2, 2, 2]}
    with pytest.raises(RuntimeError, match=text):
        F.ctc_loss(distgrad.tensor(LOGITS).log_softmax(2), **{**given, **change})


@pytest.mark.torch
def test_it_equals_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    grads = []
    for t in (distgrad, torch):
        x = t.tensor(LOGITS, requires_grad=True)
        t.nn.CTCLoss(blank=1)(
            x.log_softmax(2), t.tensor([[0, 2], [3, 3], [2, 0]]), t.tensor([5, 5, 4]), t.tensor([2, 2, 1])
        ).backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, atol=1e-12)
