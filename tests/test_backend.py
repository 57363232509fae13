"""Devices: names, where arrays lie, copies between them, and what is said where there is no GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import backend, cuda


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_accelerator", None)
    monkeypatch.setattr(backend, "_tried", True)


def test_devices_by_name() -> None:
    assert repr(distgrad.device("cuda:1")) == "device(type='cuda', index=1)"
    assert str(distgrad.device("cuda", 2)) == "cuda:2"
    assert distgrad.device("cpu") == distgrad.device("cpu")
    assert distgrad.device("cuda:0") != distgrad.device("cuda:1")
    assert len({distgrad.device("cpu"), distgrad.device("cpu")}) == 1
    assert distgrad.device(distgrad.device("cuda:1")).index == 1


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "cpu:z", ""])
def test_devices_that_are_none(name: str) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        distgrad.device(name)


def test_without_a_gpu(no_gpu: None) -> None:
    assert (cuda.is_available(), cuda.device_count()) == (False, 0)
    x = distgrad.ones(2)
    for move in (lambda: x.to("cuda"), lambda: x.cuda(), lambda: distgrad.zeros(2, device="cuda:0")):
        with pytest.raises(RuntimeError, match="(?i)cuda"):
            move()
    assert x.to("cpu") is x
    assert x.cpu() is x


def test_arrays_of_the_host() -> None:
    a = np.ones(2)
    assert backend.array_module(a) is np
    assert backend.device_of(a) == distgrad.device("cpu")
    assert backend.is_array(a)
    assert not backend.is_array([1.0])
    assert backend.to_host(a) is a


def test_to_and_from_a_device(device_double: Any) -> None:
    x = distgrad.tensor([1.0, 2.0])
    y = x.to("cuda:0")
    assert (str(y.device), y.is_cuda, y.get_device(), x.get_device()) == ("cuda:0", True, 0, -1)
    assert y.to("cuda:0") is y
    assert y.cpu().tolist() == [1.0, 2.0]
    assert x.cuda().device == y.device
    assert repr(y) == "tensor([1., 2.], device='cuda:0')"
    assert distgrad.zeros(2, device="cuda").device == y.device
    assert (cuda.is_available(), cuda.device_count()) == (True, 2)
    with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu\(\)"):
        y.numpy()
    with pytest.raises(RuntimeError):
        x.to("cuda:7")


def test_to_another_device_and_dtype_at_once(device_double: Any) -> None:
    x = distgrad.ones(2, requires_grad=True)
    y = x.to("cuda:0", distgrad.float64)
    assert (y.dtype, y.is_cuda, y.requires_grad) == (distgrad.float64, True, True)
    (y * 3).sum().backward()
    assert (x.grad.tolist(), x.grad.dtype, x.grad.is_cpu) == ([3.0, 3.0], distgrad.float32, True)
    assert x.to(y).device == y.device


def test_a_training_step_on_the_device_leaves_it_only_where_asked(device_double: Any) -> None:
    model = distgrad.nn.Sequential(distgrad.nn.Linear(3, 4), distgrad.nn.Tanh(), distgrad.nn.Linear(4, 1)).to("cuda:0")
    optimizer = distgrad.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = distgrad.randn(5, 3, device="cuda:0"), distgrad.randn(5, 1, device="cuda:0")
    losses = []
    for k in range(3):
        if k == 1:
            before = device_double.transfers
        loss = distgrad.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    assert device_double.transfers == before
    assert losses[2].item() < losses[0].item()
    assert all(p.is_cuda and p.grad.is_cuda for p in model.parameters())
