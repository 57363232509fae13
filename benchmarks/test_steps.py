"""pytest-benchmark suite: every step on distgrad, and on PyTorch where it is installed.

python -m pytest benchmarks
"""

from __future__ import annotations

import pytest
from steps import STEPS, library


@pytest.mark.parametrize("name", ["distgrad", "torch"])
@pytest.mark.parametrize("step", list(STEPS))
def test_step(benchmark, name, step):
    if name == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed; distgrad is measured alone")
    benchmark.group = step
    benchmark(STEPS[step][0](library(name)))
