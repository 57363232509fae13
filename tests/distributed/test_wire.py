"""Objects between ranks: every type that is sent comes back equal, everything else is refused, nothing is executed."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import distgrad as dg
from distgrad.autograd import Tensor
from distgrad.distributed.wire import decode, encode

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = PLAIN | st.tuples(PLAIN, PLAIN) | st.complex_numbers(allow_nan=False)
OBJECTS = st.recursive(
    KEYS | st.frozensets(KEYS),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.sets(KEYS),
    max_leaves=20,
)


def alike(a: Any, b: Any) -> bool:
    """Equal, and of the same types all the way down: 1, 1.0 and True are not."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return alike(list(a), list(b)) and all(alike(a[k], b[k]) for k in a)
    return bool(a == b)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(OBJECTS)
def test_what_is_sent_comes_back(value: Any) -> None:
    assert alike(decode(encode(value)), value)


def test_a_number_that_is_none() -> None:
    assert math.isnan(decode(encode(float("nan"))))
    assert decode(encode(10**5000)) == 10**5000  # beyond what Python writes in decimals


@pytest.mark.parametrize("dtype", dg.dtypes.ALL, ids=str)
def test_arrays_and_tensors_of_every_dtype(dtype: dg.dtypes.dtype) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype.np)
    for value in (array, array.T, array[:, ::2], array[:0], array[0, 0]):
        back = decode(encode([b"odd", value]))[1]
        assert (type(back), back.dtype, back.shape) == (type(value), value.dtype, value.shape)
        assert back.tobytes() == value.tobytes()
    back = decode(encode(Tensor(array)))
    back._data[...] = 1  # memory of its own
    assert (back.dtype, tuple(back.shape)) == (dtype, (2, 3))


def test_a_parameter_comes_back_as_a_tensor_that_requires_grad() -> None:
    back = decode(encode({"weight": dg.nn.Parameter(dg.ones(2))}))["weight"]
    assert (type(back), back.requires_grad, back.tolist()) == (Tensor, True, [1, 1])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {2: object()}]}, r"the object\['a'\]\[1\]\[2\] is a builtins.object, which is not sent"),
        ({print: 1}, "the key <built-in function print> of the object is a builtins.builtin_function_or_method"),
        (np.array([None]), "the object is an array of dtype object"),
        (np.zeros(1, "datetime64[s]"), "an array of dtype datetime64"),
        (Path("x"), r"the object is a pathlib.*Path, which is not sent between ranks: None, bool, int, float"),
    ],
)
def test_what_is_not_sent_is_named(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        encode(value)


def hostile(text: str, raw: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + raw


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff" * 8, b"\xff" * 100, hostile("nothing"), hostile('["list"'), hostile('{"a": 1}')[:-2],
        hostile('["eval", "1"]'), hostile('[["list"]]'), hostile("[]"), hostile('["bytes", 5]', b"1234"),
        hostile('["bytes", -1]'), hostile('["bytes", 1e9]'), hostile('["ndarray", "float32", [2, -1]]', b"1234"),
        hostile('["ndarray", "float32", [1]]', b"123"), hostile('["ndarray", "object", [1]]', b"12345678"),
        hostile('["ndarray", "float32", [4611686018427387904]]'), hostile("1", b"x"), hostile('["dtype", 5]'),
        hostile('["int", "__import__"]'), hostile('["dict", 1]'), hostile('["set", ["list"]]'),
    ],
)  # fmt: skip
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def test_a_pickle_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    payload = b"cos\nsystem\n(S'touch canary'\ntR."  # what a pickle that runs a command looks like
    for data in (payload, hostile(f'["bytes", {len(payload)}]', payload), hostile('["tensor", "uint8", [4]]', payload)):
        with contextlib.suppress(ValueError):
            decode(data)
    assert not Path("canary").exists()
