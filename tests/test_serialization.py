"""Files: what goes in comes out, sharing included; what is damaged, hostile or foreign is refused by name."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import subprocess
import sys
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import distgrad
from distgrad import backend, dtypes
from distgrad.autograd import Size, Tensor
from distgrad.serialization import LoadError, load, save


def through(obj, **kwargs):
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return load(file, **kwargs)


def raw_file(header, data=b"", pad=True):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert (a.requires_grad, a.dtype, a.device) == (b.requires_grad, b.dtype, b.device)
        same(a._data, b._data)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert [type(key) for key in a] == [type(key) for key in b]
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert repr(a) == repr(b)


def everything():
    learned = Tensor(np.arange(4, dtype=np.float32))
    learned.requires_grad = True
    return {
        "model": OrderedDict([("0.weight", learned), ("0.bias", Tensor(np.zeros((0, 3))))]),
        "optimizer": {
            "state": {0: {"step": Tensor(np.asarray(3.0, np.float32)), "exp_avg": Tensor(np.ones(4))}, 1: {}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1], "maximize": False, "fused": None}],
        },
        "epoch": 3,
        "text": 'ünï "cödé"\n\\u0000',
        "numbers": [1, -(2**70), 0.1, -0.0, float("nan"), float("inf"), float("-inf"), 1e-310, 2 - 3j, True],
        "keys": {1: "a", "1": "b", 2.5: "c", None: "d", (1, "x"): "e", True + 1: "f"},
        "sizes": (Size((2, 3)), dtypes.bfloat16, dtypes.bool_, backend.CPU, (), [], {}),
        "arrays": [np.arange(6).reshape(2, 3)[:, ::2], np.float32(1.5), np.asarray(7, np.int8), np.empty((0,), bool)],
    }


def test_structures_come_back_as_they_were(tmp_path):
    saved = everything()
    save(saved, tmp_path / "file.dg")
    same(load(tmp_path / "file.dg"), saved)
    same(load(str(tmp_path / "file.dg"), map_location="cpu", weights_only=False), saved)
    same(through(saved), saved)
    for simple in (3, "x", None, [], Tensor(np.ones(2)), (1, (2, [3]))):
        same(through(simple), simple)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_every_dtype_and_shape(dtype, shape):
    rng = np.random.default_rng(0)
    host = np.asarray(rng.integers(0, 2, shape)).astype(dtype.np)
    if dtype.category > 1:
        host = np.asarray(host * dtype.np.type(0.3)).astype(dtype.np)
    same(through({"t": Tensor(host), "a": host}), {"t": Tensor(host), "a": host})


def test_what_is_not_contiguous_or_native_is_stored_plainly():
    host = np.arange(24.0).reshape(4, 6)
    for view in (host.T, host[::2, 1::2], host[::-1], np.broadcast_to(host[0], (3, 6)), host.astype(">f8")):
        (back,) = through([view])
        np.testing.assert_array_equal(back, view)
        assert back.dtype.isnative
        assert back.flags.c_contiguous
        back[...] = 0  # it is ordinary, writable memory


def test_shared_memory_is_shared_again(tmp_path):
    weight = Tensor(np.arange(1000.0))
    save({"a": weight, "b": weight, "c": Tensor(weight._data)}, tmp_path / "f")
    back = load(tmp_path / "f")
    back["a"]._data[3] = -1
    assert back["b"]._data[3] == back["c"]._data[3] == -1


_BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
_COMPLEX = (np.arange(6.0) + 1j).reshape(2, 3)
SHARING = {
    "tied": {"embed.weight": _BASE, "head.weight": _BASE},
    "a row": {"w": _BASE, "row": _BASE[1]},
    "the row first": {"row": _BASE[1], "w": _BASE},
    "transposed": {"w": _BASE, "t": _BASE.T},
    "strided": {"w": _BASE, "every other": _BASE[::2, ::-2]},
    "nobody has it all": {"a": _BASE[:3], "b": _BASE[1:]},
    "nobody has it all, nor side by side": {"a": _BASE[:, :4], "b": _BASE[:, 2:]},
    "tied slices": {"a": _BASE[:2], "b": _BASE[:2], "w": _BASE},
    "other types": {"w": _BASE, "bytes": _BASE.view(np.uint8), "ints": _BASE.view(np.int32)[0]},
    "complex": {"z": _COMPLEX, "row": _COMPLEX[1], "t": _COMPLEX.T},
    "bfloat16": {"h": _BASE.astype(ml_dtypes.bfloat16)},
}


@pytest.mark.parametrize("kind", SHARING)
def test_any_reader_finds_what_shares_memory_under_each_name(kind, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    saved = SHARING[kind]
    save(saved, tmp_path / "f.safetensors")
    with safetensors.safe_open(tmp_path / "f.safetensors", "np") as file:
        for key, value in saved.items():
            if value.dtype.kind == "V":
                continue  # a type that NumPy's reader does not have
            found = file.get_tensor(key)
            if value.dtype == np.complex128:
                found = found.reshape(-1).view(np.complex128).reshape(found.shape[:-1])
            np.testing.assert_array_equal(found, value)
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
    back = load(tmp_path / "f.safetensors")
    for key, value in saved.items():
        np.testing.assert_array_equal(back[key], value)
    names = list(saved)
    for one, two in itertools.combinations(names, 2):
        assert np.shares_memory(back[one], back[two]) == np.shares_memory(saved[one], saved[two])


def test_tied_parameters_of_a_model_are_found_and_tied_again(tmp_path):
    model = distgrad.nn.Sequential(distgrad.nn.Linear(3, 3), distgrad.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save(model.state_dict(), tmp_path / "f")
    back = load(tmp_path / "f")
    assert list(back) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert back["0.weight"].data_ptr() == back["1.weight"].data_ptr()
    numpys = pytest.importorskip("safetensors.numpy")
    assert sorted(numpys.load_file(tmp_path / "f")) == sorted(back)


def test_overlapping_views_share_again():
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    saved = {"whole": base, "turned": base.T, "row": base[1], "reversed": base[2, ::-1], "bytes": base.view(np.uint8)}
    back = through(saved)
    for key, value in saved.items():
        np.testing.assert_array_equal(back[key], value)
        assert back[key].shape == value.shape
    back["whole"][1, 2] = 70
    back["turned"][3, 2] = 80
    assert back["row"][2] == back["turned"][2, 1] == 70
    assert back["reversed"][0] == 80
    first, second = np.arange(10.0)[:6], None
    second = first.base[3:]
    one, two = through([first, second])
    one[5] = -5
    assert two.tolist() == [3, 4, -5, 6, 7, 8, 9]


def test_the_same_content_makes_the_same_file_wherever_it_lies_in_memory():
    def content(order):
        pieces = np.zeros((6, 100))
        arrays = {key: pieces[i] for key, i in zip("abcdef", order, strict=True)}
        for i, key in enumerate("abcdef"):
            arrays[key][...] = i
        nested = {"x": {"y": np.ones(3)}, "x.y": np.zeros(3)}  # the same name twice
        file = io.BytesIO()
        save({**arrays, "twice": arrays["c"], "views": [arrays["e"], arrays["e"][:7]], **nested}, file)
        return file.getvalue()

    assert content(range(6)) == content([4, 1, 5, 0, 3, 2])


def test_slices_of_one_buffer_are_stored_each_by_itself(tmp_path):
    """As parameters in flat storage are: a file of one of them does not hold the others."""
    buffer = np.zeros(100_000)
    save({"weight": Tensor(buffer[10:20]), "bias": Tensor(buffer[20:23])}, tmp_path / "f")
    assert (tmp_path / "f").stat().st_size < 2000
    back = load(tmp_path / "f")
    back["weight"]._data[...] = 1
    assert not back["bias"]._data.any()


def test_other_readers_find_the_tensors_by_name(tmp_path):
    numpys = pytest.importorskip("safetensors.numpy")
    saved = everything()
    del saved["arrays"]
    save(saved, tmp_path / "f.safetensors")
    found = numpys.load_file(tmp_path / "f.safetensors")
    assert sorted(found) == ["model.0.bias", "model.0.weight", "optimizer.state.0.exp_avg", "optimizer.state.0.step"]
    np.testing.assert_array_equal(found["model.0.weight"], np.arange(4, dtype=np.float32))


def test_files_of_other_writers_load_as_a_dict_of_tensors(tmp_path):
    numpys = pytest.importorskip("safetensors.numpy")
    arrays = {
        "x": np.arange(6, dtype=np.int16).reshape(2, 3),
        "y": np.ones((), np.float64),
        "z": np.zeros((0, 2), bool),
    }
    numpys.save_file(arrays, tmp_path / "f", metadata={"format": "pt"})
    back = load(tmp_path / "f")
    assert sorted(back) == ["x", "y", "z"]
    for key, value in arrays.items():
        same(back[key], Tensor(value))


@pytest.mark.torch
def test_files_are_exchanged_with_pytorch(tmp_path):
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    theirs.save_file(
        {"w": torch.arange(4, dtype=torch.bfloat16), "c": torch.ones(2, dtype=torch.complex64)}, tmp_path / "f"
    )
    back = load(tmp_path / "f")
    assert back["w"].dtype is dtypes.bfloat16
    assert back["w"]._data.astype(float).tolist() == [0, 1, 2, 3]
    save(back, tmp_path / "g")
    assert torch.equal(theirs.load_file(tmp_path / "g")["w"], torch.arange(4, dtype=torch.bfloat16))
    torch.save({"w": torch.ones(2)}, tmp_path / "h")
    with pytest.raises(LoadError, match="a zip archive, as torch.save writes: a pickle"):
        load(tmp_path / "h")


def test_streams_are_read_from_where_they_stand():
    file = io.BytesIO()
    file.write(b"before")
    save([1, Tensor(np.ones(3))], file)
    save({"second": 2}, file)
    file.write(b"after")
    file.seek(6)
    assert load(file)[0] == 1
    assert load(file) == {"second": 2}
    assert file.read() == b"after"

    class Pipe(io.RawIOBase):
        def __init__(self, content):
            self.rest = content

        def readable(self):
            return True

        def read(self, size=-1):
            piece = self.rest if size < 0 else self.rest[:size]
            self.rest = self.rest[len(piece) :]
            return piece

    one = io.BytesIO()
    save("through a pipe", one)
    assert load(Pipe(one.getvalue())) == "through a pipe"


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"model": {"f": print}}, r"cannot save obj\['model'\]\['f'\] of type builtin_function_or_method; what can be"),
        ([{1, 2}], r"cannot save obj\[0\] of type set"),
        (b"bytes", "cannot save obj of type bytes"),
        ({b"k": 1}, r"cannot save the key b'k' of obj"),
        ({"a": np.array(["x"])}, r"cannot save obj\['a'\]: can't convert an array of type <U1"),
        (np.array([None]), "cannot save obj: can't convert an array of type object"),
    ],
)
def test_what_cannot_be_saved_is_named(obj, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_container_in_itself_is_refused():
    x = [1]
    x.append({"me": x})
    with pytest.raises(ValueError, match=r"cannot save obj\[1\]\['me'\]: it contains itself"):
        through(x)
    same(through([[2]] * 3), [[2]] * 3)  # the same list three times is none in itself


@pytest.mark.parametrize("wrong", [3, None, ["f"]])
def test_what_is_no_file_is_refused(wrong):
    with pytest.raises(TypeError, match="path or a binary file, got"):
        save(1, wrong)
    with pytest.raises(TypeError, match="path or a binary file, got"):
        load(wrong)
    with pytest.raises(TypeError, match="map_location must be a device"):
        load("f", map_location=lambda storage, location: storage)
    with pytest.raises(FileNotFoundError):
        load("there is no such file")


# ------------------------------------------------------------------------------------------------- damage and hostility


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "f"
    save({"w": Tensor(np.arange(5, dtype=np.float32)), "n": 3, "t": np.ones(2, bool)}, path)
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
    save({"w": Tensor(np.arange(50, dtype=np.float32))}, path)
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
    "unknown dtype": (raw_file({"x": {**ONE, "dtype": "F8_E4M3"}}, b"ab"), "type 'F8_E4M3'; supported are: BOOL, U8"),
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


# -------------------------------------------------------------------------------------------------------- on the disk


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    save({"epoch": 1}, path)
    with pytest.raises(TypeError):
        save({"epoch": object()}, path)
    assert load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    save({"epoch": 1}, path)
    script = """
import resource, signal, sys
import numpy as np
from distgrad.serialization import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save({"w": np.zeros(1_000_000)}, sys.argv[1])
except OSError as error:
    print("refused", error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=150)
    assert done.stdout.startswith("refused"), done.stderr
    assert load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_stays_a_link_and_a_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    save(1, tmp_path / "real" / "f")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "f")
    save(2, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "real" / "f") == 2
    with pytest.raises(IsADirectoryError):
        save(1, tmp_path / "real")
    for expected in (RuntimeError, FileNotFoundError):
        with pytest.raises(expected, match=r"Parent directory .*nowhere does not exist"):
            save(1, tmp_path / "nowhere" / "f")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_saving_again_keeps_the_files_mode(mode, tmp_path):
    path = tmp_path / "f"
    save(1, path)
    path.chmod(mode)
    save(2, path)
    assert path.stat().st_mode & 0o7777 == mode
    (tmp_path / "link").symlink_to(path)
    save(3, tmp_path / "link")
    assert (path.stat().st_mode & 0o7777, load(path)) == (mode, 3)


def test_a_new_file_has_the_mode_that_the_process_gives(tmp_path):
    save(1, tmp_path / "f")
    (tmp_path / "plain").touch()
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["x" * 255, "x" * 238, "ä" * 127, "." + "y" * 250])
def test_a_name_may_be_as_long_as_the_system_allows(name, tmp_path):
    for value in (1, 2):
        save(value, tmp_path / name)
        assert load(tmp_path / name) == value
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_error_of_the_system_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(OSError, match="x" * 256) as raised:
        save(1, tmp_path / ("x" * 256))
    assert raised.value.filename == str(tmp_path / ("x" * 256))
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------- devices


def test_tensors_return_to_their_device_or_where_they_are_sent(device_double, tmp_path):
    xp = device_double.module
    weight = Tensor(backend.to_device(np.arange(4.0), backend.resolve("cuda:1")))
    bias = Tensor(xp.asarray(np.ones(2, ml_dtypes.bfloat16)))
    fetched = device_double.transfers
    save({"w": weight, "again": weight, "b": bias, "h": Tensor(np.zeros(1))}, tmp_path / "f")
    assert device_double.transfers == fetched + 2  # what is shared is fetched once
    back = load(tmp_path / "f")
    assert [str(back[key].device) for key in ("w", "again", "b", "h")] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]
    assert back["w"].tolist() == [0, 1, 2, 3]
    with device_double.on(1):
        back["w"]._data.fill(7)
    assert back["again"]._data.tolist() == [7] * 4
    for where, expected in (
        ("cpu", ["cpu"] * 4),
        ("cuda", ["cuda:0"] * 4),
        (backend.device("cuda:0"), ["cuda:0"] * 4),
        ({"cuda:1": "cuda:0"}, ["cuda:0", "cuda:0", "cuda:0", "cpu"]),
    ):
        back = load(tmp_path / "f", map_location=where)
        assert [str(back[key].device) for key in ("w", "again", "b", "h")] == expected
        assert back["b"].dtype is dtypes.bfloat16
    views = np.arange(6.0).reshape(2, 3)
    save([Tensor(views), Tensor(views.T)], tmp_path / "g")
    one, two = load(tmp_path / "g", map_location="cuda:1")
    with device_double.on(1):
        one._data[0, 1] = 50
    assert two.tolist() == [[0, 3], [50, 4], [2, 5]]


def test_a_missing_device_says_how_to_load_anyway(device_double, tmp_path, monkeypatch):
    save([Tensor(device_double.module.zeros(2))], tmp_path / "f")
    monkeypatch.setattr(device_double, "device_count", lambda: 0)
    with pytest.raises(RuntimeError, match=r"saved from device 'cuda:0': .*map_location='cpu'\) puts all on the CPU"):
        load(tmp_path / "f")
    assert load(tmp_path / "f", map_location="cpu")[0].tolist() == [0, 0]
