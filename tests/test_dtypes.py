"""Element types: names, properties, limits, the default, and what NumPy types they stand for."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import distgrad
from distgrad import dtypes


@pytest.fixture
def default_dtype() -> Any:
    yield
    distgrad.set_default_dtype(distgrad.float32)


def test_names_and_printed_form() -> None:
    for d in dtypes.ALL:
        assert repr(d) == f"torch.{d.name}"
        assert str(distgrad.zeros(1, dtype=d).dtype) == f"torch.{d.name}"
    assert distgrad.float is distgrad.float32
    assert distgrad.long is distgrad.int64
    assert distgrad.bool is dtypes.bool_


def test_properties() -> None:
    assert (distgrad.float16.is_floating_point, distgrad.int8.is_signed, distgrad.uint8.is_signed) == (
        True,
        True,
        False,
    )
    assert (distgrad.complex64.is_complex, distgrad.complex64.is_floating_point, distgrad.bool.is_signed) == (
        True,
        False,
        False,
    )
    assert [d.itemsize for d in (distgrad.bfloat16, distgrad.float64, distgrad.complex128)] == [2, 8, 16]
    assert (distgrad.float64.to_complex(), distgrad.complex64.to_real()) == (distgrad.complex128, distgrad.float32)


def test_from_numpy_and_back() -> None:
    for d in dtypes.ALL:
        assert dtypes.from_numpy_dtype(d.np) is d
        assert distgrad.from_numpy(np.zeros(2, d.np)).dtype is d
    assert dtypes.from_numpy_dtype(">f4") is distgrad.float32
    assert dtypes.from_numpy_dtype(ml_dtypes.bfloat16) is distgrad.bfloat16
    for bad in ("S3", "datetime64[s]", object, np.longdouble):
        with pytest.raises(TypeError, match="can't convert an array of type .*the supported types are: bool, uint8"):
            dtypes.from_numpy_dtype(bad)


def test_as_dtype_takes_names_and_python_types() -> None:
    wanted = {"float32": distgrad.float32, "half": distgrad.float16, bool: distgrad.bool, int: distgrad.int64,
              float: distgrad.float64, complex: distgrad.complex128, np.int16: distgrad.int16}  # fmt: skip
    assert {k: dtypes.as_dtype(k) for k in wanted} == wanted
    with pytest.raises(TypeError):
        dtypes.as_dtype("float31")


def test_copies_are_the_same_object() -> None:
    for d in dtypes.ALL:
        assert copy.deepcopy(d) is copy.copy(d) is d


def test_the_default_type(default_dtype: None) -> None:
    assert distgrad.get_default_dtype() is distgrad.float32
    distgrad.set_default_dtype(distgrad.float64)
    assert distgrad.tensor(1.5).dtype is distgrad.float64
    assert distgrad.zeros(1).dtype is distgrad.float64
    assert distgrad.tensor(1j).dtype is distgrad.complex128
    assert (distgrad.tensor([1]) / 2).dtype is distgrad.float64
    with pytest.raises(TypeError, match="only floating-point types are supported as the default type, got torch.int64"):
        distgrad.set_default_dtype(distgrad.int64)


def test_limits() -> None:
    f = distgrad.finfo(distgrad.float32)
    assert (f.bits, f.eps, f.max) == (32, 2.0**-23, pytest.approx(3.4028235e38))
    assert distgrad.finfo(distgrad.bfloat16).eps == 2.0**-7
    assert distgrad.finfo(distgrad.complex128).bits == 64
    i = distgrad.iinfo(distgrad.int16)
    assert (i.bits, i.max, i.min) == (16, 32767, -32768)
    with pytest.raises(TypeError, match="use iinfo for integers"):
        distgrad.finfo(distgrad.int8)
    with pytest.raises(TypeError, match="use finfo for floating point"):
        distgrad.iinfo(distgrad.float32)


def test_promotion_is_symmetric_idempotent_and_never_loses_category() -> None:
    for a, b in itertools.product(dtypes.ALL, repeat=2):
        try:
            joint = distgrad.promote_types(a, b)
        except RuntimeError:
            assert distgrad.uint64 in (a, b)
            continue
        assert joint is distgrad.promote_types(b, a)
        assert distgrad.promote_types(joint, a) is joint
        assert joint.category == max(a.category, b.category)


def test_result_type_by_rank() -> None:
    full, zero, number = 2, 1, 0
    f32, f64, i64, c64 = distgrad.float32, distgrad.float64, distgrad.int64, distgrad.complex64
    assert dtypes.result_type([(f32, full), (f64, zero)]) is f32
    assert dtypes.result_type([(i64, full), (f64, zero)]) is f64
    assert dtypes.result_type([(i64, full), (f32, number)]) is f32
    assert dtypes.result_type([(f64, full), (c64, number)]) is distgrad.complex128
    assert dtypes.result_type([(distgrad.uint8, full), (i64, number)]) is distgrad.uint8
    with pytest.raises(ValueError, match="at least one operand"):
        dtypes.result_type([])


@pytest.mark.torch
def test_attributes_equal_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for d in dtypes.ALL:
        theirs = getattr(torch, d.name)
        for attribute in ("is_floating_point", "is_complex", "is_signed", "itemsize"):
            assert getattr(d, attribute) == getattr(theirs, attribute), (d, attribute)
        if d.is_floating_point:
            for attribute in ("bits", "eps", "max", "min", "tiny", "smallest_normal"):
                assert getattr(distgrad.finfo(d), attribute) == getattr(torch.finfo(theirs), attribute), (d, attribute)
