"""What follows a tensor through in-place changes, and what stays: retained gradients, hooks, Functions that write."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import distgrad
from distgrad.autograd import Function


def two() -> tuple[Any, Any]:
    a = distgrad.tensor([2.0, 3.0], requires_grad=True)
    return a, a * 1


class Triple(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 3


class TimesSecond(Function):
    """Writes to its second input."""

    @staticmethod
    def forward(ctx: Any, w: Any, x: Any) -> Any:
        ctx.save_for_backward(w.clone(), x.clone())
        x.mul_(w)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        w, x = ctx.saved_tensors
        return g * x, g * w


@pytest.mark.parametrize(
    ("change", "retained", "arrives"),
    [
        (lambda y: y.mul_(3), [12.0, 18.0], [36.0, 54.0]),
        (lambda y: y[:1].mul_(3), [12.0, 6.0], [36.0, 6.0]),
        (lambda y: Triple.apply(y), [12.0, 18.0], [36.0, 54.0]),
        (lambda y: Triple.apply(y[:1]), [12.0, 6.0], [36.0, 6.0]),
        (lambda y: y.__setitem__(0, 5.0), [10.0, 6.0], [0.0, 6.0]),
        (lambda y: y.zero_(), [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_retain_grad_goes_with_the_tensor(change: Any, retained: list[float], arrives: list[float]) -> None:
    a, y = two()
    y.retain_grad()
    change(y)
    (y * y).sum().backward()
    assert (y.grad.tolist(), a.grad.tolist()) == (retained, arrives)


def test_a_views_retained_gradient_goes_with_it_once_it_is_used() -> None:
    a, y = two()
    v = y[:1]
    v.retain_grad()
    y.mul_(3)
    (v * v).sum().backward()
    assert (v.grad.tolist(), a.grad.tolist()) == ([12.0], [36.0, 0.0])
    a, y = two()
    v = y[:1]
    v.retain_grad()
    before = (v * 5).sum()
    y.mul_(3)
    ((y * y).sum() + before).backward()
    assert (v.grad.tolist(), a.grad.tolist()) == ([5.0], [41.0, 54.0])


def test_hooks_stay_with_the_history_they_were_registered_on() -> None:
    _, y = two()
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(("old", g.tolist())))
    y.mul_(3)
    y.register_hook(lambda g: seen.append(("new", g.tolist())))
    (y * y).sum().backward()
    assert seen == [("new", [12.0, 18.0]), ("old", [36.0, 54.0])]


@pytest.mark.parametrize(
    "erase",
    [lambda y: y.zero_(), lambda y: y.fill_(2.0), lambda y: y.copy_(distgrad.ones(2)), lambda y: y.normal_(),
     lambda y: y.uniform_(), lambda y: y.bernoulli_(0.5), lambda y: y.random_(0, 5), lambda y: y[:].zero_(),
     lambda y: y.__setitem__(..., 1.0), lambda y: y.masked_fill_(distgrad.tensor(True), 1.0)],
)  # fmt: skip
def test_what_is_overwritten_whole_keeps_its_graph(erase: Any) -> None:
    a, y = two()
    erase(y)
    assert y.requires_grad
    y.sum().backward()
    assert a.grad.tolist() == [0.0, 0.0]
    a, y = two()
    erase(y)
    (g,) = distgrad.autograd.grad(y.sum(), a, create_graph=True)
    assert g.tolist() == [0.0, 0.0]


def test_a_function_that_writes_to_a_view_rebases_what_it_is_of() -> None:
    a, y = two()
    Triple.apply(y[:1])
    y.sum().backward()
    assert a.grad.tolist() == [3.0, 1.0]


def test_the_input_written_need_not_be_the_first() -> None:
    a, plain = distgrad.tensor([2.0, 3.0], requires_grad=True), distgrad.ones(2)
    TimesSecond.apply(a[:1], plain[:1])
    plain.sum().backward()
    assert a.grad.tolist() == [1.0, 0.0]
    w, (b, y) = distgrad.tensor([5.0], requires_grad=True), two()
    TimesSecond.apply(w, y[:1])
    y.sum().backward()
    assert (w.grad.tolist(), b.grad.tolist()) == ([2.0], [5.0, 1.0])


def _returning(result: Any) -> Any:
    class Given(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return result(x)

        @staticmethod
        def backward(ctx: Any, *g: Any) -> Any:
            return distgrad.zeros(2)

    return Given


@pytest.mark.parametrize(
    ("result", "why"),
    [(lambda x: x, "custom Function"), (lambda x: x[:1], "custom Function"), (lambda x: (x[:1], x[1:]), "multiple")],
)
def test_what_a_function_returns_of_its_input_is_not_written(result: Any, why: str) -> None:
    _, y = two()
    out = _returning(result).apply(y)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace.*" + why):
        (out[0] if isinstance(out, tuple) else out).mul_(2)


def test_what_may_not_be_marked_dirty() -> None:
    a, y = two()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used in an in-place operation"):
        Triple.apply(a)
    with distgrad.no_grad():
        late = y[:1]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used"):
        Triple.apply(late)
    with pytest.raises(RuntimeError, match="returns multiple views"):
        Triple.apply(y.unbind()[0])

    class Lost(Triple):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x * 1

    class Pair(Triple):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x, x * 1

    class Own(Triple):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            out = x * 3
            ctx.mark_dirty(out)
            return out

    with pytest.raises(RuntimeError, match="marked as dirty during the forward method were not returned as output"):
        Lost.apply(y)
    with pytest.raises(RuntimeError, match="cannot return more than one Tensor"):
        Pair.apply(y[:1])
    with pytest.warns(UserWarning, match="Only input Tensors should be given to ctx.mark_dirty"):
        assert Own.apply(two()[1]).tolist() == [6.0, 9.0]


def test_a_second_backward_through_a_written_view_is_refused() -> None:
    _, y = two()
    y[:1].mul_(3)
    loss = y.sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_a_view_keeps_requiring_grad_of_its_own() -> None:
    y = distgrad.ones(2)
    v = y[:1]
    v.requires_grad_()
    y.mul_(2)
    (v * v).sum().backward()
    assert v.grad.tolist() == [4.0]
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        v.mul_(2)


@pytest.mark.parametrize("write", [lambda y: y.mul_(y), lambda y: y.div_(y), lambda y: y[:1].mul_(y[1:])])
def test_what_is_multiplied_with_itself_in_place_is_stale(write: Any) -> None:
    _, y = two()
    write(y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("operation", "option"),
    [
        (lambda y, m: distgrad.where(m, y, 2.0), [True, False]),
        (lambda y, m: y.masked_fill(m, 1.0), [True, False]),
        (lambda y, m: y[m], [True, False]),
        (lambda y, i: y[i], [1, 0]),
        (lambda y, i: y.gather(0, i), [1, 0]),
        (lambda y, i: y.index_select(0, i), [1, 0]),
        (lambda y, i: distgrad.nn.functional.embedding(i, y[:, None]), [1, 0]),
        (lambda y, i: distgrad.nn.functional.cross_entropy(y[:, None] * distgrad.ones(1, 2), i), [1, 0]),
    ],
)
def test_masks_and_indices_are_watched(operation: Any, option: list[Any]) -> None:
    _, y = two()
    saved = distgrad.tensor(option)
    out = operation(y, saved).sum()
    saved[0] = False
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_numpy_is_given_what_requires_grad_where_nothing_is_recorded() -> None:
    a, _ = two()
    with distgrad.no_grad():
        assert a[:1].numpy().tolist() == [2.0]
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="Can't call numpy"):
        a.numpy()
