"""The page of single operations' times says what the newest recorded run found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import operation_cases
from operation_reasons import REASONS, reason

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_what_was_recorded() -> None:
    done = subprocess.run([sys.executable, str(DOCS / "operation_times.py"), "--check"], timeout=60, check=False)
    assert done.returncode == 0, "run python docs/operation_times.py"


def test_a_short_difference_is_the_calls() -> None:
    assert reason("gather", 20.0, 6.0) == REASONS["call"]
    assert reason("gather", 900.0, 300.0) == REASONS["places"]
    assert reason("lerp", 900.0, 300.0) == REASONS["passes"]


def test_each_operation_is_called_once() -> None:
    table = operation_cases.calls()
    assert len(table) == 378
    assert {"exp", "nn.functional.conv2d", "fft.rfft", "linalg.svd", "__rsub__"} <= table.keys()
