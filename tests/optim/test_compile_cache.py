"""What numba keeps of compiled loops may be damaged or impossible to write: loops run, and one line says so."""

from __future__ import annotations

import errno
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distgrad import _compile_cache
from distgrad.jit import compiled, usable

LOOP = """
def loop(x, y):
    for i in range(len(x)):
        x[i] += {factor} * y[i]
"""


@pytest.fixture(autouse=True)
def numba_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("numba")
    if not usable(np.zeros(1)):
        pytest.skip("compiled loops are switched off")
    monkeypatch.setattr(_compile_cache, "_said", set())
    yield
    sys.modules.pop("a_loop", None)


def run(folder: Path, factor: int = 2) -> None:
    """Run the loop as a new process would: compiled from a file, whose compiled form lies beside it."""
    path = folder / "a_loop.py"
    if not path.exists() or f"+= {factor} *" not in path.read_text():
        path.write_text(LOOP.format(factor=factor))
    spec = importlib.util.spec_from_file_location("a_loop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["a_loop"] = module
    spec.loader.exec_module(module)
    x, y = np.zeros(3), np.arange(3.0)
    made: Any = compiled(module.loop, x)
    made(x, y)
    assert x.tolist() == [0.0, factor, 2.0 * factor]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def other(path: Path) -> None:
    path.write_bytes(b"\x80\x05garbage" * 20)


@pytest.mark.parametrize("damage", [cut, emptied, other])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_file_is_compiled_anew_and_kept_again(
    suffix: str, damage: Callable[[Path], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    (file,) = tmp_path.rglob(f"*{suffix}")
    damage(file)
    run(tmp_path)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"distgrad: the compiled loop kept in {file.parent}/a_loop.loop-")
    assert "could not be read (" in said[0]
    run(tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk_changes_only_time_and_nothing_half_written_is_believed(
    written: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the two files the index is written first: it must not name the data of an earlier text of the loop."""
    from numba.core.caching import IndexDataCacheFile

    run(tmp_path, factor=2)
    whole, done = IndexDataCacheFile._open_for_write, []

    def full(self: Any, path: str) -> Any:
        if len(done) == written:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        done.append(path)
        return whole(self, path)

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    run(tmp_path, factor=30)
    assert "could not be written (OSError: [Errno 28] No space left on device" in capfd.readouterr().err
    monkeypatch.undo()
    run(tmp_path, factor=30)
