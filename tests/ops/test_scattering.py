"""Writing where index tensors say: duplicates, shapes of sources, in-place forms, versions, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad as torch

Z = torch.zeros


def test_one_hot_by_scatter() -> None:
    at = torch.tensor([2, 0, 1])
    made = Z(3, 4).scatter_(1, at.unsqueeze(1), 1)
    assert made.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_a_source_that_is_larger_than_the_index_gives_its_first_part() -> None:
    source = torch.arange(6.0).reshape(2, 3).requires_grad_()
    made = Z(2, 2).scatter(0, torch.tensor([[1, 0]]), source)
    assert made.tolist() == [[0, 1], [0, 0]]
    made.sum().backward()
    assert source.grad.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_every_occurrence_is_added() -> None:
    at = torch.tensor([0, 2, 0])
    values = torch.tensor([1.0, 2.0, 4.0])
    assert Z(3).scatter_add(0, at, values).tolist() == [5, 0, 2]
    assert Z(3).index_add(0, at, values, alpha=2).tolist() == [10, 0, 4]
    assert Z(3).index_put((at,), values, accumulate=True).tolist() == [5, 0, 2]
    assert Z(3).put(at, values, accumulate=True).tolist() == [5, 0, 2]
    assert Z(3).scatter(0, at, 2.0, reduce="add").tolist() == [4, 0, 2]
    assert torch.ones(3).scatter(0, at, values, reduce="multiply").tolist() == [4, 1, 2]


@pytest.mark.parametrize(
    ("reduce", "with_self", "without"),
    [("sum", [6, 5, 2], [5, 5, 2]), ("prod", [4, 5, 2], [4, 5, 2]), ("mean", [2, 5, 2], [2.5, 5, 2]),
     ("amax", [4, 5, 2], [4, 5, 2]), ("amin", [1, 5, 2], [1, 5, 2])],
)  # fmt: skip
def test_what_is_brought_together(reduce: str, with_self: list[float], without: list[float]) -> None:
    x, at, source = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 0]), torch.tensor([1.0, 4.0])
    assert torch.scatter_reduce(x, 0, at, source, reduce).tolist() == with_self
    assert torch.scatter_reduce(x, 0, at, source, reduce, include_self=False).tolist() == without
    if reduce != "sum":
        assert torch.index_reduce(x, 0, at, source, reduce).tolist() == with_self
    whole = torch.scatter_reduce(x.long(), 0, at, source.long(), reduce, include_self=False)
    assert whole.tolist() == [int(n) for n in without]


def test_equals_share_the_gradient_of_an_extreme() -> None:
    x = torch.tensor([3.0, 1.0], requires_grad=True)
    y = torch.tensor([3.0, 3.0, 2.0], requires_grad=True)
    torch.scatter_reduce(x, 0, torch.tensor([0, 0, 1]), y, "amax").sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(y.grad.numpy(), [1 / 3, 1 / 3, 1], rtol=1e-6)


def test_an_index_given_twice_is_filled_once() -> None:
    value = torch.tensor(2.0, requires_grad=True)
    made = Z(3).index_fill(0, torch.tensor([1, 1, -1]), value)
    assert made.tolist() == [0, 2, 2]
    made.sum().backward()
    assert value.grad.item() == 2.0


def test_in_place_forms_write_through_views_and_are_recorded() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    y = x * 1
    y[:, 1].index_fill_(0, torch.tensor([0]), 7.0)
    y.t().scatter_(0, torch.tensor([[2, 2]]), 5.0)
    assert y.tolist() == [[1, 7, 5], [1, 1, 5]]
    y.sum().backward()
    assert x.grad.tolist() == [[1, 0, 0], [1, 1, 0]]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        x.scatter_(1, torch.tensor([[0]]), 1.0)
    with pytest.raises(RuntimeError, match="more than one element"):
        torch.ones(1).expand(3).index_add_(0, torch.tensor([0]), torch.ones(1))


def test_an_index_that_is_written_to_afterwards_is_noticed() -> None:
    at = torch.tensor([0, 1])
    for call in (
        lambda x: x.scatter(0, at, torch.ones(2) * x[:2]),
        lambda x: x.index_add(0, at, x[:2]),
        lambda x: x.take(at),
    ):
        x = torch.ones(3, requires_grad=True)
        out = call(x).sum()
        at[0] = 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward()


def test_no_derivative_where_pytorch_has_none() -> None:
    x = torch.ones(2, requires_grad=True)
    out = x.scatter(0, torch.tensor([0]), 2.0, reduce="multiply")
    assert out.tolist() == [2.0, 1.0]
    with pytest.raises(RuntimeError, match="derivative for aten::scatter is not implemented"):
        out.sum().backward()


def test_masked_scatter_takes_one_after_another() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    source = torch.arange(1.0, 6.0).requires_grad_()
    made = Z(2, 2).masked_scatter(mask, source)
    assert made.tolist() == [[1, 0], [2, 3]]
    made.sum().backward()
    assert source.grad.tolist() == [1, 1, 1, 0, 0]


def test_nothing_is_written_by_an_empty_index() -> None:
    none = torch.tensor([], dtype=torch.int64)
    x = torch.ones(3)
    for made in (
        x.scatter(0, none, x[:0]), x.scatter_add(0, none, x[:0]), x.index_add(0, none, x[:0]),
        x.index_fill(0, none, 5.0), x.index_copy(0, none, x[:0]), x.put(none, x[:0]),
        x.scatter_reduce(0, none, x[:0], "amax"),
    ):  # fmt: skip
        assert torch.equal(made, x)
        assert made is not x
    assert x.take(none).shape == (0,)


ERRORS: dict[str, tuple[type[Exception], Any]] = {
    "Expected self.dtype to be equal to src.dtype": (
        RuntimeError, lambda i: Z(2).scatter(0, i, torch.tensor([1])),
    ),
    "index 2 is out of bounds for dimension 0 with size 2": (RuntimeError, lambda i: Z(2).scatter(0, i + 2, 1.0)),
    "index -1 is out of bounds": (RuntimeError, lambda i: Z(2).scatter_add(0, i - 1, torch.ones(1))),
    "Expected dtype int32/int64 for index": (RuntimeError, lambda i: Z(2).scatter(0, i.float(), 1.0)),
    "no larger than self": (RuntimeError, lambda i: Z(2, 2).scatter(0, torch.tensor([[0, 0, 0]]), 1.0)),
    "either add or multiply": (RuntimeError, lambda i: Z(2).scatter(0, i, 1.0, reduce="max")),
    "sum, prod, mean, amax or amin, got foo": (
        RuntimeError, lambda i: Z(2).scatter_reduce(0, i, torch.ones(1), "foo"),
    ),
    "index out of range in self": (IndexError, lambda i: Z(2).index_add(0, i + 2, torch.ones(1))),
    "should be equal to source": (RuntimeError, lambda i: Z(2).index_add(0, i, torch.ones(2))),
    "same slice shapes": (RuntimeError, lambda i: Z(2, 3).index_copy(0, i, torch.ones(1, 2))),
    "value cannot be converted": (RuntimeError, lambda i: torch.tensor([1]).index_fill(0, i, float("inf"))),
    "cannot be broadcast to indexing result": (RuntimeError, lambda i: Z(2).index_put((i,), torch.ones(3))),
    "tried to access index 2 on a tensor of 2": (IndexError, lambda i: Z(2).take(i + 2)),
    "same number of elements": (IndexError, lambda i: Z(2).put(i, torch.ones(2))),
    "Number of elements of source": (
        RuntimeError, lambda i: Z(2).masked_scatter(torch.tensor([True, True]), torch.ones(1)),
    ),
    "only supports boolean masks": (RuntimeError, lambda i: Z(1).masked_scatter(i, torch.ones(1))),
    "size equal to the slice of self": (RuntimeError, lambda i: Z(2, 2).select_scatter(torch.ones(3), 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("said", ERRORS)
def test_what_is_refused(said: str) -> None:
    kind, call = ERRORS[said]
    with pytest.raises(kind, match=said):
        call(torch.tensor([0]))
