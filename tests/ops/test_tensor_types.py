"""Tensors by their old names: ``FloatTensor``, ``LongTensor``, ``type()``, ``Variable``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd import Variable

# What each expression is, by PyTorch 2.13.
Asked = Callable[[Any], Any]
ANSWERS: list[tuple[Asked, str]] = [
    (lambda T: T.FloatTensor([1, 2]), "tensor([1., 2.])"),
    (lambda T: T.FloatTensor([[1, 2], [3, 4]]).shape, "torch.Size([2, 2])"),
    (lambda T: T.FloatTensor(), "tensor([])"),
    (lambda T: T.FloatTensor([True]), "tensor([1.])"),
    (lambda T: T.FloatTensor(2, 3).shape, "torch.Size([2, 3])"),
    (lambda T: T.FloatTensor(T.Size([2])).shape, "torch.Size([2])"),
    (lambda T: T.FloatTensor(np.ones(2)).dtype, "torch.float32"),
    (lambda T: T.FloatTensor([T.tensor(1.0), T.tensor(2.0)]), "tensor([1., 2.])"),
    (lambda T: T.DoubleTensor([0.1]).item(), "0.1"),
    (lambda T: T.LongTensor([2**62 + 1]).item(), "4611686018427387905"),
    (lambda T: T.LongTensor([1.5, -1.5]), "tensor([ 1, -1])"),
    (lambda T: T.LongTensor(np.array([1.5])), "tensor([1])"),
    (lambda T: T.LongTensor(range(3)), "tensor([0, 1, 2])"),
    (lambda T: T.LongTensor(np.int64(3)).shape, "torch.Size([3])"),
    (lambda T: T.ByteTensor([1, 0]), "tensor([1, 0], dtype=torch.uint8)"),
    (lambda T: T.BoolTensor([0, 2]), "tensor([False,  True])"),
    (lambda T: T.HalfTensor([1.1]).type(), "'torch.HalfTensor'"),
    (lambda T: T.FloatTensor, "<class 'torch.FloatTensor'>"),
    (lambda T: T.cuda.LongTensor, "<class 'torch.cuda.LongTensor'>"),
    (lambda T: T.LongTensor.dtype, "torch.int64"),
    (lambda T: isinstance(T.ones(1), T.FloatTensor), "True"),
    (lambda T: isinstance(T.ones(1), T.DoubleTensor), "False"),
    (lambda T: isinstance(T.ones(1), T.cuda.FloatTensor), "False"),
    (lambda T: isinstance(1, T.LongTensor), "False"),
    (lambda T: T.ones(2).type("torch.DoubleTensor"), "tensor([1., 1.], dtype=torch.float64)"),
    (lambda T: T.ones(2).type(T.LongTensor), "tensor([1, 1])"),
    (lambda T: T.ones(2).type(dtype=T.int), "tensor([1, 1], dtype=torch.int32)"),
    (lambda T: T.autograd.Variable(T.ones(2), True), "tensor([1., 1.], requires_grad=True)"),
    (lambda T: T.autograd.Variable(T.ones(2, requires_grad=True) * 2), "tensor([2., 2.])"),
    (lambda T: isinstance(T.ones(2), T.autograd.Variable), "True"),
    (lambda T: isinstance(np.ones(2), T.autograd.Variable), "False"),
]
REFUSALS: list[tuple[Asked, type[Exception]]] = [
    (lambda T: T.FloatTensor(2.5), TypeError),
    (lambda T: T.FloatTensor(True), TypeError),
    (lambda T: T.FloatTensor(None), TypeError),
    (lambda T: T.FloatTensor(1.0, 2.0), TypeError),
    (lambda T: T.FloatTensor(T.ones(2, dtype=T.float64)), TypeError),
    (lambda T: T.LongTensor("ab"), TypeError),
    (lambda T: T.LongTensor([[1, 2], [3]]), ValueError),
    (lambda T: T.ones(2).type("torch.FooTensor"), ValueError),
    (lambda T: T.set_default_tensor_type(T.LongTensor), TypeError),
    (lambda T: T.autograd.Variable(np.ones(2)), TypeError),
]


@pytest.mark.parametrize(("asked", "answer"), ANSWERS)
def test_what_old_names_make(asked: Asked, answer: str) -> None:
    assert repr(asked(distgrad)) == answer


@pytest.mark.parametrize(("asked", "error"), REFUSALS)
def test_what_old_names_refuse(asked: Asked, error: type[Exception]) -> None:
    with pytest.raises(error):
        asked(distgrad)


@pytest.mark.torch
@pytest.mark.parametrize(("asked", "answer"), ANSWERS)
def test_pytorch_makes_the_same(asked: Asked, answer: str) -> None:
    assert repr(asked(pytest.importorskip("torch"))) == answer


@pytest.mark.torch
@pytest.mark.parametrize(("asked", "error"), REFUSALS)
def test_pytorch_refuses_the_same(asked: Asked, error: type[Exception]) -> None:
    with pytest.raises(error):
        asked(pytest.importorskip("torch"))


@pytest.mark.parametrize("alias", [distgrad.FloatTensor, Variable])
def test_a_tensor_given_is_the_same_memory(alias: Callable[[Any], Any]) -> None:
    x = distgrad.zeros(2)
    alias(x)[0] = 5.0
    assert x.tolist() == [5.0, 0.0]


def test_a_variable_is_a_leaf_of_the_tape() -> None:
    x = Variable(distgrad.tensor([3.0]), requires_grad=True)
    (x * x).backward()
    assert x.is_leaf
    assert x.grad.item() == 6.0
    with pytest.warns(UserWarning, match="volatile"):
        assert not Variable(x, volatile=True).requires_grad
    with pytest.raises(ValueError, match="volatile"):
        Variable(x, requires_grad=True, volatile=True)


def test_the_default_type() -> None:
    before = distgrad.get_default_dtype()
    try:
        distgrad.set_default_tensor_type("torch.DoubleTensor")
        assert distgrad.tensor([1.0]).dtype is distgrad.float64
    finally:
        distgrad.set_default_dtype(before)
    with pytest.raises(TypeError, match="device"):
        distgrad.set_default_tensor_type(distgrad.cuda.FloatTensor)


@pytest.mark.skipif(distgrad.cuda.is_available(), reason="a GPU is here")
def test_a_type_of_a_device_that_is_not_here() -> None:
    with pytest.raises(TypeError, match=r"torch\.cuda\.FloatTensor not available"):
        distgrad.cuda.FloatTensor(2)
    with pytest.raises(RuntimeError):
        distgrad.ones(2).type("torch.cuda.FloatTensor")
