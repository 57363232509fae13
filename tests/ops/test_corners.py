"""No dimension, one element, one output, repeated memory: where a general rule meets the smallest case."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import distgrad
from distgrad import nn

F = nn.functional


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_logistic_loss_of_a_number(reduction: str) -> None:
    x = distgrad.tensor(0.0, requires_grad=True)
    F.binary_cross_entropy_with_logits(x, distgrad.tensor(1.0), reduction=reduction).backward()
    assert x.grad.item() == -0.5


@pytest.mark.parametrize("turn", [lambda x: x.transpose(0, -1), lambda x: x.swapaxes(0, 0), lambda x: x.mT])
def test_a_number_turned_round(turn: Any) -> None:
    x = distgrad.tensor(2.0, requires_grad=True)
    turn(x).backward()
    assert x.grad.item() == 1.0


def test_prelu_of_a_number_is_a_number() -> None:
    x = distgrad.tensor(-2.0, requires_grad=True)
    y = F.prelu(x, distgrad.tensor([0.25]))
    y.backward()
    assert (y.shape, y.item(), x.grad.item()) == ((), -0.5, 0.25)


EXPANDED = {
    "to its own shape": (lambda: distgrad.zeros(2, 2).expand(2, 2)),
    "by a dimension of one": (lambda: distgrad.zeros(2, 2).expand(1, 2, 2)),
    "broadcast": (lambda: distgrad.broadcast_tensors(distgrad.zeros(2, 2), distgrad.zeros(2, 1))[0]),
    "one of several": (lambda: distgrad.zeros(2).expand(3, 2)[0]),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_an_expanded_tensor_that_repeats_nothing_may_be_written(name: str) -> None:
    x = EXPANDED[name]()
    x.add_(1)
    x[...] *= 2
    x[0] = 3
    assert sorted(set(x.reshape(-1).tolist())) == ([2.0, 3.0] if x.shape[0] > 1 else [3.0])


def test_one_that_repeats_may_not() -> None:
    with pytest.raises(RuntimeError, match="more than one element"):
        distgrad.zeros(2).expand(3, 2).add_(1)


def test_an_expanded_gradient_is_added_to_and_zeroed() -> None:
    p = nn.Parameter(distgrad.ones(2, 2))
    p.grad = distgrad.ones(2, 2).expand(2, 2)
    (p * 3).sum().backward()
    assert p.grad.tolist() == [[4.0, 4.0], [4.0, 4.0]]
    p.grad = distgrad.ones(2, 2).expand(2, 2)
    distgrad.optim.SGD([p], lr=0.1).zero_grad(set_to_none=False)
    assert p.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_one_element_under_one_mask_is_converted() -> None:
    mask = distgrad.tensor([True, False])
    for index, value, after in [
        (mask, [2], [[2.0, 2.0], [0.0, 0.0]]),
        ((mask, slice(None)), 7, [[7.0, 7.0], [0.0, 0.0]]),
        ((mask, 1), [[7]], [[0.0, 7.0], [0.0, 0.0]]),
        ((slice(None), mask), 7, [[7.0, 0.0], [7.0, 0.0]]),
        (True, [1, 2], [[1.0, 2.0], [1.0, 2.0]]),
        (False, [1, 2, 3], [[0.0, 0.0], [0.0, 0.0]]),
    ]:
        x = distgrad.zeros(2, 2)
        x[index] = distgrad.tensor(value)
        assert x.tolist() == after
    x = distgrad.zeros(2, 2)
    for index, value in [(mask, [1, 2]), (distgrad.tensor([0]), 7), ((mask, distgrad.tensor([0])), 7)]:
        with pytest.raises(RuntimeError, match="source and destination dtypes match"):
            x[index] = distgrad.tensor(value)
    with pytest.raises(RuntimeError, match="without overflow"):
        distgrad.zeros(2, dtype=distgrad.uint8)[mask] = distgrad.tensor(300)


STEPWISE = {
    "relu": (F.relu, [0.0, 1.0]),
    "relu6": (F.relu6, [0.0, 1.0]),
    "leaky_relu": (F.leaky_relu, [pytest.approx(0.01), 1.0]),
    "hardtanh": (lambda x: F.hardtanh(x, -5.0, 5.0), [1.0, 1.0]),
    "threshold": (lambda x: F.threshold(x, 0.5, 2.0), [0.0, 1.0]),
    "prelu": (lambda x: F.prelu(x, distgrad.tensor([0.25])), [0.25, 1.0]),
}


@pytest.mark.parametrize("name", STEPWISE)
def test_the_second_gradient_of_a_stepwise_slope_is_zeros(name: str) -> None:
    function, slopes = STEPWISE[name]
    x = distgrad.tensor([-2.0, 3.0], requires_grad=True)
    (g,) = distgrad.autograd.grad(function(x).sum(), x, create_graph=True)
    assert g.requires_grad
    assert g.tolist() == slopes
    (h,) = distgrad.autograd.grad((g * distgrad.tensor([1.0, 2.0])).sum(), x)
    assert h.tolist() == [0.0, 0.0]


def test_elu_has_no_second_gradient_at_0() -> None:
    x = distgrad.tensor([0.0], requires_grad=True)
    (g,) = distgrad.autograd.grad(F.elu(x).sum(), x, create_graph=True)
    assert distgrad.autograd.grad(g.sum(), x)[0].tolist() == [0.0]


def test_several_ellipses() -> None:
    x = distgrad.arange(6.0).reshape(2, 3)
    assert x[..., ...].tolist() == x.tolist()
    assert x[..., 0, ...].tolist() == [0.0, 3.0]
    assert x[0, ..., ...].tolist() == [0.0, 1.0, 2.0]
    assert x[..., None, ...].shape == (2, 3, 1)
    with pytest.raises(IndexError):
        x[..., ..., 0]


def test_a_parameter_with_gaps_is_copied_without() -> None:
    whole = distgrad.arange(24.0).reshape(4, 6)
    assert copy.deepcopy(nn.Parameter(whole[::2])).view(-1).tolist() == [*range(6), *range(12, 18)]


class Doubled(distgrad.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2), y * 3

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * 2, grads[1] * 3


def test_what_is_rolled_is_no_view() -> None:
    x, y = distgrad.ones(3, requires_grad=True), distgrad.ones(3, requires_grad=True)
    u, v = Doubled.apply((x * 1).roll(1), y)
    (u * distgrad.arange(3.0) + v).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([2.0, 4.0, 0.0], [3.0, 3.0, 3.0])
    assert distgrad.arange(6).reshape(2, 3).roll(2).tolist() == [[4, 5, 0], [1, 2, 3]]


def test_rounded_division_in_place() -> None:
    x = distgrad.tensor([7.0, -7.0])
    assert x.clone().div_(2, rounding_mode="floor").tolist() == [3.0, -4.0]
    assert x.clone().div_(2, rounding_mode="trunc").tolist() == [3.0, -3.0]


def late(x: Any) -> None:
    x.requires_grad = True


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda: int(distgrad.ones(2))),
        (ValueError, lambda: float(distgrad.ones(0))),
        (ValueError, lambda: complex(distgrad.ones(2))),
        (RuntimeError, lambda: float(distgrad.tensor(1j))),
        (RuntimeError, lambda: distgrad.zeros(()).copy_(distgrad.ones(3))),
        (RuntimeError, lambda: distgrad.zeros(2).copy_(distgrad.ones(2, 2, 1))),
        (ValueError, lambda: distgrad.tensor([2**63, 1])),
        (RuntimeError, lambda: late(distgrad.ones(2, requires_grad=True) * 2)),
    ],
)
def test_errors_of_pytorchs_classes(error: type[Exception], call: Any) -> None:
    with pytest.raises(error):
        call()
