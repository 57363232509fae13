"""What operations save: after a write to an input or a result the gradient is right or an error, never a wrong number;
and where PyTorch lets the write pass, so do we."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import distgrad
from tests.ops.case import Row
from tests.ops.saved import RECORDED, allowed, gradients, places
from tests.ops.test_rows import ROWS

pytestmark = pytest.mark.filterwarnings("ignore")
LET = {name: set(let.split()) for name, let in json.loads(RECORDED.read_text()).items()}


def equal(a: Any, b: Any) -> bool:
    return all(
        (x is None and y is None)
        or (x is not None and y is not None and np.allclose(x, y, 1e-9, 1e-12, equal_nan=True))
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_write_makes_a_wrong_gradient(row: Row) -> None:
    for i, case in enumerate(row.cases[:2]):
        right = gradients(distgrad, row, case)
        if right is None:
            continue
        for place in places(distgrad, row, case):
            found = gradients(distgrad, row, case, place)
            if found == "raises":
                assert place not in LET.get(f"{row.name} {i}", ()), f"PyTorch lets {place} be written"
            else:
                assert equal(found, right), f"a write to {place} is not seen"


@pytest.mark.torch
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_the_table_is_pytorchs(row: Row) -> None:
    torch = pytest.importorskip("torch")
    for i, case in enumerate(row.cases[:2]):
        recorded = gradients(torch, row, case) is not None
        assert LET.get(f"{row.name} {i}", set()) <= (allowed(torch, row, case) if recorded else set())


def test_results_of_inputs_alone_may_be_overwritten() -> None:
    a = distgrad.tensor([0.0, 0.0], requires_grad=True)
    b = 1 / ((-a).exp() + 1)
    b[1] = 2
    b.sum().backward()
    assert a.grad.tolist() == [0.25, 0.0]
