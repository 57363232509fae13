"""Every row of the table of operations on a device: values and gradients are the host's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad import backend
from tests.ops.case import Row, outputs
from tests.ops.test_rows import ROWS, TOLERANCE, as_numpy, dtypes_of, inputs_of, run, weighted

# The double is NumPy, which warns where CuPy is silent.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)


def compare(host: list[Any], there: list[Any], tolerance: float) -> None:
    for a, b in zip(host, there, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


@each_row
def test_in_every_dtype(row: Row, device: str) -> None:
    for dtype in [*dtypes_of(row), "float32", *(("float16", "bfloat16") if row.half else ())]:
        for case in row.cases:
            for host, there in zip(run(dg, row, case, dtype), run(dg, row, case, dtype, device), strict=True):
                compare(host, there, {"float64": 1e-12, "complex128": 1e-12}.get(dtype, TOLERANCE.get(dtype, 0.0)))


@each_row
def test_on_a_device_that_is_not_the_current_one(row: Row, apart: tuple[str, str]) -> None:
    current, other = apart
    for dtype in dtypes_of(row):
        for case in row.cases:
            for host, there in zip(run(dg, row, case, dtype), run(dg, row, case, dtype, other), strict=True):
                compare(host, there, 1e-12)
    assert dg.cuda.current_device() == backend.device(current).index


@pytest.mark.parametrize("row", [r for r in ROWS if r.smooth and r.second], ids=lambda r: r.name)
def test_second_derivatives(row: Row, apart: tuple[str, str]) -> None:
    for case in row.cases:
        found = []
        for where in ("cpu", *apart):
            args = inputs_of(dg, case, "float64", where)
            leaves = [a for a in args if a.requires_grad]
            outs = [o for o in outputs(row.call(dg, *args)) if o.requires_grad]
            if not leaves or not outs:
                continue
            first = dg.autograd.grad(weighted(outs, dg), leaves, create_graph=True, allow_unused=True)
            once = [g for g in first if g is not None and g.requires_grad]
            second: Any = []
            if once:
                second = dg.autograd.grad(weighted(once, dg), leaves, allow_unused=True)
            assert {str(g.device) for g in (*first, *second) if g is not None} <= {where}
            found.append([None if g is None else as_numpy(g, dg) for g in (*first, *second)])
        for there in found[1:]:
            compare(found[0], there, 1e-10)
