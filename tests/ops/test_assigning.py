"""Assignment and in-place operators: what is written, and what is refused, with PyTorch's classes and words."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import distgrad

F = distgrad.float32


def three(dtype: Any = F) -> Any:
    return distgrad.tensor([1, 2, 3], dtype=dtype)


MASK = distgrad.tensor([True, False, True])


def assigned(index: Any, value: Any, x: Any = None) -> Any:
    x = three() if x is None else x
    x[index] = value
    return x.tolist()


@pytest.mark.parametrize(
    ("index", "value", "right"),
    [
        (0, distgrad.tensor([5.0]), [5, 2, 3]),
        (0, distgrad.tensor([[5.0]]), [5, 2, 3]),
        (slice(0, 2), distgrad.ones(1, 2), [1, 1, 3]),
        (slice(0, 2), distgrad.ones(1, 1, 1), [1, 1, 3]),
        (MASK, distgrad.tensor([[7.0, 8.0]]), [7, 2, 8]),
        (None, 5.0, [5, 5, 5]),
        (..., 5, [5, 5, 5]),
        (True, 5.0, [5, 5, 5]),
        (False, 5.0, [1, 2, 3]),
        (0, np.int64(4), [4, 2, 3]),
        (0, np.float64(4), [4, 2, 3]),
        (0, True, [1, 2, 3]),
        (1, float("nan"), None),
    ],
)
def test_what_is_written(index: Any, value: Any, right: Any) -> None:
    for x in (three(), distgrad.tensor([1.0, 2.0, 3.0], requires_grad=True) * 1):
        got = assigned(index, value, x)
        assert got == right if right else np.isnan(got[1])


@pytest.mark.parametrize(
    ("index", "value", "error", "text"),
    [
        (0, None, TypeError, "can't assign a NoneType to a torch.FloatTensor"),
        (0, "5", TypeError, "can't assign a str to a torch.FloatTensor"),
        (0, [1.0], TypeError, "can't assign a list to a torch.FloatTensor"),
        (MASK, (1.0,), TypeError, "can't assign a tuple to a torch.FloatTensor"),
        (0, np.ones(1), TypeError, "can't assign a numpy.ndarray to a torch.FloatTensor"),
        (0, np.float32(1), TypeError, "can't assign a numpy.float32 to a torch.FloatTensor"),
        (0, 1j, RuntimeError, "value cannot be converted to type float without overflow"),
        (0, 1e39, RuntimeError, "value cannot be converted to type float without overflow"),
        (0, distgrad.ones(2), RuntimeError, r"expand\(torch.FloatTensor\{\[2\]\}, size=\[\]\)"),
        (slice(0, 2), distgrad.ones(3), RuntimeError, r"expanded size of the tensor \(2\) must match .* size \(3\)"),
        (slice(0, 2), distgrad.ones(2, 1), RuntimeError, r"expand\(torch.FloatTensor\{\[2, 1\]\}, size=\[2\]\)"),
        (MASK, distgrad.ones(3), RuntimeError, r"shape mismatch: value tensor of shape \[3\] cannot be broadcast to"),
        (distgrad.tensor([0, 1]), distgrad.ones(2, 1), RuntimeError, r"shape mismatch: value tensor of shape \[2, 1\]"),
        (distgrad.tensor([0]), distgrad.ones(1).double(), RuntimeError, "Index put requires .* got Float .* Double"),
        (7, 1.0, IndexError, "index 7 is out of bounds for dimension 0 with size 3"),
        ((0, 0), 1.0, IndexError, "too many indices for tensor of dimension 1"),
        (slice(None, None, -1), 1.0, ValueError, "step must be greater than zero"),
    ],
)
def test_what_is_refused(index: Any, value: Any, error: Any, text: str) -> None:
    for x in (three(), distgrad.tensor([1.0, 2.0, 3.0], requires_grad=True) * 1):
        with pytest.raises(error, match=text):
            x[index] = value
        assert x.tolist() == [1, 2, 3]
        assert x._version == 0


def test_integers_that_do_not_fit() -> None:
    for write in (lambda x: x.__setitem__(0, 300), lambda x: x.fill_(300), lambda x: x.masked_fill_(MASK, 300)):
        with pytest.raises(RuntimeError, match="value cannot be converted to type uint8_t without overflow"):
            write(three(distgrad.uint8))
    assert assigned(0, -1, three(distgrad.uint8)) == [255, 2, 3]
    with pytest.raises(RuntimeError, match="type int64_t without overflow"):
        three(distgrad.int64).fill_(float("inf"))


REPEATED = "more than one element of the written-to tensor refers to a single memory location. Please clone"


@pytest.mark.parametrize(
    "write",
    [lambda x: x.mul_(2), lambda x: x.add_(1), lambda x: x.copy_(distgrad.ones(2, 3)), lambda x: x.normal_(),
     lambda x: x.relu_(), lambda x: x.__setitem__(slice(None), 1.0), lambda x: x.__setitem__(..., distgrad.ones(3)),
     lambda x: operator.imod(x, 2), lambda x: x.clamp_(0)],
)  # fmt: skip
def test_repeated_elements_are_not_written(write: Any) -> None:
    x = three().expand(2, 3)
    with pytest.raises(RuntimeError, match=REPEATED):
        write(x)
    with pytest.raises(RuntimeError, match=REPEATED):
        write((distgrad.ones(3, requires_grad=True) * 1).expand(2, 3))


def test_what_may_be_written_to_repeated_elements() -> None:
    x = three()
    x.expand(2, 3)[0] = 5.0
    assert x.tolist() == [5, 5, 5]
    x.expand(2, 3).zero_()
    x.expand(1, 3).add_(1)
    assert x.tolist() == [1, 1, 1]
    x.expand(2, 3).masked_fill_(MASK, 2.0)
    assert x.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("name", "other", "right"),
    [("imod", 2, [0, 1, 0, 1]), ("ifloordiv", 2, [0, 0, 1, 1]), ("ilshift", 1, [0, 1, 4, 6]),
     ("irshift", 1, [0, 1, 1, 1]), ("iand", 1, [0, 1, 0, 1]), ("ior", 4, [0, 1, 6, 7]), ("ixor", 1, [0, 1, 3, 2]),
     ("iadd", 1, [0, 1, 3, 4]), ("isub", 1, [0, 1, 1, 2]), ("imul", 2, [0, 1, 4, 6]), ("ipow", 2, [0, 1, 4, 9])],
)  # fmt: skip
def test_operators_write_to_their_tensor(name: str, other: int, right: list[int]) -> None:
    for second in (other, distgrad.tensor(other), distgrad.tensor([other, other])):
        t = distgrad.arange(4)
        v = before = t[2:]
        v = getattr(operator, name)(v, second)
        assert v is before
        assert t.tolist() == [0, 1, *right[2:]]


def test_an_operator_without_an_in_place_form_gives_another_tensor() -> None:
    x = y = distgrad.eye(2)
    y @= distgrad.eye(2) * 2
    assert x.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(TypeError, match="unsupported operand"):
        y @= 2


@pytest.mark.parametrize(
    ("name", "dtype", "other", "error", "text"),
    [
        ("itruediv", "int64", 2, RuntimeError, "result type Float can't be cast to the desired output type Long"),
        ("iadd", "int64", 0.5, RuntimeError, "result type Float can't be cast to the desired output type Long"),
        ("iadd", "bool", 1, RuntimeError, "result type Long can't be cast to the desired output type Bool"),
        ("ilshift", "bool", 1, RuntimeError, "result type Long can't be cast to the desired output type Bool"),
        ("ilshift", "float32", 1, NotImplementedError, "lshift_cpu.*not implemented for 'Float'"),
        ("irshift", "float64", 1, NotImplementedError, "rshift_cpu.*not implemented for 'Double'"),
        ("iand", "float32", 1, NotImplementedError, "bitwise_and_cpu.*not implemented for 'Float'"),
        ("imod", "bool", True, NotImplementedError, "remainder_cpu.*not implemented for 'Bool'"),
        ("ifloordiv", "complex64", 2, NotImplementedError, "div_floor_cpu.*not implemented for 'ComplexFloat'"),
        ("imul", "float32", 1j, RuntimeError, "type ComplexFloat can't be cast to the desired output type Float"),
        ("imod", "int64", "wide", RuntimeError, r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"),
    ],
)
def test_operators_that_are_refused(name: str, dtype: str, other: Any, error: Any, text: str) -> None:
    x = three(getattr(distgrad, dtype))
    values = x.tolist()
    with pytest.raises(error, match=text):
        getattr(operator, name)(x, distgrad.ones(2, 3, dtype=distgrad.int64) if other == "wide" else other)
    assert x.tolist() == values


@pytest.mark.parametrize("make", ["from_numpy", "as_tensor", "tensor", "asarray", "Tensor"])
def test_arrays_that_no_tensor_is_made_over(make: str) -> None:
    made = getattr(distgrad, make)
    a = np.arange(4.0)
    for array, error, text in (
        (a.astype(">f8"), ValueError, "byte order different from the native byte order"),
        (np.arange(3, dtype=">i4"), ValueError, "byte order different"),
        (a[::-1], ValueError, "At least one stride in the given numpy array is negative"),
        (a.reshape(2, 2)[:, ::-1], ValueError, "stride in the given numpy array is negative"),
        (np.zeros(3, [("a", "f4"), ("b", "i1")])["a"], ValueError, "strides not a multiple of the element byte size"),
        (np.array(["a"]), TypeError, r"can't convert np.ndarray of type numpy.str_. The only supported types are: "),
        (np.array([None]), TypeError, r"type numpy.object_"),
        (a.astype("g"), TypeError, r"type numpy.longdouble"),
        (np.array(["2020"], "M8[D]"), TypeError, r"type numpy.datetime64"),
    ):
        with pytest.raises(error, match=text):
            made(array)
    assert made(a[::2]).tolist() == [0.0, 2.0]
    assert made(np.zeros((0, 3))[:, ::-1].copy()).shape == (0, 3)


def test_filling() -> None:
    with pytest.raises(RuntimeError, match="fill_ only supports 0-dimension value tensor but got tensor with 1 dim"):
        three().fill_(distgrad.ones(1))
    for value in (None, "5"):
        with pytest.raises(TypeError, match=r"fill_\(\) received an invalid combination of arguments"):
            three().fill_(value)
    with pytest.raises(RuntimeError, match="masked_fill_ only supports boolean masks"):
        three().masked_fill(distgrad.tensor([1, 0, 1]), 2.0)
    with pytest.raises(RuntimeError, match="only supports a 0-dimensional value tensor"):
        three().masked_fill(MASK, distgrad.ones(1))
    assert three(distgrad.int64).masked_fill(MASK, 2.5).tolist() == [2, 2, 2]
    v = distgrad.tensor(4.0, requires_grad=True)
    x = three().masked_fill_(MASK, v)
    x.sum().backward()
    assert v.grad.item() == 2.0
    y = three().fill_(v)
    y.sum().backward()
    assert v.grad.item() == 5.0
