"""``testing.assert_close`` and ``make_tensor``: what passes, what each message says."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

inf, nan = math.inf, math.nan


@pytest.fixture(params=["distgrad", pytest.param("torch", marks=pytest.mark.torch)])
def t(request: pytest.FixtureRequest) -> Any:
    """distgrad, and PyTorch, for which the same tests hold."""
    library = importlib.import_module(request.param)
    importlib.import_module(request.param + ".testing")
    return library


CLOSE: list[Callable[[Any], Any]] = [
    lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.0])),
    lambda t: (t.tensor([1e-8]), t.tensor([0.0])),
    lambda t: (t.tensor([1.0]), t.tensor([1.00001])),
    lambda t: (t.tensor([1.0]).half(), t.tensor([1.0009]).half()),
    lambda t: (t.tensor([inf]), t.tensor([inf])),
    lambda t: ([1, (2.0, t.ones(2))], (1, [2.0, t.ones(2)])),
    lambda t: ({"a": [t.ones(1)], "b": None}, {"b": None, "a": [t.ones(1)]}),
    lambda t: (np.ones(2), np.ones(2)),
    lambda t: (t.tensor([]), t.tensor([])),
    lambda t: (True, True),
    lambda t: (1.0, 1.0 + 1e-8),
    lambda t: (t.ones(2, requires_grad=True), t.ones(2)),
    lambda t: (t.nn.Parameter(t.ones(2)), t.ones(2)),
]


@pytest.mark.parametrize("pair", range(len(CLOSE)))
def test_close(t: Any, pair: int) -> None:
    t.testing.assert_close(*CLOSE[pair](t))


def test_options(t: Any) -> None:
    close = t.testing.assert_close
    close(t.tensor([nan]), t.tensor([nan]), equal_nan=True)
    close(t.tensor([1.0]), t.tensor([1.0], dtype=t.float64), check_dtype=False)
    close(t.tensor([1.0]), t.tensor([1.4]), rtol=0, atol=0.5)
    close(1, 1.0, check_dtype=False)
    with pytest.raises(AssertionError, match="^mine$"):
        close(t.ones(1), t.zeros(1), msg="mine")
    with pytest.raises(AssertionError, match="^before: Tensor-likes"):
        close(t.ones(1), t.zeros(1), msg=lambda text: "before: " + text)
    with pytest.raises(ValueError, match="got no atol"):
        close(t.ones(1), t.ones(1), rtol=0.1)
    with pytest.raises(AssertionError, match=r"'stride\(\)' do not match: \(3, 1\) != \(1, 2\)"):
        close(t.ones(2, 3), t.ones(3, 2).t(), check_stride=True)


FAR: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.1])),
        "Tensor-likes are not close!\n\nMismatched elements: 1 / 2 (50.0%)\n"
        "Greatest absolute difference: 0.09999990463256836 at index (1,) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.04761900380253792 at index (1,) (up to 1.3e-06 allowed)",
    ),
    (
        lambda t: (t.tensor([1, 2]), t.tensor([1, 3])),
        "Tensor-likes are not equal!\n\nMismatched elements: 1 / 2 (50.0%)\n"
        "Greatest absolute difference: 1 at index (1,)\n"
        "Greatest relative difference: 0.3333333432674408 at index (1,)",
    ),
    (
        lambda t: (t.tensor([[1.0, 2], [3, 4]]), t.tensor([[1.0, 2], [3, 5]])),
        "Tensor-likes are not close!\n\nMismatched elements: 1 / 4 (25.0%)\n"
        "Greatest absolute difference: 1.0 at index (1, 1) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.20000000298023224 at index (1, 1) (up to 1.3e-06 allowed)",
    ),
    (
        lambda t: ([t.tensor(1.0), t.tensor(2.0)], [t.tensor(1.0), t.tensor(3.0)]),
        "Scalars are not close!\n\nExpected 3.0 but got 2.0.\nAbsolute difference: 1.0 (up to 1e-05 allowed)\n"
        "Relative difference: 0.3333333333333333 (up to 1.3e-06 allowed)\n\nThe failure occurred for item [1]",
    ),
    (
        lambda t: ({"a": [0, (2, 3)]}, {"a": [0, (2, 4)]}),
        "Scalars are not equal!\n\nExpected 4 but got 3.\nAbsolute difference: 1\nRelative difference: 0.25\n\n"
        "The failure occurred for item ['a'][1][1]",
    ),
    (
        lambda t: (t.tensor([1.0]), t.tensor([1])),
        "The values for attribute 'dtype' do not match: torch.float32 != torch.int64.",
    ),
    (
        lambda t: (t.ones(2), t.ones(1)),
        "The values for attribute 'shape' do not match: torch.Size([2]) != torch.Size([1]).",
    ),
    (lambda t: ([1, 2], [1, 2, 3]), "The length of the sequences mismatch: 2 != 3"),
    (
        lambda t: ({"a": 1}, {"b": 1}),
        "The keys of the mappings do not match:\nMissing keys in the actual mapping: ['b']\n"
        "Additional keys in the actual mapping: ['a']",
    ),
    (lambda t: (True, False), "Booleans mismatch: True is not False"),
    (lambda t: (t.tensor([1.0]), None), "None mismatch: tensor([1.]) is not None"),
    (lambda t: (1.0, 1), "The (d)types do not match: <class 'float'> != <class 'int'>."),
    (
        lambda t: (t.tensor([nan]), t.tensor([nan])),
        "Tensor-likes are not close!\n\nMismatched elements: 1 / 1 (100.0%)\n"
        "Greatest absolute difference: nan at index (0,) (up to 1e-05 allowed)\n"
        "Greatest relative difference: nan at index (0,) (up to 1.3e-06 allowed)",
    ),
    (
        lambda t: (t.tensor([True]), t.tensor([False])),
        "Tensor-likes are not equal!\n\nMismatched elements: 1 / 1 (100.0%)\n"
        "Greatest absolute difference: 1 at index (0,)\nGreatest relative difference: inf at index (0,)",
    ),
    (
        lambda t: (t.tensor([1.0]).half(), t.tensor([1.01]).half()),
        "Tensor-likes are not close!\n\nMismatched elements: 1 / 1 (100.0%)\n"
        "Greatest absolute difference: 0.009765625 at index (0,) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.009674072265625 at index (0,) (up to 0.001 allowed)",
    ),
]


@pytest.mark.parametrize("case", range(len(FAR)))
def test_messages(t: Any, case: int) -> None:
    make, text = FAR[case]
    with pytest.raises(AssertionError, match="^" + re.escape(text) + "$"):
        t.testing.assert_close(*make(t))


@pytest.mark.parametrize("pair", [("a", "a"), ("a", 1), (object(), object())])
def test_what_cannot_be_compared(t: Any, pair: Any) -> None:
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        t.testing.assert_close(*pair)
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        t.testing.assert_close(t.ones(1), [1.0])


def test_make_tensor(t: Any) -> None:
    make = t.testing.make_tensor
    floats = make((1000,), dtype=t.float32, device="cpu")
    assert -9 <= floats.min() < -7
    assert 7 < floats.max() <= 9
    integers = make(1000, dtype=t.int64, device="cpu")
    assert (integers.min().item(), integers.max().item()) == (-9, 9)
    unsigned = make(1000, dtype=t.uint8, device="cpu", high=3)
    assert (unsigned.min().item(), unsigned.max().item()) == (0, 2)
    assert make((50,), dtype=t.bool, device="cpu").unique().tolist() == [False, True]
    assert make((2, 3), dtype=t.complex64, device="cpu", low=1, high=2).real.min() >= 1
    assert not make((3, 4), dtype=t.float32, device="cpu", noncontiguous=True).is_contiguous()
    assert make(3, 4, dtype=t.float32, device="cpu", requires_grad=True).requires_grad
    assert make((500,), dtype=t.int64, device="cpu", low=0, high=2, exclude_zero=True).min() == 1
    assert make((), dtype=t.float16, device="cpu").shape == ()
    assert make((3,), dtype=t.float32, device="cpu", low=-inf, high=inf).isfinite().all()
    for wrong in ({"low": 3, "high": 2}, {"low": nan}, {"noncontiguous": True, "memory_format": t.contiguous_format}):
        with pytest.raises(ValueError, match="must be less|cannot be NaN|mutually exclusive"):
            make((2,), dtype=t.float32, device="cpu", **wrong)
    with pytest.raises(ValueError, match="not supported for boolean and integral"):
        make((2,), dtype=t.int64, device="cpu", requires_grad=True)
