"""Parts of PyTorch that are not here say what to use; streams and events, with and without a GPU."""

from __future__ import annotations

import pytest

import distgrad
from distgrad.testing import device_double


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compile", "call the function as it is"), ("fx", "graph_picture"), ("hub", "load_state_dict"),
        ("onnx", "safetensors"), ("multiprocessing", "python -m distgrad run"), ("quantization", "no quantized"),
    ],
)  # fmt: skip
def test_a_part_that_is_not_here_names_another(name: str, words: str) -> None:
    assert not hasattr(distgrad, name)
    with pytest.raises(AttributeError, match=words):
        getattr(distgrad, name)


def test_names_of_pytorchs_compiler() -> None:
    with pytest.raises(AttributeError, match="jit.script.*call the function as it is"):
        distgrad.jit.script  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        distgrad.jit.nothing  # noqa: B018


def test_streams_and_events_without_a_gpu() -> None:
    if distgrad.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="dummy base class Event"):
        distgrad.cuda.Event(enable_timing=True)
    with pytest.raises(RuntimeError, match="requires CUDA support"):
        distgrad.cuda.Stream()
    for function in (distgrad.cuda.current_stream, distgrad.cuda.default_stream):
        with pytest.raises(AssertionError):
            function()
    with distgrad.cuda.stream(None):
        pass


@pytest.mark.torch
def test_classes_of_errors_are_pytorchs() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for t in (torch, distgrad):
        with pytest.raises(RuntimeError):
            t.cuda.Event()
        with pytest.raises(RuntimeError):
            t.cuda.Stream()
        with pytest.raises(AssertionError):
            t.cuda.current_stream()


def test_streams_and_events_of_a_device() -> None:
    with device_double():
        stream = distgrad.cuda.Stream()
        assert stream == distgrad.cuda.current_stream()
        start, end = (distgrad.cuda.Event(enable_timing=True) for _ in range(2))
        with pytest.raises(ValueError, match="must be recorded"):
            start.elapsed_time(end)
        start.record()
        with distgrad.cuda.stream(stream):
            x = distgrad.ones(3, device="cuda") * 2
        end.record(stream)
        end.synchronize()
        stream.wait_stream(distgrad.cuda.default_stream())
        assert x.tolist() == [2.0, 2.0, 2.0]
        assert start.elapsed_time(end) >= 0
        assert end.query()
        assert stream.query()
        with pytest.raises(ValueError, match="enable_timing"):
            distgrad.cuda.Event().elapsed_time(end)
