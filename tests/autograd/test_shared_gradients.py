"""Whose memory a gradient has, and what a second backward pass does to the first one's gradient."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad as torch


def leaves(n: int) -> list[Any]:
    return [torch.ones(2, requires_grad=True) for _ in range(n)]


@pytest.mark.parametrize("create_graph", [False, True])
def test_two_leaves_that_are_given_one_gradient_do_not_share_it(create_graph: bool) -> None:
    p, q = leaves(2)
    (p + q).sum().backward(create_graph=create_graph)
    (p * 3).sum().backward()
    assert p.grad.tolist() == [4.0, 4.0]
    assert q.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_does_not_share_the_memory_of_the_one_it_began_with(create_graph: bool) -> None:
    (p,), start = leaves(1), torch.ones(2)
    (p * 1).backward(start, create_graph=create_graph)
    p.grad.data.mul_(7)
    assert start.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_two_results_named_as_inputs_do_not_share_a_gradient(create_graph: bool) -> None:
    (p,) = leaves(1)
    y, z = p * 1, p * 2
    (y + z).sum().backward(inputs=[y, z], create_graph=create_graph)
    y.grad.data.mul_(4)
    assert z.grad.tolist() == [1.0, 1.0]


def test_a_plain_pass_adds_to_a_recorded_gradient_in_place_and_keeps_its_history() -> None:
    p = torch.tensor([1.0, 2.0], requires_grad=True)
    (p**3).sum().backward(create_graph=True)
    first = p.grad
    (p**2).sum().backward()
    assert p.grad is first
    assert first.requires_grad
    assert first.tolist() == [5.0, 16.0]  # 3p² + 2p
    (second,) = torch.autograd.grad((first**2).sum(), p)
    assert second.tolist() == [60.0, 384.0]  # 2 (3p² + 2p) 6p: the plain pass's part counts as a constant


def test_who_saved_a_gradient_is_told_that_another_pass_added_to_it() -> None:
    p, w = leaves(2)
    (p * 3).sum().backward()
    loss = (p.grad * w).sum()
    (p * 3).sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_view_is_no_leaf_once_its_base_was_written_from_what_requires_grad() -> None:
    (w,) = leaves(1)
    base = torch.ones(2, 2)
    turned, row = base.T, base[0]
    base.mul_(w)
    assert not turned.is_leaf
    assert not row.is_leaf


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("way", ["mask", "masked_fill_", "index"])
@pytest.mark.parametrize("row", [0, 1])
def test_what_is_written_to_one_of_two_elements_in_one_place_stays(recorded: bool, way: str, row: int) -> None:
    base = torch.tensor([1.0, 2.0, 3.0], requires_grad=recorded) * 1
    rows = base.expand(2, 3)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    mask[row, 0] = True
    if way == "mask":
        rows[mask] = 9.0
    elif way == "masked_fill_":
        rows.masked_fill_(mask, 9.0)
    else:
        rows[torch.tensor([row]), torch.tensor([0])] = 9.0
    assert base.tolist() == [9.0, 2.0, 3.0]
