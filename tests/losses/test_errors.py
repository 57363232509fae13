"""What the losses refuse, and what they take, beside PyTorch: the class of the error, or the dtype and the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import distgrad

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # of broadcasting, of deprecations

PAIRS: dict[str, Callable[[Any, Any, Any, Any], tuple[Any, Any]]] = {  # of t, x (2), i (2) and h (2, 3)
    "integers": lambda t, x, i, h: (i, i),
    "an integer target": lambda t, x, i, h: (x, i),
    "two types": lambda t, x, i, h: (x, x.double()),
    "a row": lambda t, x, i, h: (h, h[0]),
    "sizes": lambda t, x, i, h: (h, h[:, :2]),
    "nothing": lambda t, x, i, h: (x[:0], x[:0]),
}
CLASSES: dict[str, Callable[[Any, Any, Any, Any], tuple[Any, ...]]] = {
    "int32": lambda t, x, i, h: (h, i.int()),
    "bytes": lambda t, x, i, h: (h, i.byte()),
    "floats": lambda t, x, i, h: (h, x),
    "a short weight": lambda t, x, i, h: (h, i, x),
    "a wide weight": lambda t, x, i, h: (h, i, t.ones(3, 1)),
    "a double weight": lambda t, x, i, h: (h, i, t.ones(3).double()),
    "no such class": lambda t, x, i, h: (h, i + 5),
    "a batch too long": lambda t, x, i, h: (h, t.tensor([0, 1, 1])),
    "a column": lambda t, x, i, h: (h, t.tensor([[0], [1]])),
    "a map's size": lambda t, x, i, h: (t.ones(2, 3, 4), t.zeros(2, 5).long()),
    "a map's batch": lambda t, x, i, h: (t.ones(2, 3, 4), t.zeros(3, 4).long()),
    "one sample, three targets": lambda t, x, i, h: (x, t.tensor([0, 1, 1])),
    "a number": lambda t, x, i, h: (t.ones(()), t.tensor(0)),
    "one target": lambda t, x, i, h: (h, t.tensor(0)),
    "nothing": lambda t, x, i, h: (h[:0], i[:0]),
    "all ignored": lambda t, x, i, h: (h, i * 0 - 100),
    "integers": lambda t, x, i, h: (t.ones(2, 3).long(), i),
}
OTHERS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "probabilities' size": lambda t, x, i, h: t.nn.functional.cross_entropy(h, t.ones(2, 4)),
    "probabilities' type": lambda t, x, i, h: t.nn.functional.cross_entropy(h, h.double()),
    "cosine of integers": lambda t, x, i, h: t.nn.functional.cosine_similarity(i, i, dim=0),
    "cosine's dimension": lambda t, x, i, h: t.nn.functional.cosine_similarity(h, h, dim=4),
    "cosine's batch": lambda t, x, i, h: t.nn.functional.cosine_embedding_loss(h, h, t.ones(3)),
    "cosine's targets": lambda t, x, i, h: t.nn.functional.cosine_embedding_loss(h, h, t.ones(2, 2)),
    "cosine of rows": lambda t, x, i, h: t.nn.functional.cosine_similarity(h, h[0] + 1),
    "distance of rows": lambda t, x, i, h: t.nn.functional.pairwise_distance(h, h[0] + 1, keepdim=True),
    "ranking's sizes": lambda t, x, i, h: t.nn.functional.margin_ranking_loss(x, t.ones(3), x),
    "triplet's sizes": lambda t, x, i, h: t.nn.functional.triplet_margin_loss(h, h[:, :2], h),
    "hinge's sizes": lambda t, x, i, h: t.nn.functional.hinge_embedding_loss(h, t.ones(4)),
    "gaussian's sizes": lambda t, x, i, h: t.nn.functional.gaussian_nll_loss(h, t.ones(4), h),
    "huber of two types": lambda t, x, i, h: t.nn.functional.huber_loss(x, x.double() * 3),
}


def same(asked: Callable[[Any, Any, Any, Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    found: list[Any] = []
    for t in (distgrad, torch):
        try:
            out = asked(t, t.ones(2) * 0.5, t.tensor([0, 1]), t.ones(2, 3) * 0.5)
            found.append([str(out.dtype), tuple(out.shape), *out.double().reshape(-1).tolist()])
        except Exception as e:
            found.append([type(e).__name__])
    ours, theirs = found
    assert ours[:2] == theirs[:2]
    assert ours[2:] == pytest.approx(theirs[2:], rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("given", PAIRS)
@pytest.mark.parametrize(
    "name",
    [
        "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "kl_div", "poisson_nll_loss",
        "binary_cross_entropy", "binary_cross_entropy_with_logits",
    ],
)  # fmt: skip
def test_pairs(name: str, given: str) -> None:
    same(lambda t, x, i, h: getattr(t.nn.functional, name)(*PAIRS[given](t, x, i, h)))


@pytest.mark.parametrize("given", CLASSES)
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_classes(name: str, given: str) -> None:
    same(lambda t, x, i, h: getattr(t.nn.functional, name)(*CLASSES[given](t, x, i, h)))


@pytest.mark.parametrize("given", OTHERS)
def test_others(given: str) -> None:
    same(OTHERS[given])
