"""Arrays whose channels lie last in memory give what those that lie row by row give, and views of them are views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad.autograd.memory_format import lies_last

F = dg.nn.functional
SHAPES = [
    (4, 3, 5, 7),
    (2, 16, 6, 6),
    (3, 5, 4, 1),
    (2, 40, 3, 3),
    (1, 2050, 3, 3),
    (64, 8, 9, 4),
    (2, 6, 5),
    (2, 3, 4, 5, 6),
]


def statistics(x: Any) -> Any:
    c = x.shape[1]
    w, b = dg.linspace(0.5, 2, c), dg.linspace(-1, 1, c)
    return F.batch_norm(x, dg.zeros(c), dg.ones(c), w, b, training=True)


def pooled(x: Any) -> Any:
    n = x.ndim - 2
    size = 2 if min(x.shape[2:]) > 1 else 1
    return getattr(F, f"max_pool{n}d")(x, size, stride=1)


OPERATIONS = {
    "relu": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "softplus": lambda x: F.softplus(x),
    "leaky_relu": lambda x: F.leaky_relu(x),
    "where": lambda x: dg.where(x > 0, x, x * 2),
    "batch_norm": statistics,
    "group_norm": lambda x: F.group_norm(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "max_pool": pooled,
    "max_pool apart": lambda x: getattr(F, f"max_pool{x.ndim - 2}d")(x, 1 if min(x.shape[2:]) < 2 else 2),
    "mean": lambda x: x.mean(tuple(range(2, x.ndim))),
    "flatten": lambda x: x.flatten(1) * 2,
    "view": lambda x: (x * 1).view(x.shape[0], -1).exp(),
    "transpose": lambda x: (x * 1).transpose(1, 2).cumsum(1),
    "sum": lambda x: x.sum(1),
    "softmax": lambda x: x.softmax(1),
    "index": lambda x: (x + 0)[:, 1:].sigmoid(),
    "cat": lambda x: dg.cat([x, x * 2], 1),
}


def with_gradient(operation: Any, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By NumPy alone: tests/kernels has the other library."""
    with dg.backends.mkldnn.flags(enabled=False):
        x = dg.from_numpy(data).requires_grad_()
        y = operation(x)
        weights = dg.arange(y.numel()).reshape(y.shape).remainder(7) - 3.0
        (g,) = dg.autograd.grad(y, [x], weights)
        return y.detach().numpy(), g.numpy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_order_in_memory_changes_nothing(name: str, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(rows, 1, -1)), -1, 1)
    assert lies_last(last)
    for found, wanted in zip(with_gradient(OPERATIONS[name], last), with_gradient(OPERATIONS[name], rows), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def loose(requires_grad: bool = False) -> Any:
    """What a convolution leaves: channels last, without anybody having asked for it."""
    x = dg.arange(48.0).reshape(2, 3, 2, 4).requires_grad_(requires_grad)
    last = np.moveaxis(np.empty((2, 2, 4, 3), np.float32), -1, 1)
    y = x * 1
    last[...] = y._data
    y._data = last
    assert lies_last(y._data)
    return y


def test_a_view_is_a_view() -> None:
    for make in (
        lambda y: y.view(2, -1), lambda y: y[1], lambda y: y.detach(), lambda y: y.transpose(0, 1),
        lambda y: y.view(-1),
        lambda y: y.as_strided((4,), (2,)), lambda y: y.unbind(0)[1], lambda y: y.view(dg.int32), lambda y: y.flatten(),
    ):  # fmt: skip
        y = loose()
        before = make(loose().contiguous())
        part = make(y)
        assert part.tolist() == before.tolist()
        assert part.stride() == before.stride()
        y.zero_()
        assert not part.any()
    y = loose()
    memory = y.numpy()
    flat = y.view(-1)
    flat.fill_(3)
    assert (memory == 3).all()
    assert y.is_contiguous()


def test_a_view_of_what_is_recorded_takes_part() -> None:
    y = loose(requires_grad=True)
    z = y + 1
    z.view(-1)[3:5] *= 2
    (g,) = dg.autograd.grad(z.sum(), [y])
    assert g.flatten().tolist() == [1.0] * 3 + [2.0] * 2 + [1.0] * 43


def test_what_was_asked_for_stays() -> None:
    x = dg.arange(48.0).reshape(2, 3, 2, 4)
    for last in (
        x.contiguous(memory_format=dg.channels_last), x.clone(memory_format=dg.channels_last),
        x.to(memory_format=dg.channels_last), dg.zeros_like(x, memory_format=dg.channels_last),
    ):  # fmt: skip
        assert not last.is_contiguous()
        assert last[0].stride() == (1, 12, 3)
        assert last.is_contiguous(memory_format=dg.channels_last)
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            last.view(-1)
    array = np.moveaxis(np.zeros((2, 2, 4, 3), np.float32), -1, 1)
    t = dg.from_numpy(array)
    assert t[0, 0].fill_(5).tolist() == [[5] * 4] * 2
    assert array[0, 0, 1, 3] == 5
