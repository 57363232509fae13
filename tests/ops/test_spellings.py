"""The names and orders of arguments that PyTorch takes beside its own: NumPy's, sizes by name, numbers in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as torch

X = [[1.0, -2.0, 3.0], [4.0, 5.5, 0.5]]

# Each way to say it, and the usual one.
SAME: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda x: x.sum(axis=0, keepdims=True), lambda x: x.sum(0, True)),
    (lambda x: torch.mean(x, axis=1, keepdims=True), lambda x: torch.mean(x, 1, True)),
    (lambda x: x.prod(axis=0), lambda x: x.prod(0)),
    (lambda x: x.std(axis=0, keepdims=True), lambda x: x.std(0, keepdim=True)),
    (lambda x: x.max(axis=0).values, lambda x: x.max(0).values),
    (lambda x: x.amax(axis=(0, 1), keepdims=True), lambda x: x.amax((0, 1), True)),
    (lambda x: x.argmin(axis=0, keepdims=True), lambda x: x.argmin(0, True)),
    (lambda x: x.any(axis=1), lambda x: x.any(1)),
    (lambda x: x.sort(axis=0).indices, lambda x: x.sort(0).indices),
    (lambda x: x.topk(2, axis=1).values, lambda x: x.topk(2, 1).values),
    (lambda x: x.cumsum(axis=0), lambda x: x.cumsum(0)),
    (lambda x: x.softmax(axis=1), lambda x: x.softmax(1)),
    (lambda x: x.logsumexp(axis=1, keepdims=True), lambda x: x.logsumexp(1, True)),
    (lambda x: torch.cat([x, x], axis=1), lambda x: torch.cat([x, x], 1)),
    (lambda x: torch.stack([x, x], axis=-1), lambda x: torch.stack([x, x], -1)),
    (lambda x: x.unsqueeze(axis=1).squeeze(axis=1), lambda x: x),
    (lambda x: x.gather(axis=1, index=torch.tensor([[0]])), lambda x: x[:1, :1]),
    (lambda x: x.scatter(axis=1, index=torch.tensor([[0]]), value=0.0)[0, 0], lambda x: x[0, 0] * 0),
    (lambda x: x.index_select(axis=0, index=torch.tensor([1])), lambda x: x[1:]),
    (lambda x: x.flip(dims=(0, 1)), lambda x: x.flip(0, 1)),
    (lambda x: x.permute(dims=(1, 0)), lambda x: x.t()),
    (lambda x: x.reshape(shape=(3, 2)), lambda x: x.reshape(3, 2)),
    (lambda x: torch.reshape(x, shape=(3, 2)), lambda x: x.reshape(3, 2)),
    (lambda x: x.view(size=(6,)), lambda x: x.view(6)),
    (lambda x: x.expand(size=(2, 2, 3)), lambda x: x.expand(2, 2, 3)),
    (lambda x: x.broadcast_to(size=(1, 2, 3)), lambda x: x[None]),
    (lambda x: torch.broadcast_to(x, size=(1, 2, 3)), lambda x: x[None]),
    (lambda x: x.repeat(repeats=(1, 2)), lambda x: x.repeat(1, 2)),
    (lambda x: x.tile(dims=(2,)), lambda x: x.tile(2)),
    (lambda x: x.new_zeros(size=(2,)), lambda x: x.new_zeros(2)),
    (lambda x: torch.ones(size=(2, 1), layout=torch.strided, pin_memory=False), lambda x: torch.ones(2, 1)),
    (lambda x: torch.full_like(x, fill_value=2), lambda x: torch.full_like(x, 2)),
    (lambda x: torch.arange(end=3, layout=torch.strided), lambda x: torch.arange(3)),
    (lambda x: torch.exp(input=x), lambda x: x.exp()),
    (lambda x: torch.abs(x), lambda x: x.abs()),
    (lambda x: torch.mul(input=x, other=x), lambda x: x * x),
    (lambda x: x.pow(exponent=2), lambda x: x**2),
    (lambda x: x.eq(other=x), lambda x: x == x),
    (lambda x: torch.max(x, other=-x), lambda x: torch.maximum(x, -x)),
    (lambda x: torch.mm(x, mat2=x.t()), lambda x: x @ x.t()),
    (lambda x: torch.mv(x, vec=x[0]), lambda x: x @ x[0]),
    (lambda x: torch.dot(x[0], tensor=x[1]), lambda x: x[0] @ x[1]),
    (lambda x: torch.add(x, 2, x), lambda x: x * 3),
    (lambda x: (x * 1).add_(-0.5, x), lambda x: x * 0.5),
    (lambda x: x.sub(2, x), lambda x: -x),
    (lambda x: (x * 1).sub_(0.5, x), lambda x: x * 0.5),
    (lambda x: torch.addcmul(x, 2, x, x), lambda x: x + 2 * x * x),
    (lambda x: (x * 1).addcdiv_(2, x, x), lambda x: x + 2),
    (lambda x: torch.addmm(2, torch.ones(2, 2), 3, x, x.t()), lambda x: 2 + 3 * (x @ x.t())),
    (lambda x: torch.ones(2, 2).addmm(3, x, x.t()), lambda x: 3 + x @ x.t()),
]


@pytest.mark.parametrize("case", range(len(SAME)))
def test_it_is_the_same(case: int) -> None:
    said, usual = SAME[case]
    a, b = said(torch.tensor(X)), usual(torch.tensor(X))
    assert a.dtype is b.dtype
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_random_tensors_take_their_size_by_name() -> None:
    assert torch.rand(size=(2, 3)).shape == torch.randn(size=(2, 3)).shape == (2, 3)
    for drawn in (torch.randint(5, size=(9,)), torch.randint(high=5, size=(9,)), torch.randint(0, 5, (9,))):
        assert drawn.shape == (9,)
        assert ((drawn >= 0) & (drawn < 5)).all()


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("unexpected keyword argument 'axes'", lambda x: x.sort(axes=0)),
        ("unexpected keyword argument 'axes'", lambda x: x.reshape(axes=0)),
        ("unexpected keyword argument 'colour'", lambda x: torch.zeros(2, colour=1)),
        ("multiple values for argument 'size'", lambda x: torch.zeros(2, size=(3,))),
        ("takes 2 positional arguments but 3 were given", lambda x: torch.add(x, x, x)),
        ("missing 1 required positional argument", lambda x: x.unsqueeze()),
        ("must be int, not str", lambda x: x.cumsum(axis="a")),
    ],
)
def test_other_names_are_refused(said: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=said):
        call(torch.tensor(X))


def test_no_other_layout_is_made() -> None:
    with pytest.raises(NotImplementedError, match=r"torch\.strided only"):
        torch.zeros(2, layout=torch.sparse_coo)
