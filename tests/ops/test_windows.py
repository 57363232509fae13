"""Views with other strides, pieces and places: what shares memory, what is recorded, and errors."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad as torch


def test_views_share_memory_and_are_followed_by_the_history() -> None:
    for view in (
        lambda x: x.unfold(0, 2, 2)[0],
        lambda x: torch.as_strided(x, (2,), (1,)),
        lambda x: torch.tensor_split(x, (2,))[0],
        lambda x: torch.hsplit(x, 2)[0],
        lambda x: torch.atleast_2d(x)[0, :2],
    ):
        leaf = torch.arange(4.0).requires_grad_()
        x = leaf * 1
        view(x).mul_(3.0)
        assert x.tolist() == [0, 3, 2, 3]
        x.sum().backward()
        assert leaf.grad.tolist() == [3, 3, 1, 1]


def test_pieces_of_one_split_are_not_written_in_place_where_a_gradient_is_wanted() -> None:
    x = torch.ones(4, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        torch.split_with_sizes(x, (1, 3))[0].mul_(2)
    plain = torch.ones(4)
    torch.split_with_sizes(plain, (1, 3))[0].mul_(2)
    assert plain.tolist() == [2, 1, 1, 1]


def test_as_strided_reads_all_memory_of_a_view() -> None:
    x = torch.arange(6)
    part = x[2:4]
    assert part.as_strided((2, 2), (2, 1)).tolist() == [[2, 3], [4, 5]]
    assert part.as_strided((3,), (1,), 0).tolist() == [0, 1, 2]
    part.as_strided((3,), (1,), 0).fill_(9)
    assert x.tolist() == [9, 9, 9, 3, 4, 5]
    assert x.reshape(2, 3).t().as_strided((2, 3), (3, 1)).tolist() == [[9, 9, 9], [3, 4, 5]]


def test_an_element_read_several_times_has_the_sum_of_gradients_to_every_order() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = x.as_strided((2, 2), (1, 1))
    assert y.tolist() == [[1, 2], [2, 3]]
    (first,) = torch.autograd.grad((y**4).sum(), x, create_graph=True)
    assert first.tolist() == [4, 64, 108]
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    assert second.tolist() == [12, 96, 108]
    (third,) = torch.autograd.grad(second.sum(), x)
    assert third.tolist() == [24, 96, 72]
    z = x.t().as_strided((2,), (2,))
    torch.autograd.backward(z.sum())
    assert x.grad.tolist() == [1, 0, 1]


def test_windows_may_leave_gaps_and_overlap() -> None:
    x = torch.arange(7.0, requires_grad=True)
    assert x.unfold(0, 2, 3).tolist() == [[0, 1], [3, 4]]
    x.unfold(0, 3, 2).sum().backward()
    assert x.grad.tolist() == [1, 1, 2, 1, 2, 1, 1]
    assert torch.ones(3).unfold(0, 0, 1).shape == (4, 0)


def test_pieces() -> None:
    x = torch.arange(7)
    assert [p.tolist() for p in torch.tensor_split(x, 3)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [p.tolist() for p in torch.tensor_split(x, (2, -2, 9))] == [[0, 1], [2, 3, 4], [5, 6], []]
    assert [tuple(p.shape) for p in torch.vsplit(torch.ones(4, 2), (1, 1))] == [(1, 2), (0, 2), (3, 2)]
    assert torch.atleast_1d(torch.tensor(1), torch.tensor([2]))[0].shape == (1,)
    assert torch.column_stack((torch.tensor(1), torch.tensor(2))).tolist() == [[1, 2]]


def test_shapes_are_changed_in_place() -> None:
    leaf = torch.arange(6.0).requires_grad_()
    x = (leaf * 2).reshape(2, 3).clone()
    assert x.t_() is x
    x.unsqueeze_(0).squeeze_()
    x[0] = 5.0
    assert x.tolist() == [[5, 5], [2, 8], [4, 10]]
    (x * x).sum().backward()
    assert leaf.grad.tolist() == [0, 8, 16, 0, 32, 40]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        leaf.unsqueeze_(0)
    with torch.no_grad():
        leaf.unsqueeze_(0)
    assert leaf.shape == (1, 6)
    assert leaf.is_leaf
    assert leaf.requires_grad


def test_a_view_of_what_then_changed_its_shape_is_not_followed_silently() -> None:
    x = torch.ones(2, 2, requires_grad=True) * 1
    view = x[0]
    x.t_()
    x.mul_(2)
    with pytest.raises(RuntimeError, match="another shape in place"):
        view.sum()


def test_resize() -> None:
    x = torch.arange(6)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert x.resize_as_(torch.ones(3)).tolist() == [0, 1, 2]
    assert x.resize_(5)[:3].tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="cannot resize"):
        torch.ones(2, requires_grad=True).resize_(3)


def test_the_old_constructor_of_a_like_tensor() -> None:
    x = torch.ones(2, dtype=torch.float64)
    assert x.new(2, 3).shape == (2, 3)
    assert x.new(2, 3).dtype is torch.float64
    assert x.new([1, 2]).tolist() == [1.0, 2.0]
    assert x.new().shape == (0,)
    assert x.new(torch.ones(2, 3).shape).shape == (2, 3)


ERRORS: dict[str, tuple[type[Exception], Any]] = {
    "maximum size for tensor at dimension 0 is 3 but size is 4": (RuntimeError, lambda x: x.unfold(0, 4, 1)),
    "step is 0 but must be > 0": (RuntimeError, lambda x: x.unfold(0, 1, 0)),
    "out of bounds for storage of size 12": (RuntimeError, lambda x: x.as_strided((2, 2), (2, 2))),
    "Negative strides": (RuntimeError, lambda x: x.as_strided((2,), (-1,))),
    "mismatch in length": (RuntimeError, lambda x: x.as_strided((2, 2), (1,))),
    "not divisible by the split_size 2": (RuntimeError, lambda x: torch.hsplit(x, 2)),
    "at least 2 dimension": (RuntimeError, lambda x: torch.vsplit(x, 2)),
    "only non-negative entries": (RuntimeError, lambda x: torch.split_with_sizes(x, (4, -1))),
    "number of sections must be larger than 0": (RuntimeError, lambda x: torch.tensor_split(x, 0)),
    "Input must be >= 2-d": (RuntimeError, lambda x: torch.fliplr(x)),
    "expected total dims >= 2": (RuntimeError, lambda x: torch.rot90(x)),
    "row must be non-negative": (RuntimeError, lambda x: torch.tril_indices(-1, 2)),
    "to be integer dtype": (TypeError, lambda x: torch.unravel_index(x, (2, 2))),
    "same size as input along dim": (RuntimeError, lambda x: x.repeat_interleave(torch.tensor([1, 2]))),
    "Repeats must be non-negative": (RuntimeError, lambda x: x.repeat_interleave(-1)),
}


@pytest.mark.parametrize("said", ERRORS)
def test_what_is_refused(said: str) -> None:
    kind, call = ERRORS[said]
    with pytest.raises(kind, match=said):
        call(torch.ones(3))
