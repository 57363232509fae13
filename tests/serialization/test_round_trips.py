"""What goes into a file comes out, sharing included, here and where others read it."""

from __future__ import annotations

import io
import itertools

import ml_dtypes
import numpy as np
import pytest

import distgrad
from distgrad import dtypes, from_numpy
from distgrad.ops.creation import from_array
from distgrad.serialization import LoadError, load, save
from tests.serialization.files import everything, same, through


def test_structures_come_back_as_they_were(tmp_path):
    saved = everything()
    save(saved, tmp_path / "file.dg")
    same(load(tmp_path / "file.dg"), saved)
    same(load(str(tmp_path / "file.dg"), map_location="cpu", weights_only=False), saved)
    same(through(saved), saved)
    for simple in (3, "x", None, [], from_numpy(np.ones(2)), (1, (2, [3]))):
        same(through(simple), simple)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=repr)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_every_dtype_and_shape(dtype, shape):
    rng = np.random.default_rng(0)
    host = np.asarray(rng.integers(0, 2, shape)).astype(dtype.np)
    if dtype.category > 1:
        host = np.asarray(host * dtype.np.type(0.3)).astype(dtype.np)
    same(through({"t": from_array(host), "a": host}), {"t": from_array(host), "a": host})


def test_what_is_not_contiguous_or_native_is_stored_plainly():
    host = np.arange(24.0).reshape(4, 6)
    for view in (host.T, host[::2, 1::2], host[::-1], np.broadcast_to(host[0], (3, 6)), host.astype(">f8")):
        (back,) = through([view])
        np.testing.assert_array_equal(back, view)
        assert back.dtype.isnative
        assert back.flags.c_contiguous
        back[...] = 0  # it is ordinary, writable memory


def test_shared_memory_is_shared_again(tmp_path):
    weight = from_numpy(np.arange(1000.0))
    save({"a": weight, "b": weight, "c": from_array(weight._data)}, tmp_path / "f")
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
    save({"weight": from_array(buffer[10:20]), "bias": from_array(buffer[20:23])}, tmp_path / "f")
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
        same(back[key], from_array(value))


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
    save([1, from_numpy(np.ones(3))], file)
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
