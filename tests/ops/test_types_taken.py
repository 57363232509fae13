"""Element types and arguments at the edge of what an operation takes, with PyTorch's answers and error classes."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad as dg

BOOLS = dg.tensor([True, False])
BYTES = dg.tensor([[[200]]], dtype=dg.uint8)
HALF = dg.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=dg.float16)


@pytest.mark.parametrize(
    ("found", "wanted", "kind"),
    [
        (lambda: dg.clamp(BOOLS, min=dg.tensor(True)), [True, True], dg.bool),
        (lambda: dg.clamp_max(BOOLS, dg.tensor([False, True])), [False, False], dg.bool),
        (lambda: dg.clamp_min(BOOLS, 0), [1, 0], dg.int64),
        (lambda: dg.nn.functional.avg_pool1d(dg.tensor([[1, 2, 6, -1, -2, -5]]), 3), [[3, -2]], dg.int64),
        (lambda: dg.tensordot(BYTES, dg.tensor([[[2]], [[3]]], dtype=dg.uint8), ([0], [0])).flatten(), [232], dg.uint8),
        (lambda: dg.linalg.matrix_norm(HALF, 1), 6.0, dg.float16),
        (lambda: dg.linalg.matrix_norm(HALF, float("-inf")), 3.0, dg.float16),
        (lambda: dg.narrow(dg.arange(5), 0, dg.tensor(1), 2), [1, 2], dg.int64),
        (lambda: dg.linspace(dg.tensor(0.0), dg.tensor(1.0), 3), [0.0, 0.5, 1.0], dg.float32),
        (lambda: dg.roll(dg.arange(3), 1, ()), [2, 0, 1], dg.int64),
    ],
)
def test_taken(found: Any, wanted: Any, kind: dg.dtype) -> None:
    got = found()
    assert got.tolist() == wanted
    assert got.dtype is kind


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: dg.clamp(BOOLS, True), NotImplementedError, "not implemented for 'Bool'"),
        (lambda: dg.linalg.matrix_norm(HALF, 2), RuntimeError, "Low precision dtypes not supported"),
        (lambda: dg.linalg.matrix_norm(HALF, "nuc"), RuntimeError, "Low precision dtypes not supported"),
        (lambda: dg.hstack([]), RuntimeError, "hstack expects a non-empty TensorList"),
        (lambda: dg.vstack([]), RuntimeError, "vstack expects a non-empty TensorList"),
        (lambda: dg.roll(dg.arange(3), ()), RuntimeError, "`shifts` required"),
        (lambda: dg.narrow(dg.arange(5), 0, dg.tensor([1]), 2), RuntimeError, "start must be an 0-dim integral"),
        (lambda: dg.narrow(dg.arange(5), 0, dg.tensor(1.0), 2), RuntimeError, "start must be an 0-dim integral"),
        (lambda: dg.linspace(dg.tensor([0.0]), 1, 3), RuntimeError, "but got start with 1 dimension"),
        (lambda: dg.logspace(0, dg.tensor([[0.0]]), 3), RuntimeError, "but got end with 2 dimension"),
        (lambda: dg.nn.functional.adaptive_avg_pool2d(dg.ones(2), 3), ValueError, "at least 3"),
        (lambda: dg.nn.functional.adaptive_max_pool2d(dg.ones(2, 2), 3), ValueError, "at least 3"),
        (lambda: dg.nn.functional.adaptive_avg_pool3d(dg.ones(2, 2), 3), ValueError, "at least 4"),
    ],
)
def test_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
