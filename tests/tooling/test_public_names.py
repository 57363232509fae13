"""What ``import distgrad as torch`` offers: names that are sorted, exist, and are PyTorch's."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import distgrad

# Not in PyTorch: the plugin hook's marker, and the function that PyTorch has in nn.functional alone.
OURS = {"hookimpl"}


def test_all_is_sorted_unique_and_importable() -> None:
    assert distgrad.__all__ == sorted(distgrad.__all__)
    assert len(set(distgrad.__all__)) == len(distgrad.__all__)
    for name in distgrad.__all__:
        getattr(distgrad, name)


def test_nothing_public_is_forgotten() -> None:
    public = {n for n in vars(distgrad) if not n.startswith("_") and n != "annotations"}
    modules = {n for n in public if type(getattr(distgrad, n)).__name__ == "module"}
    assert public - modules <= set(distgrad.__all__)


@pytest.mark.torch
def test_every_name_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    missing = [n for n in distgrad.__all__ if not hasattr(torch, n) and n not in OURS]
    assert not missing


@pytest.mark.torch
def test_every_public_method_of_tensor_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    missing = {n for n in dir(distgrad.Tensor) if not n.startswith("_") and not hasattr(torch.Tensor, n)}
    assert missing <= {"conjugate"}  # NumPy's name, so that one gradient rule serves arrays and tensors


@pytest.mark.torch
def test_every_name_of_autograd_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    from torch.autograd import function

    ours = {"GradcheckError", "RemovableHandle", "Size", "Tensor", "fused", "primitive", "queue_callback"}
    missing = [n for n in distgrad.autograd.__all__ if not hasattr(torch.autograd, n) and not hasattr(function, n)]
    assert set(missing) - {"is_grad_enabled", "is_inference_mode_enabled"} <= ours


ABSENT = {
    "distgrad.zeroes": "no function, type or module has that name; the nearest: zeros",
    "distgrad.quux": "no function, type or module has that name",
    "distgrad.nn.Conv9d": "no layer, loss or module has that name; the nearest: Conv3d, Conv2d, Conv1d",
    "distgrad.nn.Liner": "no layer, loss or module has that name; the nearest: Linear",
    "distgrad.nn.MSEloss": "no layer, loss or module has that name; the nearest: MSELoss",
    "distgrad.nn.functional.mse_los": "no function has that name; the nearest: mse_loss",
    "distgrad.nn.init.xavier": "no initialization has that name; the nearest: xavier",
    "distgrad.optim.Adan": "no optimizer has that name; the nearest: Adam",
    "distgrad.optim.lr_scheduler.StepLr": "no schedule has that name; the nearest: StepLR",
    "distgrad.distributed.all_reduc": "no collective, class or module has that name; the nearest: all_reduce",
}


@pytest.mark.parametrize("path", ABSENT)
def test_an_absent_name_says_what_there_could_have_been(path: str) -> None:
    module, _, name = path.rpartition(".")
    with pytest.raises(AttributeError) as raised:
        getattr(importlib.import_module(module), name)
    text = str(raised.value)
    assert text.startswith(f"module {module!r} has no attribute {name!r}: {ABSENT[path]}")
    assert ("nearest" in text) == ("nearest" in ABSENT[path])
    assert not hasattr(importlib.import_module(module), "__nothing__")


@pytest.mark.parametrize("name", ["distributed", "profiler", "registry", "testing", "utils"])
def test_what_the_readme_names_is_there_after_the_import(name: str) -> None:
    code = f"import distgrad; print(distgrad.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == f"distgrad.{name}\n", done.stderr
