"""The arithmetic of reductions: one pass or several, into new memory or an operand's, the bits are the same."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from distgrad.distributed.communication.reduction import ReduceOp, combine
from distgrad.jit import MOST_PARTS
from distgrad.testing.conformance.knobs import uncompiled


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, MOST_PARTS, MOST_PARTS + 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("n", [1, 4095, 4096, 10_001])
def test_a_mean_has_the_same_bits_in_one_pass(n: int, dtype: type, ranks: int) -> None:
    rng = np.random.default_rng(n)
    operands = [rng.standard_normal(n).astype(dtype) for _ in range(ranks)]
    operands[0][0] = np.inf
    operands[-1][-1] = np.nan
    total = operands[0].copy()
    with np.errstate(all="ignore"):
        for other in operands[1:]:
            total += other
        want = (total.view(total.real.dtype) / total.real.dtype.type(ranks)).view(dtype)
    for out in (None, *range(ranks)):
        for how in (None, uncompiled):
            mine = [x.copy() for x in operands]
            found = np.empty(n, dtype) if out is None else mine[out]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                if how is None:
                    combine(ReduceOp.AVG, mine, found)
                else:
                    with how():
                        combine(ReduceOp.AVG, mine, found)
            assert found.tobytes() == want.tobytes(), (out, how)
