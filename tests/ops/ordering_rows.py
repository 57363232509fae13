"""Rows of the operations that order elements, pick them by their rank, and run along a dimension."""

from __future__ import annotations

from tests.ops.case import A, I, R, Row, V, row

inf, nan = float("inf"), float("nan")

ORDERED: list[Row] = [
    row("sort", lambda t, x: t.sort(x), A(5), A(2, 3), A(), R(0), R(2, 0)),
    row("sort dim", lambda t, x: x.sort(0, descending=True), A(3, 2), A(2, 3, 2)),
    row("sort, ties", lambda t, x: t.sort(x, stable=True), V(2.0, 1.0, 2.0, 1.0), smooth=False),
    row(
        "sort down, ties",
        lambda t, x: t.sort(x, descending=True, stable=True),
        V(2.0, nan, 1.0, 2.0, nan, -0.0, 0.0, inf),
        smooth=False,
    ),
    row("msort", lambda t, x: t.msort(x) * x.msort(), A(3, 2)),
    row("argsort", lambda t, x: (t.argsort(x), x.argsort(0, True)), A(3, 4), exact=True, second=False),
    row("topk", lambda t, x: t.topk(x, 2), A(5), A(2, 3), R(3, 2)),
    row("topk smallest", lambda t, x: x.topk(2, 0, largest=False), A(3, 2)),
    row("topk of one", lambda t, x: (t.topk(x, 1)[0], t.topk(x, 0)[0]), A(), A(3)),
    row("topk of many", lambda t, x: t.topk(x, 3).values + x.topk(3, largest=False).values, A(100), A(2, 90)),
    row("kthvalue", lambda t, x: t.kthvalue(x, 2), A(4), A(2, 3)),
    row("kthvalue dim", lambda t, x: x.kthvalue(1, 0, True), A(3, 2), A()),
    row("median", lambda t, x: t.median(x) * x.median(), A(5), A(2, 3), A()),
    row("median dim", lambda t, x: t.median(x, 1), A(2, 3), A(2, 4)),
    row("median dim kept", lambda t, x: x.median(0, keepdim=True), A(4, 2), A()),
    row("median, ties", lambda t, x: t.median(x), V(1.0, 2.0, 2.0, 2.0, 3.0), smooth=False),
    row("median of nan", lambda t, x: (t.median(x), t.median(x, 0).values), V(1.0, nan, 2.0, nan), smooth=False),
    row("nanmedian", lambda t, x: (t.nanmedian(x), x.nanmedian(0).values), V(1.0, nan, 2.0, 5.0), smooth=False),
    row("nanmedian dim", lambda t, x: t.nanmedian(x, 1), A(2, 3), A(2, 2)),
    row("mode", lambda t, x: t.mode(x), A(3), V(2.0, 1.0, 2.0, 3.0, 1.0, 2.0), smooth=False),
    row("mode dim", lambda t, x: x.mode(0, keepdim=True), V([1.0, 2.0], [1.0, 3.0], [4.0, 3.0]), smooth=False),
    row("aminmax", lambda t, x: (*t.aminmax(x), *x.aminmax(dim=0, keepdim=True)), A(2, 3), A()),
    row("aminmax, ties", lambda t, x: t.aminmax(x, dim=0), V(1.0, 3.0, 3.0, 1.0, 1.0), smooth=False),
]

RUNNING: list[Row] = [
    row("cumprod", lambda t, x: t.cumprod(x, 1), R(2, 3), R(2, 0), complex=True),
    row("cumprod of a number", lambda t, x: x.cumprod(0), R()),
    row("cumprod with zeros", lambda t, x: t.cumprod(x, 0), V(2.0, 0.0, 3.0), V(0.0, 2.0, 0.0, 1.0)),
    row("cummax", lambda t, x: t.cummax(x, 0), A(5), A(3, 2), A()),
    row("cummin", lambda t, x: x.cummin(1), A(2, 4)),
    row("cummax, ties", lambda t, x: (*t.cummax(x, 0), *t.cummin(x, 0)), V(1.0, 3.0, 3.0, 1.0, 5.0), smooth=False),
    row("cummax of nan", lambda t, x: (*t.cummax(x, 0), *t.cummin(x, 0)), V(1.0, nan, 3.0, nan, 5.0), smooth=False),
    row("logcumsumexp", lambda t, x: t.logcumsumexp(x, 1), R(2, 4), R(2, 0), complex=True, half=False),
    row("logcumsumexp of a number", lambda t, x: x.logcumsumexp(0), R()),
    row("logcumsumexp far out", lambda t, x: t.logcumsumexp(x, 0), V(1e4, -1e4, 1e4), smooth=False, half=False),
    row("diff", lambda t, x: t.diff(x) * x.diff(dim=-1), R(4), R(2, 3), R(1), complex=True),
    row("diff twice", lambda t, x: t.diff(x, 2, 0), R(4, 2), R(1, 2)),
    row("diff around", lambda t, x, a, b: t.diff(x, 1, 1, prepend=a, append=b), (R(2, 3), R(2, 1), R(2, 2))),
]

QUANTILES: list[Row] = [
    row("quantile", lambda t, x: t.quantile(x, 0.3) * x.quantile(0.6), A(5), A(2, 3), half=False),
    row(
        "quantile dim",
        lambda t, x: t.quantile(x, t.tensor([0.1, 0.9], dtype=x.dtype, device=x.device), 1),
        A(2, 5),
        half=False,
    ),
    row(
        "quantile kept",
        lambda t, x: (x.quantile(0.4, 0, True), x.quantile(0.4, keepdim=True)),
        A(3, 2),
        half=False,
    ),
    *[
        row(
            f"quantile {way}",
            lambda t, x, way=way: t.quantile(x, 0.4, 0, interpolation=way),
            A(4, 2),
            half=False,
        )
        for way in ("lower", "higher", "midpoint", "nearest")
    ],
    row("quantile of nan", lambda t, x: x.quantile(0.5, 0), V([1.0, nan], [2.0, 3.0]), smooth=False, half=False),
    row(
        "nanquantile",
        lambda t, x: t.nanquantile(x, 0.4, 1),
        V([1.0, nan, 4.0], [2.0, 3.0, 7.0]),
        smooth=False,
        half=False,
    ),
    row("nanquantile of all", lambda t, x: t.nanquantile(x, 0.4) + x.nanquantile(0.5), A(3, 2), half=False),
    row("nansum", lambda t, x: t.nansum(x) * x.nansum(), R(2, 3), R(), R(0)),
    row("nansum of nan", lambda t, x: t.nansum(x, 1), V([1.0, nan], [nan, nan]), smooth=False),
    row("nanmean", lambda t, x: t.nanmean(x) * x.nanmean(), R(2, 3), R()),
    row("nanmean of nan", lambda t, x: t.nanmean(x, 1, True), V([1.0, nan], [2.0, 4.0], [nan, nan]), smooth=False),
]

DISTINCT: list[Row] = [
    row("unique", lambda t, i: t.unique(i), I(3, 1, 3, 2), I([[1, 1], [0, 1]]), exact=True),
    row("unique all", lambda t, i: t.unique(i, return_inverse=True, return_counts=True), I([[3, 1], [1, 2]]), I(5)),
    row(
        "unique dim",
        lambda t, i: i.unique(dim=0, return_inverse=True, return_counts=True),
        I([[3, 1], [1, 2], [3, 1], [1, 0]]),
        exact=True,
    ),
    row("unique floats", lambda t, x: t.unique(x.detach()), V(1.5, -1.0, 1.5, inf), exact=True, second=False),
    row(
        "unique_consecutive",
        lambda t, i: t.unique_consecutive(i, return_inverse=True, return_counts=True),
        I(1, 1, 2, 2, 1),
        exact=True,
    ),
    row("unique_consecutive dim", lambda t, i: i.unique_consecutive(dim=1), I([[1, 1, 2], [3, 3, 3]]), exact=True),
    row("bincount", lambda t, i: (t.bincount(i), i.bincount(minlength=6)), I(0, 2, 2, 4), exact=True),
    row("bincount weights", lambda t, i, w: t.bincount(i, w.detach()), (I(0, 2, 2), R(3)), second=False, half=False),
    row("isin", lambda t, i, j: (t.isin(i, j), t.isin(i, j, invert=True)), (I(0, 2, 3), I(2, 5)), exact=True),
    row("isin numbers", lambda t, i: (t.isin(i, 2), t.isin(2, i)), I([[0, 2], [3, 1]]), exact=True),
    row(
        "bucketize",
        lambda t, i, b: (t.bucketize(i, b), t.bucketize(i, b, right=True), t.bucketize(3, b, out_int32=True)),
        (I([3, 6, 9]), I(1, 3, 5, 7)),
        exact=True,
    ),
    row(
        "searchsorted",
        lambda t, b, i: (t.searchsorted(b, i), t.searchsorted(b, i, side="right"), t.searchsorted(b, i, right=True)),
        (I([1, 3, 5, 7], [2, 4, 6, 8]), I([3, 6], [3, 6])),
        (I(1, 3, 3, 7), I([3, 8], [0, 2])),
        exact=True,
    ),
    row("searchsorted sorter", lambda t, b, i: t.searchsorted(b, 4, sorter=i), (I(5, 1, 3), I(1, 2, 0)), exact=True),
]

ROWS = [*ORDERED, *RUNNING, *QUANTILES, *DISTINCT]
