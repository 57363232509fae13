"""What programs ask of the libraries under PyTorch is answered for ours, and what they set is kept."""

from __future__ import annotations

import importlib

import distgrad


def test_no_library_of_pytorchs_is_here() -> None:
    assert not distgrad.backends.cudnn.is_available()
    assert not distgrad.backends.mps.is_available()
    assert not distgrad.backends.mps.is_built()
    assert not distgrad.backends.cuda.is_built()
    assert distgrad.backends.cudnn.version() is None
    assert distgrad.version.cuda is None


def test_switches_are_kept() -> None:
    cudnn = importlib.import_module("distgrad.backends").cudnn
    try:
        distgrad.backends.cudnn.deterministic = True
        assert cudnn.deterministic
    finally:
        cudnn.deterministic = False
