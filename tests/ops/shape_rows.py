"""Rows of the operations that split, join, widen, turn and repeat, and of views with other strides."""

from __future__ import annotations

from typing import Any

from tests.ops.case import I, R, Row, row

SPLIT: list[Row] = [
    row("split_with_sizes", lambda t, x: t.split_with_sizes(x, (1, 4)) + x.split_with_sizes([2, 3], -1), R(5)),
    row("tensor_split", lambda t, x: t.tensor_split(x, 3) + x.tensor_split((1, -1)), R(7), R(2, 3), complex=True),
    row("tensor_split dim", lambda t, x: t.tensor_split(x, (2, 1, 9), dim=1), R(2, 5)),
    row("tensor_split tensor", lambda t, x: t.tensor_split(x, t.tensor([1, 3])) + x.tensor_split(t.tensor(2)), R(5)),
    row("hsplit", lambda t, x: t.hsplit(x, 2) + x.hsplit((1,)), R(4), R(2, 4)),
    row("vsplit", lambda t, x: t.vsplit(x, 2) + x.vsplit((1, 3)), R(4, 2)),
    row("dsplit", lambda t, x: t.dsplit(x, 2) + x.dsplit([1]), R(2, 1, 4)),
]

JOINED: list[Row] = [
    row("column_stack", lambda t, x, y: t.column_stack((x, y)), (R(2), R(2, 3)), (R(), R()), complex=True),
    row("dstack", lambda t, x, y: t.dstack((x, y)), (R(2), R(2)), (R(2, 3), R(2, 3)), (R(), R())),
    row("row_stack", lambda t, x, y: t.row_stack((x, y)), (R(3), R(2, 3))),
    row("atleast", lambda t, x: (t.atleast_1d(x), t.atleast_2d(x), t.atleast_3d(x)), R(), R(3), R(2, 3), R(1, 2, 2)),
    row("atleast of several", lambda t, x, y: t.atleast_2d(x, y) + t.atleast_1d((x, y)), (R(), R(3))),
]

TURNED: list[Row] = [
    row("fliplr, flipud", lambda t, x: t.fliplr(x) * x.flipud(), R(2, 3), complex=True),
    row("rot90", lambda t, x: (t.rot90(x), x.rot90(2), x.rot90(-1, (1, 0)), x.rot90(4)), R(2, 3)),
    row("rot90 others", lambda t, x: t.rot90(x, 1, (0, 2)), R(2, 1, 3), complex=True),
    row("repeat_interleave", lambda t, x: t.repeat_interleave(x, 2) * x.repeat_interleave(2), R(2, 3), R()),
    row("repeat_interleave dim", lambda t, x: x.repeat_interleave(3, dim=1), R(2, 3), complex=True),
    row("repeat_interleave by", lambda t, x, i: t.repeat_interleave(x, i, 0), (R(3, 2), I(2, 0, 1)), (R(3), I(2))),
    row("repeat_interleave indices", lambda t, i: t.repeat_interleave(i), I(2, 0, 3), exact=True),
]

STRIDED: list[Row] = [
    row("unfold", lambda t, x: x.unfold(0, 2, 1), R(4), R(3, 2), R(2), complex=True),
    row("unfold dim", lambda t, x: x.unfold(-1, 2, 3) * x.unfold(1, 1, 3), R(2, 5), R(2, 6)),
    row("unfold of a transpose", lambda t, x: x.t().unfold(0, 2, 2), R(3, 4)),
    row("unfold a number", lambda t, x: x.unfold(0, 1, 1), R()),
    row("as_strided", lambda t, x: t.as_strided(x, (2, 2), (1, 2)) * x.as_strided((2, 2), (2, 1), 1), R(5), R(2, 3)),
    row("as_strided to nothing", lambda t, x: x.as_strided((0, 2), (1, 1)).sum() + x.as_strided((), (), 2), R(3)),
]

PLACES: list[Row] = [
    row("argwhere", lambda t, i: (t.argwhere(i), i.argwhere()), I([[0, 1], [2, 0]]), I(1), exact=True),
    row("tril_indices", lambda t, i: (t.tril_indices(3, 4), t.tril_indices(3, 3, -1, dtype=t.int32)), I(0), exact=True),
    row(
        "triu_indices",
        lambda t, i: (t.triu_indices(3, 4), t.triu_indices(2, 3, 2), t.triu_indices(0, 2)),
        I(0),
        exact=True,
    ),
    row(
        "unravel_index", lambda t, i: t.unravel_index(i, (2, 3)) + t.unravel_index(i, 7), I([1, 5], [0, 2]), exact=True
    ),
]


def _changed(t: Any, x: Any) -> Any:
    x = x * 1
    x.t_().unsqueeze_(0).transpose_(0, 2).squeeze_()
    return x * x


IN_PLACE: list[Row] = [
    row("t_, unsqueeze_, transpose_, squeeze_", _changed, R(2, 3)),
    row(
        "tril_, triu_", lambda t, x: (x * 1).tril_(1) * (x * 1).triu_(-1) + (x * 2).as_strided_((3, 3), (1, 3)), R(3, 3)
    ),
    row("cumsum_, cumprod_", lambda t, x: (x * 1).cumsum_(1) * (x * 1).cumprod_(0), R(2, 3)),
]

ROWS = [*SPLIT, *JOINED, *TURNED, *STRIDED, *PLACES, *IN_PLACE]
