"""Index expressions read as PyTorch reads them: integers are selects, done before index tensors pick."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import distgrad


class _Index:
    def __getitem__(self, index: Any) -> Any:
        return index


AT = _Index()  # AT[1:, 0] is what x[1:, 0] is asked for

# Of 0., 1., … in a shape: the expression, the result's shape and elements, and how often each element was read.
CASES: tuple[tuple[Any, ...], ...] = (
    ((1, 2, 3), lambda t: AT[0, :, t.tensor([0, 2])], (2, 2), [0, 2, 3, 5], [1, 0, 1, 1, 0, 1]),
    ((1, 2, 3), lambda t: AT[:, 1, t.tensor([0, 2])], (1, 2), [3, 5], [0, 0, 0, 1, 0, 1]),
    (
        (2, 2, 3),
        lambda t: AT[t.tensor([0, 1]), :, t.tensor([0, 2])],
        (2, 2),
        [0, 3, 8, 11],
        [1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1],
    ),
    (
        (2, 2, 3),
        lambda t: AT[t.tensor([1, 1]), 0, t.tensor([0, 0])],
        (2,),
        [6, 6],
        [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0],
    ),
    (
        (2, 2, 3),
        lambda t: AT[t.tensor([1]), None, t.tensor([0])],
        (1, 1, 3),
        [6, 7, 8],
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0],
    ),
    ((2, 3), lambda t: AT[[t.tensor([0, 1]), t.tensor([2, 0])]], (2,), [2, 3], [0, 0, 1, 1, 0, 0]),
    ((2, 3), lambda t: AT[[[0, 1], [2, 0]]], (2,), [2, 3], [0, 0, 1, 1, 0, 0]),
    ((2, 3), lambda t: AT[[0, 1, 1]], (3, 3), [0, 1, 2, 3, 4, 5, 3, 4, 5], [1, 1, 1, 2, 2, 2]),
    ((2, 3), lambda t: AT[[]], (0, 3), [], [0, 0, 0, 0, 0, 0]),
    ((2, 3), lambda t: AT[[0.5, 1.7]], (2, 3), [0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1]),
    ((2, 3), lambda t: AT[[slice(0, 2), 1]], (2,), [1, 4], [0, 1, 0, 0, 1, 0]),
    ((2, 3), lambda t: AT[t.tensor([True, False]), None], (1, 1, 3), [0, 1, 2], [1, 1, 1, 0, 0, 0]),
    ((2, 3), lambda t: AT[1, t.tensor([True, False, True])], (2,), [3, 5], [0, 0, 0, 1, 0, 1]),
    ((2, 3), lambda t: AT[..., t.tensor([True, False, True])], (2, 2), [0, 2, 3, 5], [1, 0, 1, 1, 0, 1]),
    ((2, 3), lambda t: AT[t.tensor([1, 0], dtype=t.uint8)], (1, 3), [0, 1, 2], [1, 1, 1, 0, 0, 0]),
    ((2, 3), lambda t: AT[counted((2, 3), t) > 2], (3,), [3, 4, 5], [0, 0, 0, 1, 1, 1]),
    ((2, 3), lambda t: AT[True], (1, 2, 3), [0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1]),
    ((2, 3), lambda t: AT[False], (0, 2, 3), [], [0, 0, 0, 0, 0, 0]),
    ((2, 3), lambda t: AT[0, True], (1, 3), [0, 1, 2], [1, 1, 1, 0, 0, 0]),
    ((2, 3), lambda t: AT[:, t.tensor(1)], (2,), [1, 4], [0, 1, 0, 0, 1, 0]),
    ((2, 3), lambda t: AT[t.tensor(-1), np.int64(2)], (), [5], [0, 0, 0, 0, 0, 1]),
    ((2, 3), lambda t: AT[np.array([1, 0]), 1:], (2, 2), [4, 5, 1, 2], [0, 1, 1, 0, 1, 1]),
    ((2, 3), lambda t: AT[1:, [[2], [0]]], (1, 2, 1), [5, 3], [0, 0, 0, 1, 0, 1]),
    (
        (2, 2, 3),
        lambda t: AT[t.tensor([[True, False], [False, True]]), 1],
        (2,),
        [1, 10],
        [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    ),
    ((2, 2, 3), lambda t: AT[1, ..., t.tensor([2, 2])], (2, 2), [8, 8, 11, 11], [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 2]),
    (
        (2, 2, 3),
        lambda t: AT[..., None, t.tensor([1]), :2],
        (2, 1, 1, 2),
        [3, 4, 9, 10],
        [0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0],
    ),
    ((2, 3), lambda t: AT[range(2), (2, 0)], (2,), [2, 3], [0, 0, 1, 1, 0, 0]),
    ((), lambda t: AT[None, None], (1, 1), [0], [1]),
    ((), lambda t: AT[True], (1,), [0], [1]),
    ((2, 3), lambda t: AT[t.tensor([0, 1], dtype=t.int32), -1], (2,), [2, 5], [0, 0, 1, 0, 0, 1]),
)
ERRORS: tuple[tuple[Any, ...], ...] = (
    ((2, 3), lambda t: AT[2], IndexError, "index 2 is out of bounds for dimension 0"),
    ((2, 3), lambda t: AT[0, -4], IndexError, "index -4 is out of bounds for dimension "),
    ((2, 3), lambda t: AT[0, 0, 0], IndexError, "too many indices for tensor of dimension"),
    ((), lambda t: AT[0], IndexError, "invalid index of a 0-dim tensor. Use `te"),
    ((2, 3), lambda t: AT[t.tensor([0, 2])], IndexError, "index 2 is out of bounds for dimension 0"),
    (
        (2, 3),
        lambda t: AT[t.tensor([0, 1]), t.tensor([0, 1, 2])],
        IndexError,
        "shape mismatch: indexing tensors could n",
    ),
    ((2, 3), lambda t: AT[t.tensor([True, False, True])], IndexError, "The shape of the mask [3] at index 0 doe"),
    ((2, 3), lambda t: AT[0, t.tensor([True])], IndexError, "The shape of the mask [1] at index 0 doe"),
    ((2, 3), lambda t: AT[::-1], ValueError, "step must be greater than zero"),
    ((2, 3), lambda t: AT[1.0], IndexError, "only integers, slices (`:`), ellipsis (`"),
    ((2, 3), lambda t: AT[t.tensor([1.0])], IndexError, "tensors used as indices must be long, in"),
    ((2, 3), lambda t: AT[t.tensor([1], dtype=t.int16)], IndexError, "tensors used as indices must be long, in"),
    ((2, 3), lambda t: AT[np.bool_(True)], IndexError, "only integers, slices (`:`), ellipsis (`"),
)


def counted(shape: tuple[int, ...], t: Any = distgrad) -> Any:
    return t.arange(float(math.prod(shape))).reshape(shape)


@pytest.mark.parametrize(("shape", "index", "size", "elements", "reads"), CASES)
def test_reading_and_its_gradient(shape: Any, index: Any, size: Any, elements: Any, reads: Any) -> None:
    x = counted(shape).requires_grad_()
    y = x[index(distgrad)]
    assert (tuple(y.shape), y.flatten().tolist()) == (size, elements)
    y.sum().backward()
    assert x.grad.flatten().tolist() == reads  # type: ignore[union-attr]


@pytest.mark.parametrize(("shape", "index", "size", "elements", "reads"), CASES)
def test_writing_and_its_gradient(shape: Any, index: Any, size: Any, elements: Any, reads: Any) -> None:
    """What is read is what is written; the old values' gradient is 0 there, a number written collects the others'."""
    before = counted(shape)
    plain, leaf = counted(shape), counted(shape).requires_grad_()
    value = distgrad.tensor(-1.0, requires_grad=True)
    plain[index(distgrad)] = -1.0
    touched = np.array(reads, bool).reshape(shape)
    assert plain.tolist() == np.where(touched, -1.0, before.numpy()).tolist()
    x = leaf * 1
    x[index(distgrad)] = value
    x.sum().backward()
    assert x.tolist() == plain.tolist()
    assert leaf.grad.tolist() == np.where(touched, 0.0, 1.0).tolist()  # type: ignore[union-attr]
    assert float(value.grad or 0) == len(elements)  # a row named twice hands its gradient on twice, as in PyTorch


@pytest.mark.parametrize(("shape", "index", "error", "message"), ERRORS)
def test_what_is_no_index(shape: Any, index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        counted(shape)[index(distgrad)]
    assert str(caught.value).startswith(message)
    with pytest.raises(error):
        counted(shape)[index(distgrad)] = 1.0


def test_views_and_copies() -> None:
    x = counted((2, 3))
    t = distgrad
    for index in (AT[0, None], AT[..., 1:], t.tensor(1), [slice(0, 1), 2], AT[:, np.int64(1)]):
        assert np.shares_memory(x[index].numpy(), x.numpy()), index
    for index in (t.tensor([0]), [0], True, AT[0, t.tensor([True, True, True])]):
        assert not np.shares_memory(x[index].numpy(), x.numpy()), index


def test_a_value_may_have_leading_ones_and_no_others() -> None:
    x = distgrad.zeros(2, 3)
    x[0, distgrad.tensor([0, 2])] = distgrad.tensor([[[5.0, 6.0]]])
    x[distgrad.tensor([[False] * 3, [True, False, True]])] = distgrad.tensor([[7.0, 8.0]])
    assert x.tolist() == [[5.0, 0.0, 6.0], [7.0, 0.0, 8.0]]
    for value in (distgrad.ones(3), distgrad.ones(2, 2)):
        with pytest.raises(RuntimeError, match="cannot be broadcast to indexing result of shape"):
            x[0, distgrad.tensor([0, 2])] = value
        with pytest.raises(RuntimeError, match="cannot be broadcast to indexing result of shape"):
            (x * 1)[0, distgrad.tensor([0, 2])] = value.requires_grad_()


def parts(rng: np.random.Generator, shape: tuple[int, ...]) -> list[Any]:
    """A random index of a tensor of ``shape``: at most one part a dimension; arrays stand for tensors."""
    found: list[Any] = []
    d, length = 0, int(rng.integers(1, 3))
    while d < len(shape) and rng.random() < 0.9:
        n, kind = shape[d], int(rng.integers(8))
        several = rng.integers(-n, n, length)
        mask = rng.permutation(n) < length
        one = int(several[0])
        found.append(
            (
                one, np.array(one), slice(one, None), slice(None, None, 2), None, several, several.tolist(),
                mask if n >= length else slice(None),
            )[kind]
        )  # fmt: skip
        d += kind != 4
    found.insert(int(rng.integers(len(found) + 1)) if d == len(shape) else len(found), ...)
    return found


@pytest.mark.torch
def test_the_table_and_random_indices_against_torch() -> None:
    import torch

    rng = np.random.default_rng(0)
    tried: list[tuple[Any, Any]] = [(shape, index) for shape, index, *_ in CASES]
    for _ in range(400):
        shape = tuple(rng.integers(1, 4, int(rng.integers(1, 5))).tolist())
        made = parts(rng, shape)
        tried.append(
            (shape, lambda t, made=made: tuple([t.tensor(i) if isinstance(i, np.ndarray) else i for i in made]))
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shape, index in tried:
            found = []
            for t in (distgrad, torch):
                x = counted(shape, t).requires_grad_()
                y = x[index(t)]
                (y * y).sum().backward()
                z = counted(shape, t)
                if getattr(index(t), "dtype", None) is not t.uint8:  # PyTorch reads by such a mask, but does not write
                    z[index(t)] = -1.0
                found.append((y.tolist(), tuple(y.shape), x.grad.tolist(), z.tolist()))
            assert found[0] == found[1], (shape, index(distgrad))
    for shape, index, error, _ in ERRORS:
        with pytest.raises(error):
            counted(shape, torch)[index(torch)]
