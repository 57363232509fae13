"""Index expressions read as PyTorch reads them: integers are selects, done before index tensors pick."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import distgrad

# Of 0., 1., … in a shape: the expression, the result's shape and elements, and how often each element was read.
CASES: tuple[tuple[Any, ...], ...] = (
    ((1, 2, 3), "x[0, :, t.tensor([0, 2])]", (2, 2), [0, 2, 3, 5], [1, 0, 1, 1, 0, 1]),
    ((1, 2, 3), "x[:, 1, t.tensor([0, 2])]", (1, 2), [3, 5], [0, 0, 0, 1, 0, 1]),
    (
        (2, 2, 3),
        "x[t.tensor([0, 1]), :, t.tensor([0, 2])]",
        (2, 2),
        [0, 3, 8, 11],
        [1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1],
    ),
    ((2, 2, 3), "x[t.tensor([1, 1]), 0, t.tensor([0, 0])]", (2,), [6, 6], [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]),
    ((2, 2, 3), "x[t.tensor([1]), None, t.tensor([0])]", (1, 1, 3), [6, 7, 8], [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]),
    ((2, 3), "x[[t.tensor([0, 1]), t.tensor([2, 0])]]", (2,), [2, 3], [0, 0, 1, 1, 0, 0]),
    ((2, 3), "x[[[0, 1], [2, 0]]]", (2,), [2, 3], [0, 0, 1, 1, 0, 0]),
    ((2, 3), "x[[0, 1, 1]]", (3, 3), [0, 1, 2, 3, 4, 5, 3, 4, 5], [1, 1, 1, 2, 2, 2]),
    ((2, 3), "x[[]]", (0, 3), [], [0, 0, 0, 0, 0, 0]),
    ((2, 3), "x[[0.5, 1.7]]", (2, 3), [0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1]),
    ((2, 3), "x[[slice(0, 2), 1]]", (2,), [1, 4], [0, 1, 0, 0, 1, 0]),
    ((2, 3), "x[t.tensor([True, False]), None]", (1, 1, 3), [0, 1, 2], [1, 1, 1, 0, 0, 0]),
    ((2, 3), "x[1, t.tensor([True, False, True])]", (2,), [3, 5], [0, 0, 0, 1, 0, 1]),
    ((2, 3), "x[..., t.tensor([True, False, True])]", (2, 2), [0, 2, 3, 5], [1, 0, 1, 1, 0, 1]),
    ((2, 3), "x[t.tensor([1, 0], dtype=t.uint8)]", (1, 3), [0, 1, 2], [1, 1, 1, 0, 0, 0]),
    ((2, 3), "x[x > 2]", (3,), [3, 4, 5], [0, 0, 0, 1, 1, 1]),
    ((2, 3), "x[True]", (1, 2, 3), [0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1]),
    ((2, 3), "x[False]", (0, 2, 3), [], [0, 0, 0, 0, 0, 0]),
    ((2, 3), "x[0, True]", (1, 3), [0, 1, 2], [1, 1, 1, 0, 0, 0]),
    ((2, 3), "x[:, t.tensor(1)]", (2,), [1, 4], [0, 1, 0, 0, 1, 0]),
    ((2, 3), "x[t.tensor(-1), np.int64(2)]", (), [5], [0, 0, 0, 0, 0, 1]),
    ((2, 3), "x[np.array([1, 0]), 1:]", (2, 2), [4, 5, 1, 2], [0, 1, 1, 0, 1, 1]),
    ((2, 3), "x[1:, [[2], [0]]]", (1, 2, 1), [5, 3], [0, 0, 0, 1, 0, 1]),
    ((2, 2, 3), "x[t.tensor([[True, False], [False, True]]), 1]", (2,), [1, 10], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    ((2, 2, 3), "x[1, ..., t.tensor([2, 2])]", (2, 2), [8, 8, 11, 11], [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 2]),
    ((2, 2, 3), "x[..., None, t.tensor([1]), :2]", (2, 1, 1, 2), [3, 4, 9, 10], [0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0]),
    ((2, 3), "x[range(2), (2, 0)]", (2,), [2, 3], [0, 0, 1, 1, 0, 0]),
    ((), "x[None, None]", (1, 1), [0], [1]),
    ((), "x[True]", (1,), [0], [1]),
    ((2, 3), "x[t.tensor([0, 1], dtype=t.int32), -1]", (2,), [2, 5], [0, 0, 1, 0, 0, 1]),
)
ERRORS: tuple[tuple[Any, ...], ...] = (
    ((2, 3), "x[2]", IndexError, "index 2 is out of bounds for dimension 0"),
    ((2, 3), "x[0, -4]", IndexError, "index -4 is out of bounds for dimension "),
    ((2, 3), "x[0, 0, 0]", IndexError, "too many indices for tensor of dimension"),
    ((), "x[0]", IndexError, "invalid index of a 0-dim tensor. Use `te"),
    ((2, 3), "x[t.tensor([0, 2])]", IndexError, "index 2 is out of bounds for dimension 0"),
    ((2, 3), "x[t.tensor([0, 1]), t.tensor([0, 1, 2])]", IndexError, "shape mismatch: indexing tensors could n"),
    ((2, 3), "x[t.tensor([True, False, True])]", IndexError, "The shape of the mask [3] at index 0 doe"),
    ((2, 3), "x[0, t.tensor([True])]", IndexError, "The shape of the mask [1] at index 0 doe"),
    ((2, 3), "x[::-1]", ValueError, "step must be greater than zero"),
    ((2, 3), "x[1.0]", IndexError, "only integers, slices (`:`), ellipsis (`"),
    ((2, 3), "x[t.tensor([1.0])]", IndexError, "tensors used as indices must be long, in"),
    ((2, 3), "x[t.tensor([1], dtype=t.int16)]", IndexError, "tensors used as indices must be long, in"),
    ((2, 3), "x[np.bool_(True)]", IndexError, "only integers, slices (`:`), ellipsis (`"),
)


def counted(shape: tuple[int, ...], t: Any = distgrad) -> Any:
    return t.arange(float(math.prod(shape))).reshape(shape)


def read(expression: str, x: Any, t: Any = distgrad) -> Any:
    return eval(expression, {"x": x, "t": t, "np": np})


@pytest.mark.parametrize(("shape", "expression", "size", "elements", "reads"), CASES, ids=lambda v: str(v)[:40])
def test_reading_and_its_gradient(shape: Any, expression: str, size: Any, elements: Any, reads: Any) -> None:
    x = counted(shape).requires_grad_()
    y = read(expression, x)
    assert (tuple(y.shape), y.flatten().tolist()) == (size, elements)
    y.sum().backward()
    assert x.grad.flatten().tolist() == reads  # type: ignore[union-attr]


@pytest.mark.parametrize(("shape", "expression", "size", "elements", "reads"), CASES, ids=lambda v: str(v)[:40])
def test_writing_and_its_gradient(shape: Any, expression: str, size: Any, elements: Any, reads: Any) -> None:
    """What is read is what is written; the old values' gradient is 0 there, a number written collects the others'."""
    before = counted(shape)
    plain, leaf = counted(shape), counted(shape).requires_grad_()
    value = distgrad.tensor(-1.0, requires_grad=True)
    names = {"x": plain, "t": distgrad, "np": np}
    exec(f"{expression} = -1.0", names)
    touched = np.array(reads, bool).reshape(shape)
    assert plain.tolist() == np.where(touched, -1.0, before.numpy()).tolist()
    x = leaf * 1
    exec(f"{expression} = v", {**names, "x": x, "v": value})
    x.sum().backward()
    assert x.tolist() == plain.tolist()
    assert leaf.grad.tolist() == np.where(touched, 0.0, 1.0).tolist()  # type: ignore[union-attr]
    assert float(value.grad or 0) == len(elements)  # a row named twice hands its gradient on twice, as in PyTorch


@pytest.mark.parametrize(("shape", "expression", "error", "message"), ERRORS, ids=lambda v: str(v)[:40])
def test_what_is_no_index(shape: Any, expression: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        read(expression, counted(shape))
    assert str(caught.value).startswith(message)
    with pytest.raises(error):
        exec(f"{expression} = 1.0", {"x": counted(shape), "t": distgrad, "np": np})


def test_views_and_copies() -> None:
    x = counted((2, 3))
    for expression in ("x[0, None]", "x[..., 1:]", "x[t.tensor(1)]", "x[[slice(0, 1), 2]]", "x[:, np.int64(1)]"):
        assert np.shares_memory(read(expression, x).numpy(), x.numpy()), expression
    for expression in ("x[t.tensor([0])]", "x[[0]]", "x[True]", "x[0, t.tensor([True, True, True])]"):
        assert not np.shares_memory(read(expression, x).numpy(), x.numpy()), expression


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


def expressions(rng: np.random.Generator, shape: tuple[int, ...]) -> str:
    """A random index of a tensor of ``shape``: at most one part a dimension."""
    parts, d, length = [], 0, int(rng.integers(1, 3))
    while d < len(shape) and rng.random() < 0.9:
        n, kind = shape[d], int(rng.integers(8))
        several = rng.integers(-n, n, length).tolist()
        parts.append(
            (
                str(several[0]), f"t.tensor({several[0]})", f"{several[0]}:", "::2", "None",
                f"t.tensor({several})", str(several),
                f"t.tensor({[bool(b) for b in rng.permutation(n) < length]})" if n >= length else ":",
            )[kind]
        )  # fmt: skip
        d += kind != 4
    parts.insert(int(rng.integers(len(parts) + 1)) if d == len(shape) else len(parts), "...")
    return f"x[{', '.join(parts)}]"


@pytest.mark.torch
def test_the_table_and_random_expressions_against_torch() -> None:
    import torch

    rng = np.random.default_rng(0)
    tried = [(shape, e) for shape, e, *_ in CASES]
    for _ in range(400):
        shape = tuple(rng.integers(1, 4, int(rng.integers(1, 5))).tolist())
        tried.append((shape, expressions(rng, shape)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shape, expression in tried:
            found = []
            for t in (distgrad, torch):
                x = counted(shape, t).requires_grad_()
                y = read(expression, x, t)
                (y * y).sum().backward()
                z = counted(shape, t)
                if "uint8" not in expression:  # PyTorch reads by such a mask, but does not write
                    exec(f"{expression} = -1.0", {"x": z, "t": t, "np": np})
                found.append((y.tolist(), tuple(y.shape), x.grad.tolist(), z.tolist()))
            assert found[0] == found[1], (shape, expression)
    for shape, expression, error, _ in ERRORS:
        with pytest.raises(error):
            read(expression, counted(shape, torch), torch)
