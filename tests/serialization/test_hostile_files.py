"""What is damaged, hostile or foreign is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from distgrad import from_numpy
from distgrad.serialization import LoadError, load, save
from tests.serialization.files import raw_file


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "f"
    save({"w": from_numpy(np.arange(5, dtype=np.float32)), "n": 3, "t": np.ones(2, bool)}, path)
    good = path.read_bytes()
    for at in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            path.write_bytes(bad)
            with pytest.raises(LoadError, match=f"cannot load '{path}': "):
                load(path)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "f"
    save({"w": from_numpy(np.arange(50, dtype=np.float32))}, path)
    good = path.read_bytes()
    for size in (*range(0, 40), *range(40, len(good), 7), len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(LoadError, match=f"cannot load '{path}': "):
            load(path)
        with pytest.raises(LoadError, match="cannot load 'BytesIO': "):
            load(io.BytesIO(good[:size]))
    path.write_bytes(good + b"x")
    with pytest.raises(LoadError, match="1 bytes follow its last tensor"):
        load(path)


ONE = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
HOSTILE = {
    "empty": (b"", "it is empty"),
    "short": (b"abc", "cut short"),
    "text": (b"hello, world", "ninth byte does not begin a JSON header"),
    "header beyond the file": (raw_file({"x": ONE}, b"ab")[:20], "header would be"),
    "header of 2**63": ((2**63).to_bytes(8, "little") + b"{}", "header would be 9223372036854775808 bytes"),
    "no JSON": (raw_file(b"{x: 1}"), "header is damaged"),
    "no UTF-8": (raw_file(b'{"\xff": 1}'), "header is damaged"),
    "not all JSON": (raw_file(b'{"x": NaN}'), "NaN is no JSON"),
    "deep JSON": (raw_file(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "header is damaged"),
    "more after it": (raw_file(b"{} {}"), "header is damaged"),
    "twice": (raw_file(b'{"x":%s,"x":%s}' % ((json.dumps(ONE).encode(),) * 2), b"ab"), "'x' stands there twice"),
    "twice inside": (raw_file(b'{"x":{"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]}}', b"a"), "twice"),
    "long number": (raw_file(b'{"x": %s}' % (b"9" * 5000)), "header is damaged"),
    "surplus key": (raw_file({"x": {**ONE, "z": 1}}, b"ab"), "does not have exactly"),
    "no shape": (raw_file({"x": {"dtype": "U8", "data_offsets": [0, 2]}}, b"ab"), "does not have exactly"),
    "unknown dtype": (raw_file({"x": {**ONE, "dtype": "F6_E2M3"}}, b"ab"), "type 'F6_E2M3'; supported are: BOOL, U8"),
    "dtype no string": (raw_file({"x": {**ONE, "dtype": ["U8"]}}, b"ab"), "of type"),
    "negative": (raw_file({"x": {**ONE, "shape": [-2]}}, b"ab"), "has shape"),
    "shape of bools": (raw_file({"x": {**ONE, "shape": [True, 2]}}, b"ab"), "has shape"),
    "shape of floats": (raw_file({"x": {**ONE, "shape": [2.0]}}, b"ab"), "has shape"),
    "overflow": (raw_file({"x": {**ONE, "shape": [2**32, 2**32]}}, b"ab"), "needs 18446744073709551616 bytes"),
    "huge": (raw_file({"x": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}}), "it is cut short"),
    "65 dimensions": (raw_file({"x": {**ONE, "shape": [1] * 64 + [2]}}, b"ab"), "has shape"),
    "hole": (raw_file({"x": {**ONE, "data_offsets": [1, 3]}}, b"abc"), "begins at byte 1 instead of 0"),
    "overlap": (raw_file({"x": ONE, "y": {**ONE, "data_offsets": [1, 3]}}, b"abc"), "begins at byte 1 instead of 2"),
    "backwards": (raw_file({"x": {**ONE, "data_offsets": [2, 0]}}, b"ab"), "needs 2 bytes and has -2"),
    "metadata": (raw_file({"x": ONE, "__metadata__": {"a": 1}}, b"ab"), "not an object of strings"),
    "bool bytes": (raw_file({"x": {**ONE, "dtype": "BOOL"}}, b"\x01\x02"), "other bytes than 0 and 1"),
    "half our marks": (raw_file({"x": ONE, "__metadata__": {"format": "distgrad"}}, b"ab"), "metadata is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name_and_reason(name, tmp_path):
    content, why = HOSTILE[name]
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(LoadError, match="cannot load '.*bad': ") as caught:
        load(tmp_path / "bad")
    assert why in str(caught.value)


def resealed(structure, data=b"\x01\x02", header=None):
    """A file whose structure somebody wrote with a correct checksum."""
    text = json.dumps(structure)
    digest = _digest(text.encode())
    metadata = {"format": "distgrad", "distgrad": text, "distgrad.sha256": digest}
    return raw_file({**({"x": ONE} if header is None else header), "__metadata__": metadata}, data)


def _digest(content):
    return hashlib.sha256(content).hexdigest()


TOLD = {"x": {"dtype": "uint8", "shape": [2], "sha256": _digest(b"\x01\x02")}}


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ({"is": "module", "of": "os"}, "holds what save() does not write"),
        ({"is": ["tensor"]}, "holds what save() does not write"),
        ({"of": 1}, "holds what save() does not write"),
        ({"is": "float", "of": "1e3"}, "holds what save() does not write"),
        ({"is": "dtype", "of": "object"}, "holds what save() does not write"),
        ({"is": "device", "of": "tpu"}, "holds what save() does not write"),
        ({"is": "dict", "of": [[1]]}, "holds what save() does not write"),
        ({"is": "dict", "of": [[[1], 2]]}, "holds what save() does not write"),
        ({"is": "dict", "of": [[1, 2], [1, 3]]}, "the key 1 stands twice"),
        ({"is": "size", "of": [-1]}, "holds what save() does not write"),
        ({"is": "complex", "of": [1.0]}, "holds what save() does not write"),
        ({"is": "tensor", "in": "y", "at": "cpu"}, "tensor 'y' is missing"),
        ({"is": "tensor", "in": "x", "at": "cpu", "requires_grad": True}, "holds what save() does not write"),
        ({"is": "scalar", "in": "x"}, "holds what save() does not write"),
        ({"is": "array", "in": "x", "view": {}}, "holds what save() does not write"),
    ],
)
def test_a_resealed_structure_is_believed_no_more(root, why, tmp_path):
    (tmp_path / "f").write_bytes(resealed({"version": 1, "root": root, "tensors": TOLD}))
    with pytest.raises(LoadError) as caught:
        load(tmp_path / "f")
    assert why in str(caught.value)


VIEW = {"offset": 0, "dtype": "uint8", "shape": [2], "strides": [1]}


@pytest.mark.parametrize(
    "change",
    [{"offset": 1}, {"strides": [2]}, {"strides": [-1]}, {"shape": [3]}, {"dtype": "float64"}, {"offset": -1},
     {"strides": [1, 1]}, {"shape": [2**62], "strides": [2**62]}, {"shape": [0]}, {"offset": 2**70}],
)  # fmt: skip
def test_a_view_cannot_reach_outside_its_tensor(change, tmp_path):
    def content(view):
        node = {"is": "array", "in": "x", "view": view}
        return resealed({"version": 1, "root": node, "tensors": TOLD})

    (tmp_path / "f").write_bytes(content(VIEW))
    assert load(tmp_path / "f").tolist() == [1, 2]
    (tmp_path / "f").write_bytes(content({**VIEW, **change}))
    with pytest.raises(LoadError, match="outside tensor 'x'|does not write"):
        load(tmp_path / "f")


@pytest.mark.parametrize(
    ("structure", "why"),
    [
        ({"version": 2, "root": 1, "tensors": TOLD}, "of version 2; this distgrad reads version 1"),
        ({"version": 1, "root": 1, "tensors": {}}, "'x' is in the file but not in its structure"),
        ({"version": 1, "root": 1, "tensors": {**TOLD, "y": 1}}, "tensor 'y' is missing"),
        ({"version": 1, "root": 1, "tensors": {"x": 1}}, "does not describe tensor 'x'"),
        ({"version": 1, "root": 1, "tensors": {"x": {**TOLD["x"], "shape": [1, 2]}}}, "was saved as uint8 [1, 2]"),
        ({"version": 1, "root": 1, "tensors": {"x": {**TOLD["x"], "dtype": "complex128"}}}, "was saved as complex128"),
        ({"version": 1, "root": 1, "tensors": {"x": {**TOLD["x"], "sha256": "0"}}}, "SHA-256 is not the one saved"),
        ({"version": 1, "tensors": TOLD}, "lacks or has surplus parts"),
    ],
)
def test_structure_and_tensors_must_agree(structure, why, tmp_path):
    (tmp_path / "f").write_bytes(resealed(structure))
    with pytest.raises(LoadError) as caught:
        load(tmp_path / "f")
    assert why in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_and_never_run(protocol, tmp_path):
    ends_the_process = b"cos\n_exit\nK\x01\x85R."  # os._exit(1), if ever unpickled
    (tmp_path / "f").write_bytes(b"\x80" + bytes([protocol]) + ends_the_process)
    for weights_only in (True, False):
        with pytest.raises(LoadError, match=r"it is a pickle. A pickle can run any code when it is read"):
            load(tmp_path / "f", weights_only=weights_only)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60), seed=st.integers(0, 2**32 - 1))
def test_random_bytes_give_loaderrors_only(data, seed):
    rng = random.Random(seed)
    good = raw_file({"x": ONE, "__metadata__": {"k": "v"}}, b"ab")
    at = rng.randrange(len(good))
    for content in (data, good[:at] + data + good[at:], good[:at] + data, raw_file(data)):
        try:
            load(io.BytesIO(content))
        except LoadError:
            continue
