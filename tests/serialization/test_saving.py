"""What cannot be saved, how a file comes onto the disk, and where its tensors return to."""

from __future__ import annotations

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from distgrad import backend, dtypes, from_numpy
from distgrad.ops.creation import from_array
from distgrad.serialization import load, save
from tests.serialization.files import same, through


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


def test_tensors_return_to_their_device_or_where_they_are_sent(device_double, tmp_path):
    xp = device_double.module
    weight = from_array(backend.to_device(np.arange(4.0), backend.resolve("cuda:1")))
    bias = from_array(xp.asarray(np.ones(2, ml_dtypes.bfloat16)))
    fetched = device_double.transfers
    save({"w": weight, "again": weight, "b": bias, "h": from_numpy(np.zeros(1))}, tmp_path / "f")
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
    save([from_array(views), from_array(views.T)], tmp_path / "g")
    one, two = load(tmp_path / "g", map_location="cuda:1")
    with device_double.on(1):
        one._data[0, 1] = 50
    assert two.tolist() == [[0, 3], [50, 4], [2, 5]]


def test_a_missing_device_says_how_to_load_anyway(device_double, tmp_path, monkeypatch):
    save([from_array(device_double.module.zeros(2))], tmp_path / "f")
    monkeypatch.setattr(device_double, "device_count", lambda: 0)
    with pytest.raises(RuntimeError, match=r"saved from device 'cuda:0': .*map_location='cpu'\) puts all on the CPU"):
        load(tmp_path / "f")
    assert load(tmp_path / "f", map_location="cpu")[0].tolist() == [0, 0]
