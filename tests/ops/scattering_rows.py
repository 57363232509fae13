"""Rows of the operations that write, add and bring together where index tensors say."""

from __future__ import annotations

from typing import Any

from tests.ops.case import A, B, I, P, R, Row, V, row

AT = I([[0, 1], [2, 0]])


def _inplace(name: str, *args: Any) -> Any:
    """The method ``name`` with an underscore, of what is computed from the first input, and squared."""

    def call(t: Any, x: Any, *inputs: Any) -> Any:
        x = x * 1
        getattr(x, name + "_")(*[inputs[a.at] if isinstance(a, Given) else a for a in args])
        return x * x

    return call


class Given:
    """In the place of an argument: the input of that number after the first."""

    def __init__(self, at: int) -> None:
        self.at = at


X, Y = Given(0), Given(1)

SCATTER: list[Row] = [
    row("scatter", lambda t, x, i, y: t.scatter(x, 1, i, y), (R(2, 3), AT, R(2, 2)), (R(3, 3), AT, R(2, 2))),
    row("scatter complex", lambda t, x, i, y: x.scatter(0, i, y), (R(3, 2), AT, R(2, 2)), complex=True),
    row("scatter number", lambda t, x, i: t.scatter(x, 1, i, 2.5) * x.scatter(-1, i, value=1), (R(2, 3), AT)),
    row("scatter of no dimensions", lambda t, x, i, y: t.scatter(x, 0, i, y), (R(), I(0), R()), (R(2), I(1), R())),
    row("scatter nothing", lambda t, x, i, y: t.scatter(x, 0, i.reshape(0), y), (R(2), I([]), R(0))),
    row("scatter add", lambda t, x, i: t.scatter(x.detach(), 1, i, 2.0, reduce="add"), (R(2, 3), AT), half=False),
    row(
        "scatter multiply",
        lambda t, x, i, y: t.scatter(x.detach(), 1, i, y.detach(), reduce="multiply"),
        (R(2, 3), AT, R(2, 2)),
        second=False,
    ),
    row("scatter_", _inplace("scatter", 1, X, Y), (R(2, 3), AT, R(2, 2))),
    row("scatter_add", lambda t, x, i, y: t.scatter_add(x, 0, i, y), (R(3, 2), AT, R(2, 2)), complex=True),
    row("scatter_add_", _inplace("scatter_add", 1, X, Y), (R(2, 3), I([[0, 0], [2, 0]]), R(2, 2))),
]

REDUCED: list[Row] = [
    *[
        row(
            f"scatter_reduce {reduce} {include}",
            lambda t, x, i, y, reduce=reduce, include=include: t.scatter_reduce(
                x, 0, i, y, reduce, include_self=include
            ),
            (A(3), I(0, 2, 0, 0), A(4)),
            (A(3, 2), AT, A(2, 2)),
            half=False,
        )
        for reduce in ("sum", "prod", "mean", "amax", "amin")
        for include in (True, False)
    ],
    row(
        "scatter_reduce, ties",
        lambda t, x, i, y: t.scatter_reduce(x, 0, i, y, "amax") + x.scatter_reduce(0, i, y, "amin"),
        (V(1.0, 3.0), I(0, 0, 1), V(1.0, 1.0, 3.0)),
        smooth=False,
    ),
    row(
        "scatter_reduce zeros",
        lambda t, x, i, y: t.scatter_reduce(x, 0, i, y, "prod"),
        (V(2.0, 3.0), I(0, 0, 1), V(0.0, 5.0, 2.0)),
        half=False,
    ),
    row("scatter_reduce_", _inplace("scatter_reduce", 0, X, Y, "amax"), (A(3), I(0, 2, 0), A(3))),
    row(
        "scatter_reduce_ of no dimensions",
        _inplace("scatter_reduce", 0, X, Y, "amax"),
        (A(), I(0), V(9.0)),
        smooth=False,
    ),
    *[
        row(
            f"index_reduce {reduce} {include}",
            lambda t, x, i, y, reduce=reduce, include=include: t.index_reduce(x, 1, i, y, reduce, include_self=include),
            (P(2, 3), I(0, 2, 0), P(2, 3)),
            half=False,
        )
        for reduce in ("prod", "mean", "amax", "amin")
        for include in (True, False)
    ],
    row("index_reduce_", _inplace("index_reduce", 0, X, Y, "mean"), (R(3), I(0, 0), R(2)), half=False),
]

SLICES: list[Row] = [
    row("index_add", lambda t, x, i, y: t.index_add(x, 1, i, y), (R(2, 3), I(0, 2, 0), R(2, 3)), complex=True),
    row("index_add alpha", lambda t, x, i, y: x.index_add(0, i, y, alpha=2), (R(3), I(2, 1), R(2)), half=False),
    row("index_add of no dimensions", lambda t, x, i, y: x.index_add(0, i, y), (R(), I(0), R())),
    row("index_add_", _inplace("index_add", 0, X, Y), (R(3, 2), I(0, 0), R(2, 2))),
    row("index_copy", lambda t, x, i, y: t.index_copy(x, 0, i, y), (R(3, 2), I(2, 0), R(2, 2)), complex=True),
    row("index_copy_", _inplace("index_copy", 1, X, Y), (R(2, 3), I(2, 0), R(2, 2))),
    row("index_fill", lambda t, x, i: t.index_fill(x, 0, i, 2.5) * x.index_fill(0, i, -1), (R(3, 2), I(2, -3))),
    row("index_fill tensor", lambda t, x, i, y: t.index_fill(x, 0, i, y), (R(3), I(2, 0), R()), complex=True),
    row("index_fill_", _inplace("index_fill", 1, X, Y), (R(2, 3), I(2, 2), R())),
    row("index_put", lambda t, x, i, j, y: t.index_put(x, (i, j), y), (R(2, 3), I(0, 1), I(2, 0), R(2))),
    row(
        "index_put broadcast",
        lambda t, x, i, y: x.index_put((i,), y),
        (R(2, 3), I(0, 1), R()),
        (R(2, 3, 2), I([0], [1]), R(3, 2)),
    ),
    row("index_put mask", lambda t, x, m, y: t.index_put(x, (m,), y), (R(2, 3), B(2, 3), R())),
    row(
        "index_put accumulate",
        lambda t, x, i, y: t.index_put(x, (i,), y, accumulate=True),
        (R(3, 2), I(0, 0, 1), R(3, 2)),
        complex=True,
    ),
    row("index_put_", lambda t, x, i, y: (x * 1).index_put_((i,), y, True) ** 2, (R(3), I(0, 0), R(2))),
]

FLAT: list[Row] = [
    row("take", lambda t, x, i: t.take(x, i) * x.take(i), (R(2, 3), I([[0, 5], [-1, 2]])), (R(), I(0)), complex=True),
    row("put", lambda t, x, i, y: t.put(x, i, y), (R(2, 3), I(0, 5), R(2)), (R(), I(0), R()), complex=True),
    row("put accumulate", lambda t, x, i, y: x.put(i, y, accumulate=True), (R(2, 3), I([[0, 0], [-1, 2]]), R(2, 2))),
    row("put_", lambda t, x, i, y: (x * 1).put_(i, y) ** 2, (R(2, 3), I(0, 5), R(2))),
    row(
        "masked_scatter",
        lambda t, x, m, y: t.masked_scatter(x, m, y),
        (R(2, 3), B(2, 3), R(7)),
        (R(2, 3), B(3), R(2, 3)),
        complex=True,
    ),
    row("masked_scatter spread", lambda t, x, m, y: x.masked_scatter(m, y), (R(3), B(2, 3), R(6))),
    row("masked_scatter_", _inplace("masked_scatter", X, Y), (R(2, 3), B(2, 3), R(6))),
]

REPLACED: list[Row] = [
    row("fill", lambda t, x, y: t.fill(x, y) + t.fill(x, 2.5), (R(2, 3), R()), complex=True),
    row("select_scatter", lambda t, x, y: t.select_scatter(x, y, 1, -1), (R(2, 3), R(2))),
    row("slice_scatter", lambda t, x, y: t.slice_scatter(x, y, 1, 0, 4, 2), (R(2, 5), R(2, 2))),
    row("slice_scatter of all", lambda t, x, y: x.slice_scatter(y) + x.slice_scatter(y, 0, -2), (R(2), R(2))),
    row(
        "diagonal_scatter",
        lambda t, x, y: t.diagonal_scatter(x, y, 1) + x.diagonal_scatter(y, -1, 0, 1),
        (R(3, 3), R(2)),
        complex=True,
    ),
    row("diagonal_scatter batch", lambda t, x, y: t.diagonal_scatter(x, y, 0, 1, 2), (R(2, 3, 3), R(2, 3))),
    row(
        "as_strided_scatter",
        lambda t, x, y: t.as_strided_scatter(x.detach(), y.detach(), (2,), (2,), 1),
        (R(4), R(2)),
        second=False,
    ),
    row("diag_embed", lambda t, x: t.diag_embed(x) + x.diag_embed(0, 0, 1).sum(), R(3), R(2, 2), complex=True),
    row("diag_embed off", lambda t, x: t.diag_embed(x, 1), R(2, 2)),
    row("diag_embed others", lambda t, x: t.diag_embed(x, -1, 0, 2), R(2, 2)),
]

ROWS = [*SCATTER, *REDUCED, *SLICES, *FLAT, *REPLACED]
