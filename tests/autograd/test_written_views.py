"""A write is never unseen: every kind of view, mode, write and use gives PyTorch's gradient or PyTorch's error."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad
from tests.autograd.written_views import CELLS, Cell, chosen, outcome, read

pytestmark = pytest.mark.filterwarnings("ignore")  # both warn of what index tensors write to repeated elements


def same(a: Any, b: Any) -> bool:
    """Whether two outcomes are equal but for rounding."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return a == pytest.approx(b, rel=1e-6, nan_ok=True)
    return type(a) is type(b) and a == b


def differing(cells: list[Cell], right: list[Any]) -> list[tuple[Cell, Any, Any]]:
    found = [(cell, outcome(distgrad, cell), theirs) for cell, theirs in zip(cells, right, strict=True)]
    return [(cell, ours, theirs) for cell, ours, theirs in found if not same(ours, theirs)]


def test_cells_give_what_is_recorded_of_pytorch() -> None:
    assert len(CELLS) > 5000
    wrong = differing(CELLS, read())
    assert not wrong, f"{len(wrong)} cells (cell, ours, PyTorch's), the first: {wrong[:5]}"


@pytest.mark.torch
def test_other_cells_give_pytorchs_gradient_or_error() -> None:
    torch = pytest.importorskip("torch")
    cells = chosen(1)
    wrong = differing(cells, [outcome(torch, cell) for cell in cells])
    assert not wrong, f"{len(wrong)} cells (cell, ours, PyTorch's), the first: {wrong[:5]}"
