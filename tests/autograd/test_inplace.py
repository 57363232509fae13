"""Views and in-place writes: shared memory, versions, rebased histories; PyTorch is the oracle of the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad

START = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def write_element(t: Any, x: Any) -> Any:
    y = x * 2
    y[0, 1] = 7.0
    return y * y


def write_row_from_tensor(t: Any, x: Any) -> Any:
    y = x * 2
    y[1] = x[0] * x[1]
    return y * y


def through_a_view(t: Any, x: Any) -> Any:
    y = x * 2
    v = y[0]
    v *= x[1]
    return y * v.sum()


def through_a_view_of_a_view(t: Any, x: Any) -> Any:
    y = x * 2
    y.t()[1:][0].mul_(3.0)
    return y * y


def base_after_view(t: Any, x: Any) -> Any:
    y = x * 2
    v = y[1]
    y.mul_(3.0)
    return v * x[0]


def two_views_one_written(t: Any, x: Any) -> Any:
    y = x * 2
    a, b = y[0], y[:, 1]
    a += b.sum()
    return a * 2 + b[0] * y.sum()


def add_then_use(t: Any, x: Any) -> Any:
    y = x.exp()
    y = y + 1
    y += x
    y -= 1
    y /= 2
    return y


def detached_source(t: Any, x: Any) -> Any:
    y = t.zeros(2, 3, dtype=t.float64)
    y[0] = x[0] * 2
    y[1].copy_(x[1] * x[0])
    return y


def buffer_filled_in_a_loop(t: Any, x: Any) -> Any:
    out = t.zeros(3, dtype=t.float64)
    for i in range(3):
        out[i] = x[0, i] * x[1, i] + (out[i - 1] if i else 0)
    return out


def masked_and_indexed_writes(t: Any, x: Any) -> Any:
    y = x * 1
    y[y > 4.5] = 0.0
    y[:, [0, 2]] = x[:, :2] * 3
    return y * y


def relu_and_clamp_in_place(t: Any, x: Any) -> Any:
    return (x - 3.5).relu_() * x + (x - 1.5).clamp_(max=2.0)


def expanded_source(t: Any, x: Any) -> Any:
    y = x * 1
    y[:] = x[0].sum()
    y[0].zero_()
    y[1].fill_(2.0)
    return y + x


def reshaped_view(t: Any, x: Any) -> Any:
    y = x * 1
    v = y.view(6)
    v[2:4] = v[0:2] * 2
    return y * y


def unsqueezed_and_diagonal(t: Any, x: Any) -> Any:
    y = x * 1
    y.unsqueeze(0)[0, 0] += 5
    y.diagonal().mul_(2)
    return y * y


def masked_fill_in_place(t: Any, x: Any) -> Any:
    y = x * x
    return y.masked_fill_(x > 4.5, 0.0) * x


def in_place_on_unrecorded_memory(t: Any, x: Any) -> Any:
    y = t.ones(2, 3, dtype=t.float64)
    y.mul_(x)
    y.add_(x, alpha=2)
    return y


def power_in_place(t: Any, x: Any) -> Any:
    y = x * 1
    y **= 2
    y.addcmul_(x, x, value=0.5)
    return y


CASES: list[Callable[[Any, Any], Any]] = [
    write_element, write_row_from_tensor, through_a_view, through_a_view_of_a_view, base_after_view,
    two_views_one_written,
    add_then_use, detached_source, buffer_filled_in_a_loop, masked_and_indexed_writes, relu_and_clamp_in_place,
    expanded_source, reshaped_view, unsqueezed_and_diagonal, masked_fill_in_place, in_place_on_unrecorded_memory,
    power_in_place,
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)


@each_case
def test_gradients_equal_finite_differences(case: Any) -> None:
    x = distgrad.tensor(START, dtype=distgrad.float64, requires_grad=True)
    assert distgrad.autograd.gradcheck(lambda x: case(distgrad, x), (x,))
    assert distgrad.autograd.gradgradcheck(lambda x: case(distgrad, x), (x,))


@pytest.mark.torch
@each_case
def test_values_and_gradients_equal_pytorchs(case: Any) -> None:
    torch = pytest.importorskip("torch")

    def run(t: Any) -> tuple[np.ndarray, np.ndarray]:
        x = t.tensor(START, dtype=t.float64, requires_grad=True)
        out = case(t, x)
        out.backward(t.ones_like(out))
        return out.detach().numpy(), x.grad.numpy()

    for ours, theirs in zip(run(distgrad), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


# --- shared memory and versions ---


def test_views_share_memory_and_versions() -> None:
    x = distgrad.zeros(2, 3)
    views = [x[0], x.t(), x.view(-1), x[:, :2], x.detach(), x.unbind()[0], x.split(1)[0], x.unsqueeze(0), x.diagonal()]
    x[0, 0] = 5.0
    assert all(float(v.max()) == 5.0 for v in views)
    assert all(v._version == x._version == 1 for v in views)
    views[1][2, 1] = 7.0
    assert x[1, 2].item() == 7.0
    assert x._version == 2
    assert x.clone().data_ptr() != x.data_ptr()


def test_a_number_taken_by_index_is_a_view() -> None:
    x = distgrad.zeros(3)
    x[1].fill_(2.0)
    x[2] += 3.0
    assert x.tolist() == [0.0, 2.0, 3.0]


def test_advanced_indices_and_reshapes_that_must_copy_are_copies() -> None:
    x = distgrad.zeros(2, 2)
    x[[0]].fill_(1.0)
    x.t().reshape(4).fill_(1.0)
    assert x.sum().item() == 0.0
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.t().view(4)


def test_data_is_not_tracked_but_detach_is() -> None:
    x = distgrad.ones(2, requires_grad=True)
    y = x * 1
    out = (y * y).sum()
    y.data.mul_(3.0)
    out.backward()
    assert x.grad.tolist() == [6.0, 6.0]
    y = x * 1
    out = (y * y).sum()
    y.detach().mul_(3.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (lambda y: y * y, r"\[torch.FloatTensor \[2\]\].*saved by MulBackward0.*version 1; expected version 0"),
        (lambda y: y.sin(), "saved by SinBackward0"),
        (lambda y: distgrad.nn.functional.linear(y[None], y[None]), "saved by (Mm|Addmm)Backward0"),
        (lambda y: y**3, "saved by PowBackward0"),
    ],
)
def test_a_stale_saved_input_is_an_error_that_names_the_operation(operation: Any, text: str) -> None:
    y = distgrad.ones(2, requires_grad=True) * 1
    out = operation(y).sum()
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation.*" + text):
        out.backward()


def test_a_stale_saved_output_is_an_error() -> None:
    x = distgrad.ones(2, requires_grad=True)
    y = x.exp()
    y *= 2
    with pytest.raises(RuntimeError, match="output 0 of ExpBackward0.*version 1; expected version 0"):
        y.sum().backward()


def test_writing_what_no_rule_reads_is_allowed() -> None:
    x = distgrad.ones(2, requires_grad=True)
    y = x + 1
    z = y.sum()
    y *= 2
    z.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_write_through_a_view_makes_the_base_stale() -> None:
    y = distgrad.ones(2, 2, requires_grad=True) * 1
    out = (y * y).sum()
    y[0].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


# --- what is forbidden ---

LEAF = "a leaf Variable that requires grad is being used in an in-place operation"


def test_writes_to_leaves() -> None:
    x = distgrad.ones(3, requires_grad=True)
    for write in (
        lambda: x.add_(1),
        lambda: x.__imul__(2),
        lambda: x.__setitem__(..., 1.0),
        lambda: x.__setitem__(x > 0, 1.0),
        x.zero_,
        lambda: x.copy_(x.detach()),
    ):
        with pytest.raises(RuntimeError, match="^" + LEAF):
            write()
    for write in (lambda: x[0:2].mul_(2), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match=LEAF.replace("a leaf", "a view of a leaf")):
            write()
    with distgrad.no_grad():
        x.mul_(2)
        x[0] = 7.0
        x[1:].add_(1)
    assert x.tolist() == [7.0, 3.0, 3.0]
    assert x.is_leaf
    assert x.requires_grad


def test_one_of_several_views_is_not_written() -> None:
    y = distgrad.ones(2, 2, requires_grad=True) * 1
    for v in (y.unbind()[0], y.split(1)[1], next(iter(y))):
        with pytest.raises(RuntimeError, match="returns multiple views"):
            v.mul_(2)


def test_shapes_and_types_of_targets_stay() -> None:
    with pytest.raises(RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[2, 2\]"):
        distgrad.ones(2).add_(distgrad.ones(2, 2))
    with pytest.raises(RuntimeError, match="can't be cast"):
        distgrad.ones(2, dtype=distgrad.int64).mul_(0.5)
    x = distgrad.ones(2, dtype=distgrad.float32)
    x += distgrad.ones(2, dtype=distgrad.float64)
    assert x.dtype is distgrad.float32
    with pytest.raises(RuntimeError, match=r"expanded size of the tensor \(2\) must match the existing size \(3\)"):
        x[:] = distgrad.ones(3)
    with pytest.raises(RuntimeError, match=r"shape mismatch: value tensor of shape \[3\]"):
        x[[0, 1]] = distgrad.ones(3)
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 2"):
        x[5] = 1.0
