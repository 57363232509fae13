"""What ``import distgrad as torch`` offers: names that are sorted, exist, and are PyTorch's."""

from __future__ import annotations

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
