"""Sparse gradients in the engine, and what a sparse tensor is, prints and refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import storage
from distgrad.autograd.coo import summed_by_key
from distgrad.nn import functional as F


def used(w: Any, *rows: int) -> Any:
    """A number whose gradient is 1 for each row named, as often as it is named, and sparse."""
    return F.embedding(distgrad.tensor(rows), w, sparse=True).sum()


def weight() -> Any:
    return distgrad.zeros(4, 2).requires_grad_()


def test_backwards_put_sparse_gradients_side_by_side() -> None:
    w = weight()
    used(w, 1, 1, 3).backward()
    first = w.grad
    assert first.is_sparse
    assert first._indices().tolist() == [[1, 1, 3]]
    used(w, 0).backward()
    assert w.grad is first
    assert w.grad._indices().tolist() == [[1, 1, 3, 0]]
    assert w.grad._nnz() == 4
    assert not w.grad.is_coalesced()
    once = w.grad.coalesce()
    assert once.is_coalesced()
    assert once.indices().tolist() == [[0, 1, 3]]
    assert once.values().tolist() == [[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]
    assert once.coalesce() is once
    assert w.grad.to_dense().tolist() == [[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("flat", [False, True])
def test_sparse_and_dense_are_dense(flat: bool) -> None:
    for first, second in ((1, 0), (0, 1)):
        w = weight()
        if flat:
            storage.flatten([w])
        parts = [lambda w=w: used(w, 1, 1), lambda w=w: (w * 2).sum()]
        parts[first]().backward()
        parts[second]().backward()
        assert not w.grad.is_sparse
        assert w.grad[:, 0].tolist() == [2.0, 4.0, 2.0, 2.0]
    w = weight()
    (used(w, 1, 1) + (w * 2).sum() + used(w, 3)).backward()  # in one backward, from both sides
    assert w.grad[:, 0].tolist() == [2.0, 4.0, 2.0, 3.0]
    w = weight()
    (used(w, 1) + used(w, 1)).backward()
    assert w.grad.is_sparse
    assert w.grad.to_dense()[:, 0].tolist() == [0.0, 2.0, 0.0, 0.0]


def test_the_gradient_does_not_alias_what_it_came_from() -> None:
    w = weight()
    upstream = distgrad.ones(2, 2)
    F.embedding(distgrad.tensor([0, 1]), w, sparse=True).backward(upstream)
    upstream.mul_(5)
    assert w.grad._values().tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_of_another_tensor_than_a_leaf_it_is_dense() -> None:
    w = weight()
    used(w * 3, 1).backward()
    assert not w.grad.is_sparse
    assert w.grad[:, 0].tolist() == [0.0, 3.0, 0.0, 0.0]


def test_hooks_see_it_and_may_replace_it() -> None:
    w, seen = weight(), []
    w.register_hook(lambda g: seen.append(g) or g * 2)
    w.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad))
    used(w, 2).backward()
    assert [s.is_sparse for s in seen] == [True, True]
    assert seen[1] is w.grad
    assert w.grad._values().tolist() == [[2.0, 2.0]]
    w = weight()
    w.register_hook(lambda g: g.to_dense())
    used(w, 2).backward()
    assert not w.grad.is_sparse


def test_grad_and_inputs() -> None:
    w = weight()
    (g,) = distgrad.autograd.grad(used(w, 2, 2), w)
    assert g.is_sparse
    assert w.grad is None
    used(w, 2, 2).backward(inputs=[w])
    assert w.grad.is_sparse


def test_zero_grad_and_copies() -> None:
    w = distgrad.nn.Parameter(distgrad.zeros(4, 2))
    optimizer = distgrad.optim.SGD([w], lr=0.5)
    used(w, 2, 2).backward()
    twin = copy.deepcopy(w.grad)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.is_sparse
    assert w.grad._nnz() == 0
    assert twin._nnz() == 2
    used(w, 1).backward()
    assert w.grad.to_dense()[:, 0].tolist() == [0.0, 1.0, 0.0, 0.0]
    optimizer.zero_grad()
    assert w.grad is None
    w.grad = twin
    with pytest.raises(RuntimeError, match="different size"):
        w.grad = distgrad.sparse_coo_tensor([[0]], [[1.0, 1.0]], (3, 2))


def test_dense_optimizers_take_it_or_refuse_it() -> None:
    w = distgrad.nn.Parameter(distgrad.zeros(4, 2))
    used(w, 2, 2).backward()
    sgd = distgrad.optim.SGD([w], lr=0.5)
    assert w.grad.is_sparse  # laying out flat storage leaves it
    sgd.step()
    assert w[:, 0].tolist() == [0.0, 0.0, -1.0, 0.0]
    used(w, 2, 1).backward()
    sgd.step()
    assert w[:, 0].tolist() == [0.0, -0.5, -2.5, 0.0]
    w.grad = None
    used(w, 2).backward()
    for name in ("Adam", "RMSprop"):
        before = w.tolist()
        with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients, please consider SparseAdam"):
            getattr(distgrad.optim, name)([w], lr=0.1).step()
        assert w.tolist() == before


def test_what_it_is() -> None:
    t = distgrad.sparse_coo_tensor([[0, 1, 1], [2, 0, 0]], [1.0, 2.0, 3.0], (2, 3))
    assert (t.shape, t.dtype, t.ndim, t.numel(), t.device.type) == ((2, 3), distgrad.float32, 2, 6, "cpu")
    assert t.layout is distgrad.sparse_coo
    assert distgrad.ones(1).layout is distgrad.strided
    assert repr(distgrad.strided) == "torch.strided"
    assert not distgrad.ones(1).is_sparse
    assert (t.sparse_dim(), t.dense_dim(), t._nnz()) == (2, 0, 3)
    assert t.to_dense().tolist() == [[0.0, 0.0, 1.0], [5.0, 0.0, 0.0]]
    assert t.coalesce().indices().tolist() == [[0, 1], [2, 0]]
    assert distgrad.sparse_coo_tensor([[0, 2]], [1, 2]).to_dense().tolist() == [1, 0, 2]
    assert distgrad.sparse_coo_tensor([[0, 2]], [1, 2], dtype=distgrad.float64).dtype is distgrad.float64
    assert t.sum().item() == 6.0
    assert t.norm().item() == pytest.approx(26**0.5)
    assert t.double().dtype is distgrad.float64
    assert t.to(distgrad.float32) is t
    assert t.detach() is not t
    assert not t.requires_grad


def test_made_of_a_dense_tensor() -> None:
    dense = distgrad.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    rows = dense.to_sparse(1)
    assert rows.is_coalesced()
    assert rows.indices().tolist() == [[0, 2]]
    assert rows.values().tolist() == [[0.0, 0.0, 2.0], [1.0, 0.0, 3.0]]
    assert dense.to_sparse().indices().tolist() == [[0, 2, 2], [2, 0, 2]]
    assert dense.to_sparse().to_dense().tolist() == dense.tolist()
    with pytest.raises(RuntimeError, match="sparse_dim argument must be in >0 and <= 2, got 3"):
        dense.to_sparse(3)


def test_arithmetic() -> None:
    t = distgrad.sparse_coo_tensor([[0, 2, 0]], [[1.0, 2.0], [3.0, 4.0], [1.0, 1.0]], (3, 2))
    dense = t.to_dense()
    assert (t + t).is_sparse
    assert (t + t).to_dense().tolist() == (dense * 2).tolist()
    assert (t - t).to_dense().tolist() == (dense * 0).tolist()
    for both in (t + dense, dense + t):
        assert not both.is_sparse
        assert both.tolist() == (dense * 2).tolist()
    assert (t * 3).to_dense().tolist() == (3 * t).to_dense().tolist() == (dense * 3).tolist()
    assert (-t / 2).to_dense().tolist() == (dense / -2).tolist()
    u = t.clone()
    u.mul_(2).div_(4).add_(t)
    assert u.to_dense().tolist() == (dense * 1.5).tolist()
    assert t.to_dense().tolist() == dense.tolist()
    assert u.zero_()._nnz() == 0
    one, two = t.coalesce(), t.coalesce() * 2
    assert (one + two).is_coalesced()
    with pytest.raises(RuntimeError, match="expected 'self' and 'other' to have same size"):
        t + distgrad.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"add\(sparse, dense\) is not supported"):
        t.add_(dense)


T = distgrad.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,))
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "exp": (lambda: T.exp(), NotImplementedError, "Could not run 'exp' with arguments from the 'Sparse' backend"),
    "times a tensor": (lambda: T * distgrad.ones(3), NotImplementedError, "Could not run 'mul'"),
    "times": (lambda: distgrad.mul(T, 2.0), NotImplementedError, "Could not run"),
    "matmul": (lambda: distgrad.ones(3, 3) @ T, NotImplementedError, "Could not run 'matmul'"),
    "indices": (lambda: T.indices(), RuntimeError, r"Cannot get indices on an uncoalesced tensor.*call .coalesce\(\)"),
    "values": (lambda: T.values(), RuntimeError, "Cannot get values on an uncoalesced tensor"),
    "numpy": (lambda: T.numpy(), TypeError, "can't convert Sparse layout tensor to numpy"),
    "index": (lambda: T[0], NotImplementedError, "use to_dense"),
    "write": (lambda: T.__setitem__(0, 1.0), NotImplementedError, "use to_dense"),
    "grad": (lambda: T.requires_grad_(), NotImplementedError, "cannot require a gradient"),
    "out of bounds": (
        lambda: distgrad.sparse_coo_tensor([[0, 9]], [1.0, 2.0], (2,)), RuntimeError, "size is 2 but found index 9",
    ),
    "sizes": (lambda: distgrad.sparse_coo_tensor([[0]], [1.0], (2, 2)), RuntimeError, "do not fit size"),
    "counts": (lambda: distgrad.sparse_coo_tensor([[0]], [1.0, 2.0]), RuntimeError, r"got \[1, 1\] and \[2\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    run, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        run()


PRINTED = [
    ([[0, 2, 2]], [[0.5, -1.0], [2.0, 3.0], [1.0, 1.0]], (5, 2), None),
    ([[0, 1], [1, 0]], [1, 2], (2, 3), None),
    ([[0]], [1e-7], (4,), "float64"),
    ([[]], [], (4,), None),
    ([list(range(40))], [0.25] * 40, (100,), "float16"),
]


def test_printing_by_hand() -> None:
    t = distgrad.sparse_coo_tensor([[0, 2]], [[0.5, -1.0], [2.0, 3.0]], (5, 2))
    assert repr(t) == (
        "tensor(indices=tensor([[0, 2]]),\n"
        "       values=tensor([[ 0.5000, -1.0000],\n"
        "                      [ 2.0000,  3.0000]]),\n"
        "       size=(5, 2), nnz=2, layout=torch.sparse_coo)"
    )


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("case", PRINTED, ids=str)
def test_it_prints_as_pytorchs(case: Any) -> None:
    torch = pytest.importorskip("torch")
    indices, values, size, dtype = case
    printed = []
    for t in (distgrad, torch):
        made = t.sparse_coo_tensor(indices, values, size, dtype=None if dtype is None else getattr(t, dtype))
        printed.append(repr(made))
    assert printed[0] == printed[1]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
@pytest.mark.parametrize(("n", "keys"), [(0, 1), (1, 1), (50, 50), (300, 90), (1000, 3)])
def test_sums_by_key(n: int, keys: int, dtype: Any) -> None:
    rng = np.random.default_rng(n)
    at, values = rng.integers(0, keys, n), rng.integers(-4, 5, (n, 3)).astype(dtype)  # exact sums
    first, sums = summed_by_key(at, values)
    expected = np.zeros((keys, 3))
    np.add.at(expected, at, values.astype(float))
    assert at[first].tolist() == sorted(set(at.tolist()))
    assert (sums == expected[at[first]]).all()
    assert sums.dtype == dtype
