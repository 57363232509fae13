"""Rows of the operations on whole arrays: shape, indexing, reductions, products of matrices, losses."""

from __future__ import annotations

from tests.ops.case import A, B, I, K, Make, P, R, Row, S, V, row

nan = float("nan")

SHAPE: list[Row] = [
    row("reshape", lambda t, x: x.reshape(3, -1) * t.reshape(x, (3, 2)), R(2, 3), complex=True),
    row("reshape to nothing", lambda t, x: x.reshape(0, 5), R(2, 0)),
    row("view", lambda t, x: x.view(-1) + x.view(6), R(2, 3)),
    row("ravel, flatten", lambda t, x: t.ravel(x) * t.flatten(x), R(2, 3), R()),
    row("flatten part", lambda t, x: t.flatten(x, 1), R(2, 3, 2), R(2, 0, 3)),
    row("unflatten", lambda t, x: t.unflatten(x, 1, (2, -1)), R(2, 6)),
    row("reshape a transpose", lambda t, x: x.t().reshape(6), R(2, 3)),
    row("transpose", lambda t, x: t.transpose(x, 0, -1) * x.swapaxes(-1, 0), R(2, 3, 4), complex=True),
    row("t", lambda t, x: x.t() * x.T, R(2, 3), R(3)),
    row("mT", lambda t, x: x.mT, R(2, 2, 3)),
    row("permute", lambda t, x: t.permute(x, (2, 0, 1)) + x.permute(-1, 0, 1), R(2, 3, 4), complex=True),
    row("movedim", lambda t, x: t.movedim(x, 0, 2) * t.movedim(x, (0, 2), (2, 1)), R(2, 3, 3)),
    row("squeeze", lambda t, x: t.squeeze(x) + x.squeeze(1).squeeze(-1), R(2, 1, 3, 1)),
    row("squeeze no such", lambda t, x: x.squeeze(0).squeeze((0, 1)), R(2, 3)),
    row("unsqueeze", lambda t, x: x.unsqueeze(0) + t.unsqueeze(x, -1), R(3), R()),
    row("expand", lambda t, x: x.expand(2, 3, -1), R(1, 4), R(3, 1), complex=True),
    row("broadcast_to", lambda t, x: t.broadcast_to(x, (2, 3)), R(3), R()),
    row("broadcast_tensors", lambda t, x, y: t.broadcast_tensors(x, y), (R(3, 1), R(2))),
    row("flip", lambda t, x: t.flip(x, (0, 1)) + x.flip(0), R(2, 3)),
    row("roll", lambda t, x: t.roll(x, 1) + t.roll(x, (1, -2), (0, 1)), R(2, 3)),
    row("cat", lambda t, x, y: t.cat((x, y, x), 1), (R(2, 3), R(2, 1)), (R(2, 0), R(2, 2)), complex=True),
    row("cat with empty", lambda t, x, y: t.cat([x, y]), (R(2, 3), R(0))),
    row("stack", lambda t, x, y: t.stack((x, y), 1) + t.stack([x, y], -1).mT, (R(2, 2), R(2, 2)), complex=True),
    row("stack numbers", lambda t, x, y: t.stack((x, y)), (R(), R())),
    row("hstack, vstack", lambda t, x, y: t.hstack((x, y)).sum() * t.vstack((x, y)), (R(2, 3), R(2, 3)), (R(3), R(3))),
    row("unbind", lambda t, x: t.unbind(x, 1), R(2, 3), complex=True),
    row("unbind one used", lambda t, x: x.unbind()[1], R(2, 3)),
    row("iteration", lambda t, x: [a * i for i, a in enumerate(x)], R(3), R(3, 2)),
    row("split", lambda t, x: t.split(x, 2) + x.split((1, 4)), R(5)),
    row("split dim", lambda t, x: t.split(x, 2, dim=-1), R(2, 5)),
    row("chunk", lambda t, x: t.chunk(x, 3), R(7), R(2)),
    row("repeat", lambda t, x: x.repeat(2, 3, 1), R(2, 3), R(3)),
    row("tile", lambda t, x: t.tile(x, (2,)) + x.tile(2), R(2, 3)),
    row("tril, triu", lambda t, x: t.tril(x, -1) + 2 * t.triu(x, 1), R(3, 4), R(2, 3, 3)),
    row("contiguous, clone", lambda t, x: x.t().contiguous() + t.clone(x).t(), R(2, 3), complex=True),
    row("cast", lambda t, x: x.to(t.float64) * x.double(), R(2, 3), half=False),
    row("cast to complex", lambda t, x: x.to(t.complex128) * (1 + 2j), R(2, 3), half=False),
    row("diagonal", lambda t, x: t.diagonal(x) + x.diagonal(1)[..., :2].sum(), R(3, 4), R(3, 3, 2)),
    row("diagonal of others", lambda t, x: t.diagonal(x, -1, 1, 2), R(2, 3, 3)),
    row("diag", lambda t, x: t.diag(x, 1) if x.dim() == 1 else t.diag(x, -1), R(3), R(3, 4)),
    row("trace", lambda t, x: t.trace(x), R(3, 4)),
]

INDEXING: list[Row] = [
    row("select", lambda t, x: x[1] * x[-1] + t.select(x, 0, 0), R(3, 2), complex=True),
    row("slice", lambda t, x: x[1:3] * x[::2], R(4, 2), complex=True),
    row("number", lambda t, x: x[1, 2], R(2, 3)),
    row("mixed", lambda t, x: x[..., None, 1:, 0], R(2, 3, 2)),
    row("all of it", lambda t, x: x[...] * x[:] + x[()], R(3)),
    row("empty slice", lambda t, x: x[3:1].sum() + x[2:2], R(4)),
    row("integers", lambda t, x, i: x[i] + x[[0, 0]].sum(), (R(4, 2), I(1, 1, 3)), complex=True),
    row("two integers", lambda t, x, i, j: x[i, j] * x[i, :, 0].sum(), (R(4, 2, 3), I(1, 1, 3), I(0, 1, 1))),
    row("integers and slice", lambda t, x, i: x[:, i], (R(2, 4), I([[1, 1], [0, 3]]))),
    row("mask", lambda t, x, m: x[m], (R(2, 3), B(2, 3)), (R(2, 3), B(2))),
    row("narrow", lambda t, x: t.narrow(x, 1, 1, 2), R(2, 4)),
    row("index_select", lambda t, x, i: t.index_select(x, 1, i), (R(2, 4), I(0, 3, 0))),
    row("masked_select", lambda t, x, m: t.masked_select(x, m), (R(2, 3), B(2, 3)), (R(2, 3), B(3))),
    row("gather", lambda t, x, i: t.gather(x, 1, i), (R(2, 3), I([[0, 0], [2, 1]])), (R(2, 3), I([[0, 0]]))),
    row("take_along_dim", lambda t, x, i: t.take_along_dim(x, i, 1), (R(2, 3), I([[0, 0], [2, 1]]))),
    row("set number", lambda t, x, y: _set(t, x, slice(1, 3), y), (R(4), R()), (R(4, 2), R(2)), (R(4, 2), R(2, 2))),
    row("set by integers", lambda t, x, y, i: _set(t, x, i, y), (R(4, 2), R(2), I(3, 0)), (R(4), R(2), I(3, 0))),
    row("set by mask", lambda t, x, m: _set(t, x, m, 0.5), (R(2, 3), B(2, 3))),
    row("nonzero", lambda t, x: t.nonzero(x), V(0.0, 1.0, 0.0, 2.0), exact=True, second=False),
]


def _set(t: object, x: object, index: object, value: object) -> object:
    x = x * 1  # type: ignore[operator]
    x[index] = value
    return x * x


REDUCTIONS: list[Row] = [
    row("sum", lambda t, x: t.sum(x) * x.sum(), R(2, 3), R(), R(0), complex=True),
    row("sum dim", lambda t, x: x.sum(1) * t.sum(x, -1, keepdim=True), R(2, 2), R(2, 0), complex=True),
    row("sum dims", lambda t, x: x.sum((0, 2)), R(2, 3, 2)),
    row("mean", lambda t, x: t.mean(x) * x.mean(), R(2, 3), R(), complex=True),
    row("mean dim", lambda t, x: x.mean(1) + x.mean((0, 1), keepdim=True)[0], R(2, 3)),
    row("mean of nothing", lambda t, x: x.mean(), R(0), smooth=False),
    row("prod", lambda t, x: t.prod(x), R(2, 3), R(), R(0), half=False),
    row("prod dim", lambda t, x: t.prod(x, 1) + x.prod(-1, keepdim=True)[:, 0], R(2, 3)),
    row("prod with zeros", lambda t, x: t.prod(x), V(0.0, 2.0, 3.0), V(0.0, 2.0, 0.0)),
    row("amax, amin", lambda t, x: t.amax(x, 1) * t.amin(x, (0, 1)) + x.amax(), A(2, 3)),
    row("amax, ties", lambda t, x: t.amax(x) + 2 * t.amin(x), V(1.0, 3.0, 3.0, 1.0, 1.0), smooth=False),
    row("max, min", lambda t, x: t.max(x) - t.min(x), A(2, 3), A()),
    row("max, ties", lambda t, x: t.max(x) + 3 * t.min(x), V(1.0, 3.0, 3.0, 1.0), smooth=False),
    row("max dim", lambda t, x: t.max(x, 1), A(2, 3), A(2, 3, 2)),
    row("min dim", lambda t, x: x.min(0, keepdim=True), A(2, 3), A()),
    row("max dim, ties", lambda t, x: (t.max(x, 0).values, t.max(x, 0).indices), V(1.0, 3.0, 3.0), smooth=False),
    row("max of nan", lambda t, x: t.max(x, 0), V(1.0, nan, 3.0), smooth=False),
    row("max of two", lambda t, x, y: t.max(x, y) * t.min(x, y), (A(3), R(3))),
    row(
        "argmax, argmin",
        lambda t, x: (t.argmax(x), t.argmin(x, 1), x.argmax(0, keepdim=True)),
        A(2, 3),
        exact=True,
        second=False,
    ),
    row(
        "all, any",
        lambda t, x: (t.all(x), x.any(), x.any(1), t.count_nonzero(x, 0)),
        V([1.0, 0.0], [0.0, 0.0]),
        exact=True,
        second=False,
    ),
    row("var", lambda t, x: t.var(x) + x.var(unbiased=False), R(2, 3), complex=True),
    row("var dim", lambda t, x: x.var(1) + t.var(x, 1, correction=0), R(2, 3)),
    row("std", lambda t, x: t.std(x, 1, keepdim=True) * x.std(), R(2, 3)),
    row("var of one", lambda t, x: t.var(x), R(1), R(0), smooth=False, half=False),
    row("var_mean, std_mean, biased", lambda t, x: (*t.var_mean(x, False), *t.std_mean(x, False)), R(2, 3)),
    row("var_mean, std_mean", lambda t, x: (*t.var_mean(x, 1), *t.std_mean(x)), R(2, 3)),
    row("logsumexp", lambda t, x: t.logsumexp(x, 1) + t.logsumexp(x, (0, 1)), R(2, 3)),
    row(
        "logsumexp far out",
        lambda t, x: t.logsumexp(x, 0),
        V(1e4, 1e4, -1e4),
        V(float("-inf"), float("-inf")),
        smooth=False,
    ),
    row("cumsum", lambda t, x: t.cumsum(x, 1), R(2, 3), R(2, 0), complex=True),
    row("norm", lambda t, x: t.norm(x) + x.norm(dim=1).sum(), R(2, 3), half=False),
    row("norm at 0", lambda t, x: t.norm(x), V(0.0, 0.0), smooth=False),
    row("norms", lambda t, x: sum(t.norm(x, p) for p in (1, 3, 0.5, float("inf"), -float("inf"))), A(2, 3), half=False),
]

PRODUCTS: list[Row] = [
    row(
        "matmul",
        lambda t, x, y: x @ y,
        (R(2, 3), R(3, 4)),
        (R(3), R(3)),
        (R(2, 3), R(3)),
        (R(3), R(3, 2)),
        (R(0, 3), R(3, 2)),
        (R(2, 0), R(0, 2)),
        complex=True,
    ),
    row(
        "matmul batched",
        lambda t, x, y: t.matmul(x, y),
        (R(2, 2, 3), R(3, 2)),
        (R(2, 2, 3), R(2, 3, 2)),
        (R(2, 1, 2, 3), R(3, 3, 2)),
        (R(2, 2, 3), R(3)),
        (R(3), R(2, 3, 2)),
        (R(2, 3), R(2, 3, 2)),
    ),
    row(
        "mm, mv, dot, bmm",
        lambda t, x, y: (t.mm(x, y), t.mv(x, y[:, 0]), t.dot(x[0], y[:, 0]), t.bmm(x[None], y[None])),
        (R(2, 3), R(3, 2)),
    ),
    row("vdot", lambda t, x, y: t.vdot(x, y), (R(3), R(3)), complex=True),
    row("outer, inner", lambda t, x, y: (t.outer(x, y), t.inner(x, y)), (R(3), R(3))),
    row("tensordot", lambda t, x, y: (t.tensordot(x, y, 1), t.tensordot(x, y, ([0, 1], [1, 0]))), (R(2, 3), R(3, 2))),
    row(
        "addmm",
        lambda t, x, a, b: t.addmm(x, a, b) + x.addmm(a, b, beta=0.5, alpha=2),
        (R(2, 2), R(2, 3), R(3, 2)),
        (R(2), R(2, 3), R(3, 2)),
    ),
    row(
        "addmv, baddbmm",
        lambda t, x, a, b: (t.addmv(x, a, b[:, 0]), t.baddbmm(x, a[None], b[None], alpha=2)),
        (R(2), R(2, 3), R(3, 2)),
    ),
    row(
        "linear",
        lambda t, x, w, b: t.nn.functional.linear(x, w, b),
        (R(4, 3), R(2, 3), R(2)),
        (R(3), R(2, 3), R(2)),
        (R(2, 4, 3), R(2, 3), R(2)),
        (R(40, 3), R(2, 3), R(2)),
        (R(0, 3), R(2, 3), R(2)),
        complex=True,
    ),
    row(
        "linear, no bias",
        lambda t, x, w: t.nn.functional.linear(x, w),
        (R(4, 3), R(2, 3)),
        (R(3), R(2, 3)),
        complex=True,
    ),
    row(
        "batch_norm",
        lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True),
        (R(4, 3), R(3), R(3)),
        (R(2, 3, 4), R(3), R(3)),
        (R(2, 2, 1, 2, 2), R(2), R(2)),
    ),
    row(
        "batch_norm of given",
        lambda t, x, w, m, v: t.nn.functional.batch_norm(x, m, v * v + 1, w, eps=0.1),
        (R(4, 3), R(3), K(3), K(3)),
        (R(1, 3, 2, 2), R(3), K(3), K(3)),
    ),
    row("linear of itself", lambda t, x: t.nn.functional.linear(x, x, x[0]), R(3, 3)),
    row(
        "einsum",
        lambda t, x, y: t.einsum("ij,jk->ik", x, y) + t.einsum("ij,jk", x, y),
        (R(2, 3), R(3, 2)),
        complex=True,
    ),
    row(
        "einsum others",
        lambda t, x, y: (
            t.einsum("bij,bjk->bki", x, y),
            t.einsum("...ij,...jk->...ik", x, y),
            t.einsum("bij,bkl->", x, y),
            t.einsum("bij->bi", x),
            t.einsum("bij->jib", x),
            t.einsum("bij,bji->b", x, y),
        ),
        (R(2, 2, 3), R(2, 3, 2)),
    ),
]


def _loss(name: str, x: Make, y: Make, **options: object) -> list[Row]:
    return [
        row(
            f"{name} {r} {options or ''}",
            lambda t, a, b, r=r: getattr(t.nn.functional, name)(a, b, reduction=r, **options),
            (x, y),
            half=False,
        )
        for r in ("mean", "sum", "none")
    ]


LOSSES: list[Row] = [
    *_loss("mse_loss", R(2, 3), R(2, 3)),
    *_loss("l1_loss", R(2, 3), A(2, 3)),
    *_loss("binary_cross_entropy", S(2, 3), S(2, 3)),
    *_loss("binary_cross_entropy_with_logits", R(2, 3), S(2, 3)),
    *_loss("cross_entropy", R(4, 3), I(0, 2, 1, 1)),
    *_loss("cross_entropy", R(4, 3), I(0, 2, 1, 1), ignore_index=1),
    *_loss("cross_entropy", R(4, 3), I(0, -100, 1, 1), label_smoothing=0.2),
    *_loss("cross_entropy", R(2, 3, 2), I([[0, 2], [1, 1]])),
    *_loss("cross_entropy", R(3), I(2)),
    *_loss("cross_entropy", R(4, 3), S(4, 3), label_smoothing=0.1),
    *_loss("nll_loss", R(4, 3), I(0, 2, 1, 1)),
    *_loss("smooth_l1_loss", R(2, 3), A(2, 3), beta=0.7),
    *_loss("huber_loss", R(2, 3), A(2, 3), delta=1.3),
    *_loss("soft_margin_loss", R(2, 3), Make("constant", (2, 3))),
    *_loss("hinge_embedding_loss", A(4), Make("values", data=[1.0, -1.0, -1.0, 1.0])),
    *_loss("poisson_nll_loss", R(2, 3), P(2, 3)),
    *_loss("poisson_nll_loss", P(2, 3), P(2, 3), log_input=False, full=True),
    row(
        "kl_div",
        lambda t, x, y: (
            t.nn.functional.kl_div(x, y, reduction="batchmean"),
            t.nn.functional.kl_div(x, y, reduction="none", log_target=True),
        ),
        (R(2, 3), S(2, 3)),
        half=False,
    ),
    row(
        "losses of three tensors",
        lambda t, x, y, z: (
            t.nn.functional.triplet_margin_loss(x, y, z, margin=2.5, p=3, swap=True)
            + t.nn.functional.margin_ranking_loss(x, y, z, margin=0.3)
            + t.nn.functional.gaussian_nll_loss(x, y, z * z + 0.3, full=True)
        ),
        (R(3, 4), R(3, 4), R(3, 4)),
        half=False,
    ),
    row(
        "distances",
        lambda t, x, y, z: (
            t.pairwise_distance(x, y, p=2.5, keepdim=True),
            t.nn.functional.pairwise_distance(x, y),
            t.cosine_similarity(x, y, dim=0),
            t.nn.functional.cosine_embedding_loss(x, y, z, margin=-0.5),
        ),
        (R(3, 4), R(3, 4), I(1, -1, 1)),
        half=False,
    ),
    row(
        "mse_loss, 0-d and empty",
        lambda t, x, y: t.nn.functional.mse_loss(x, y, reduction="sum"),
        (R(), R()),
        (R(0), R(0)),
        half=False,
    ),
    row("mse_loss of itself", lambda t, x: t.nn.functional.mse_loss(x, x * 2), R(3), half=False),
    row(
        "weights",
        lambda t, x, y, w: (
            t.nn.functional.binary_cross_entropy(x, y, w)
            + t.nn.functional.binary_cross_entropy_with_logits(x, y, w, pos_weight=w)
        ),
        (S(2, 3), S(2, 3), K(3)),
        half=False,
    ),
    row(
        "class weights",
        lambda t, x, y, w: t.nn.functional.cross_entropy(x, y, w) + t.nn.functional.nll_loss(x, y, w, reduction="sum"),
        (R(4, 3), I(0, 2, 1, 1), K(3)),
        half=False,
    ),
    row(
        "bce at the limits",
        lambda t, x, y: t.nn.functional.binary_cross_entropy(x, y.detach(), reduction="none"),
        (V(0.0, 1.0, 0.0, 1.0), V(0.0, 1.0, 1.0, 0.0)),
        smooth=False,
        half=False,
        tolerance=1e-7,
    ),
    row(
        "bce logits far out",
        lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y),
        (V(-200.0, 200.0, 0.0), V(0.0, 0.0, 1.0)),
        smooth=False,
        half=False,
    ),
    row(
        "cross_entropy far out",
        lambda t, x, y: t.nn.functional.cross_entropy(x, y, reduction="none"),
        (V([1e4, -1e4], [-1e4, 5.0], [0.0, 1.0]), I(1, 0, 0)),
        smooth=False,
        half=False,
    ),
]

EMBEDDING: list[Row] = [
    row(
        f"embedding {options}",
        lambda t, i, w, options=options: t.nn.functional.embedding(i, w, **options) ** 2,
        (I([[0, 2, 2], [4, 1, 2]]), R(5, 3)),
        (I(3), R(5, 3)),
        (I([[], []]), R(5, 3)),
        smooth=not options,  # what some rows' gradients lose, finite differences see
    )
    for options in ({}, {"padding_idx": 2}, {"scale_grad_by_freq": True}, {"padding_idx": -1, "max_norm": 9.0})
]

ROWS = [*EMBEDDING, *SHAPE, *INDEXING, *REDUCTIONS, *PRODUCTS, *LOSSES]
