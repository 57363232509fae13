"""Objects between ranks: every type that is sent comes back equal, everything else is refused, nothing is executed."""

from __future__ import annotations

import contextlib
import io
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import distgrad as dg
from distgrad import from_numpy
from distgrad.autograd import Tensor
from distgrad.distributed.collectives.object_codec import decode, encode

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
    back = decode(encode(from_numpy(array)))
    back._data[...] = 1  # memory of its own
    assert (back.dtype, tuple(back.shape)) == (dtype, (2, 3))


def test_a_parameter_comes_back_as_a_tensor_that_requires_grad() -> None:
    back = decode(encode({"weight": dg.nn.Parameter(dg.ones(2))}))["weight"]
    assert (type(back), back.requires_grad, back.tolist()) == (Tensor, True, [1, 1])


def of_training() -> dict[str, Any]:
    model = dg.nn.Sequential(dg.nn.Linear(3, 2), dg.nn.BatchNorm1d(2))
    adam = dg.optim.Adam([{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.1}])
    model(dg.ones(4, 3)).sum().backward()
    adam.step()
    schedule = dg.optim.lr_scheduler.StepLR(adam, 2)
    return {"model": model.state_dict(), "adam": adam.state_dict(), "schedule": schedule.state_dict()}


SAVED = {
    "training": of_training,
    "ordered": lambda: OrderedDict([("b", 1), ("a", OrderedDict())]),
    "size": lambda: {"shape": dg.ones(2, 3).shape, "none": dg.tensor(1.0).shape},
    "device": lambda: [dg.device("cpu"), dg.ones(1).device],
    "dtype": lambda: (dg.float32, dg.bfloat16),
    "numbers": lambda: [np.float64(1.5), np.bool_(True), 1j, float("inf"), -0.0, 2**70],
    "other byte order": lambda: np.arange(3, dtype=">f8"),
    "strided": lambda: dg.arange(12.0).reshape(3, 4).T[::2],
    "keys": lambda: {1: "a", (2, "x"): "b", None: "c", 1.5: "d"},
}


@pytest.mark.parametrize("what", SAVED)
def test_what_save_takes_is_sent(what: str) -> None:
    """And it comes back as :func:`distgrad.load` gives it back."""
    value = SAVED[what]()
    file = io.BytesIO()
    dg.save(value, file)
    file.seek(0)
    assert like_loaded(decode(encode(value)), dg.load(file))


def like_loaded(a: Any, b: Any) -> bool:
    if isinstance(b, (Tensor, np.ndarray)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    if isinstance(b, dict):
        return type(a) is type(b) and list(a) == list(b) and all(like_loaded(a[k], b[k]) for k in b)
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(like_loaded, a, b))
    return type(a) is type(b) and bool(a == b)


def test_what_contains_itself_is_not_sent() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ValueError, match="contains itself"):
        encode(ring)


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
