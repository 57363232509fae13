"""Convolution, pooling, padding, resizing and attention."""

from __future__ import annotations

from typing import Any

from tests.ops.case import A, B, R, Row, row


def F(t: Any) -> Any:
    return t.nn.functional


CONVOLUTIONS = [
    row("conv1d", lambda t, x, w, b: F(t).conv1d(x, w, b), (R(2, 3, 6), R(4, 3, 3), R(4)), (R(3, 6), R(4, 3, 2), R(4)),
        complex=True),
    row("conv1d strided, dilated", lambda t, x, w: F(t).conv1d(x, w, None, 2, 3, 2), (R(2, 2, 7), R(3, 2, 3))),
    row("conv1d same", lambda t, x, w: F(t).conv1d(x, w, padding="same", dilation=2), (R(2, 2, 5), R(3, 2, 4))),
    row("conv1d valid", lambda t, x, w: F(t).conv1d(x, w, padding="valid", stride=2), (R(2, 2, 5), R(3, 2, 4))),
    row("conv2d", lambda t, x, w, b: F(t).conv2d(x, w, b, padding=1), (R(2, 3, 4, 5), R(2, 3, 3, 3), R(2))),
    row("conv2d strided", lambda t, x, w: F(t).conv2d(x, w, stride=(2, 1), padding=(0, 2)),
        (R(2, 2, 5, 4), R(3, 2, 3, 2)), complex=True),
    row("conv2d grouped", lambda t, x, w, b: F(t).conv2d(x, w, b, 1, 1, (1, 2), 2),
        (R(2, 4, 4, 5), R(6, 2, 3, 2), R(6))),
    row("conv2d depthwise", lambda t, x, w: F(t).conv2d(x, w, groups=3), (R(2, 3, 4, 4), R(3, 1, 2, 2))),
    row("conv2d pointwise", lambda t, x, w: F(t).conv2d(x, w), (R(2, 3, 2, 4), R(5, 3, 1, 1))),
    row("conv2d of a transposed", lambda t, x, w: F(t).conv2d(x.transpose(2, 3), w.transpose(0, 1)),
        (R(2, 3, 4, 4), R(3, 2, 2, 2))),
    row("conv3d", lambda t, x, w, b: F(t).conv3d(x, w, b, (1, 2, 1), 1), (R(1, 2, 3, 3, 3), R(2, 2, 2, 3, 2), R(2))),
    row("conv_transpose1d", lambda t, x, w, b: F(t).conv_transpose1d(x, w, b), (R(2, 3, 4), R(3, 2, 3), R(2)),
        (R(3, 4), R(3, 2, 3), R(2)), complex=True),
    row("conv_transpose1d, more", lambda t, x, w: F(t).conv_transpose1d(x, w, None, 3, 1, 2, 2, 2),
        (R(2, 4, 3), R(4, 3, 2))),
    row("conv_transpose2d", lambda t, x, w, b: F(t).conv_transpose2d(x, w, b, (2, 1), (1, 0), (1, 0)),
        (R(2, 3, 3, 2), R(3, 2, 3, 2), R(2))),
    row("conv_transpose2d, much put behind", lambda t, x, w: F(t).conv_transpose2d(x, w, None, 1, 0, 2, 1, 3),
        (R(1, 2, 3, 2), R(2, 2, 2, 2))),
    row("conv_transpose3d", lambda t, x, w, b: F(t).conv_transpose3d(x, w, b, 2, 1),
        (R(1, 2, 2, 3, 2), R(2, 2, 2, 2, 3), R(2))),
    row("unfold", lambda t, x: F(t).unfold(x, (2, 3), 1, (1, 0), 2), R(2, 2, 4, 5), R(2, 4, 5), complex=True),
    row("unfold dilated", lambda t, x: F(t).unfold(x, 2, (2, 1)), R(1, 2, 4, 3), R(0, 2, 4, 3)),
    row("fold", lambda t, x: F(t).fold(x, (4, 5), (2, 2), 1, 0, (2, 1)), R(2, 8, 8), R(4, 8)),
    row("fold padded", lambda t, x: F(t).fold(x, (3, 3), 2, 2, 1), R(1, 8, 9)),
]  # fmt: skip

POOLING = [
    row("max_pool1d", lambda t, x: F(t).max_pool1d(x, 2), A(2, 3, 6), A(3, 5), A(0, 3, 5)),
    row("max_pool1d squared", lambda t, x: F(t).max_pool1d(x, 2) ** 2, A(2, 3, 6)),
    row("max_pool1d overlapping", lambda t, x: F(t).max_pool1d(x, 3, 2, 1, 1, True, True), A(2, 2, 6)),
    row("max_pool2d", lambda t, x: F(t).max_pool2d(x, 2), A(2, 3, 4, 5), A(3, 4, 4)),
    row("max_pool2d with indices", lambda t, x: F(t).max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2), True, True),
        A(2, 2, 5, 4)),
    row("max_pool3d", lambda t, x: F(t).max_pool3d(x, 2, 1, return_indices=True), A(1, 2, 3, 2, 3)),
    row("max_pool2d of ties", lambda t, x: F(t).max_pool2d((x > 0) * x * 0 + x.sum() * 0, 2, 1), R(1, 1, 3, 3)),
    row("adaptive_max_pool1d", lambda t, x: F(t).adaptive_max_pool1d(x, 3), A(2, 2, 7), A(2, 6)),
    row("adaptive_max_pool2d", lambda t, x: F(t).adaptive_max_pool2d(x, (3, None), True), A(2, 2, 5, 3)),
    row("adaptive_max_pool3d", lambda t, x: F(t).adaptive_max_pool3d(x, 2), A(1, 2, 3, 4, 5)),
    row("avg_pool1d", lambda t, x: F(t).avg_pool1d(x, 2), R(2, 3, 5), R(3, 4)),
    row("avg_pool1d hanging over", lambda t, x: F(t).avg_pool1d(x, 3, 2, 1, True), R(2, 3, 6)),
    row("avg_pool1d without padding", lambda t, x: F(t).avg_pool1d(x, 3, 2, 1, True, False), R(2, 3, 6)),
    row("avg_pool2d", lambda t, x: F(t).avg_pool2d(x, (2, 3), (2, 1), (1, 0)), R(2, 2, 4, 5), R(2, 4, 5)),
    row("avg_pool2d by another", lambda t, x: F(t).avg_pool2d(x, 2, 1, 1, divisor_override=3), R(1, 2, 3, 3)),
    row("avg_pool3d", lambda t, x: F(t).avg_pool3d(x, 2, 1, 1, False, False), R(1, 2, 2, 3, 2), half=False),
    row("adaptive_avg_pool1d", lambda t, x: F(t).adaptive_avg_pool1d(x, 3), R(2, 2, 7), R(2, 6), R(2, 2)),
    row("adaptive_avg_pool2d", lambda t, x: F(t).adaptive_avg_pool2d(x, (3, None)), R(2, 2, 5, 3)),
    row("adaptive_avg_pool2d of all", lambda t, x: F(t).adaptive_avg_pool2d(x, 1), R(2, 2, 5, 3)),
    row("adaptive_avg_pool3d", lambda t, x: F(t).adaptive_avg_pool3d(x, 2), R(1, 2, 3, 4, 5)),
]  # fmt: skip

PADDING = [
    row("pad", lambda t, x: F(t).pad(x, (1, 2)), R(3), R(2, 3), complex=True),
    row("pad and crop", lambda t, x: F(t).pad(x, (-1, 2, 3, -1), value=1.5), R(2, 4, 3)),
    row("pad reflect", lambda t, x: F(t).pad(x, (2, 1), "reflect"), R(2, 3), R(2, 2, 4), R(0, 2, 3), complex=True),
    row("pad reflect in two", lambda t, x: F(t).pad(x, (1, -1, 2, 1), mode="reflect"), R(2, 3, 4)),
    row("pad replicate", lambda t, x: F(t).pad(x, (3, 1, -1, 2), "replicate"), R(2, 3, 4), R(1, 2, 3, 4)),
    row("pad replicate in three", lambda t, x: F(t).pad(x, (1, 1, 0, 2, 1, 0), "replicate"), R(1, 2, 2, 3)),
    row("pad circular", lambda t, x: F(t).pad(x, (1, 3, 2, 0), "circular"), R(2, 3, 4)),
    row("pad circular of less", lambda t, x: F(t).pad(x, (-1, 1, -2, 1), "circular"), R(1, 3, 4, 4)),
]  # fmt: skip

RESIZING = [
    row("interpolate", lambda t, x: F(t).interpolate(x, scale_factor=1.7), R(2, 2, 5)),
    row("interpolate by two", lambda t, x: F(t).interpolate(x, scale_factor=(2, 3)), R(1, 2, 2, 3)),
    row("interpolate nearest-exact", lambda t, x: F(t).interpolate(x, (3, 7), mode="nearest-exact"), R(1, 2, 5, 4)),
    row("interpolate linear", lambda t, x: F(t).interpolate(x, 7, mode="linear"), R(2, 2, 4)),
    row("interpolate bilinear", lambda t, x: F(t).interpolate(x, (3, 7), mode="bilinear", align_corners=True),
        R(1, 2, 5, 4)),
    row("interpolate bilinear by factors",
        lambda t, x: F(t).interpolate(x, scale_factor=(1.6, 0.7), mode="bilinear"), R(1, 2, 5, 4)),
    row("interpolate bilinear by the ratio",
        lambda t, x: F(t).interpolate(x, scale_factor=1.6, mode="bilinear", recompute_scale_factor=True),
        R(1, 2, 4, 4)),
    row("interpolate bicubic", lambda t, x: F(t).interpolate(x, (3, 6), mode="bicubic"), R(1, 2, 5, 4)),
    row("interpolate trilinear", lambda t, x: F(t).interpolate(x, 3, mode="trilinear"), R(1, 1, 2, 3, 4)),
    row("interpolate area", lambda t, x: F(t).interpolate(x, (3, 5), mode="area"), R(1, 2, 5, 4)),
    row("interpolate antialiased",
        lambda t, x: F(t).interpolate(x, (3, 2), mode="bilinear", antialias=True), R(1, 2, 8, 7), half=False),
    row("interpolate bicubic antialiased",
        lambda t, x: F(t).interpolate(x, (3, 9), mode="bicubic", antialias=True), R(1, 2, 8, 7), half=False),
    row("pixel_shuffle", lambda t, x: F(t).pixel_shuffle(x, 2), R(2, 8, 2, 3), R(4, 1, 2), exact=True),
    row("pixel_unshuffle", lambda t, x: F(t).pixel_unshuffle(x, 2), R(2, 1, 4, 2), R(2, 2, 2), exact=True),
]  # fmt: skip

OTHERS = [
    row("grid_sample", lambda t, x, g: F(t).grid_sample(x, g, align_corners=False),
        (R(2, 3, 4, 5), R(2, 3, 2, 2)), (R(1, 1, 1, 3), R(1, 2, 2, 2)), half=False),
    row("grid_sample aligned", lambda t, x, g: F(t).grid_sample(x, g, align_corners=True),
        (R(2, 2, 4, 5), R(2, 3, 2, 2)), half=False),
    row("grid_sample to the border",
        lambda t, x, g: F(t).grid_sample(x, g * 2, padding_mode="border", align_corners=False),
        (R(1, 2, 4, 3), R(1, 3, 4, 2)), half=False),
    row("grid_sample reflected",
        lambda t, x, g: F(t).grid_sample(x, g * 3, padding_mode="reflection", align_corners=False),
        (R(1, 2, 4, 3), R(1, 3, 4, 2)), half=False),
    row("grid_sample reflected, aligned",
        lambda t, x, g: F(t).grid_sample(x, g * 3, padding_mode="reflection", align_corners=True),
        (R(1, 2, 4, 3), R(1, 3, 4, 2)), (R(1, 2, 1, 3), R(1, 3, 4, 2)), half=False),
    row("grid_sample nearest", lambda t, x, g: F(t).grid_sample(x, g, "nearest", align_corners=False),
        (R(1, 2, 4, 3), R(1, 3, 4, 2)), half=False),
    row("grid_sample bicubic", lambda t, x, g: F(t).grid_sample(x, g, "bicubic", "border", align_corners=False),
        (R(1, 2, 4, 5), R(1, 3, 2, 2)), half=False),
    row("grid_sample bicubic of zeros", lambda t, x, g: F(t).grid_sample(x, g, "bicubic", align_corners=True),
        (R(1, 2, 4, 5), R(1, 3, 2, 2)), half=False),
    row("grid_sample of a volume", lambda t, x, g: F(t).grid_sample(x, g, align_corners=False),
        (R(1, 2, 3, 4, 2), R(1, 2, 2, 2, 3)), half=False),
    row("affine_grid", lambda t, x: F(t).affine_grid(x, (2, 1, 3, 4), align_corners=False), R(2, 2, 3), half=False),
    row("affine_grid aligned", lambda t, x: F(t).affine_grid(x, (1, 1, 2, 3, 4), align_corners=True), R(1, 3, 4),
        half=False),
    row("attention", lambda t, q, k, v: F(t).scaled_dot_product_attention(q, k, v),
        (R(2, 3, 4), R(2, 5, 4), R(2, 5, 3)), (R(3, 4), R(5, 4), R(5, 4))),
    row("attention causal", lambda t, q, k, v: F(t).scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
        (R(2, 3, 4), R(2, 5, 4), R(2, 5, 4)), (R(5, 4), R(3, 4), R(3, 4))),
    row("attention masked", lambda t, q, k, v, m: F(t).scaled_dot_product_attention(q, k, v, m),
        (R(2, 3, 4), R(2, 5, 4), R(2, 5, 4), B(3, 5)), (R(2, 3, 4), R(2, 5, 4), R(2, 5, 4), R(2, 1, 5))),
    row("attention of groups", lambda t, q, k, v: F(t).scaled_dot_product_attention(q, k, v, enable_gqa=True).sin(),
        (R(1, 4, 3, 2), R(1, 2, 4, 2), R(1, 2, 4, 3)), second=False),
    row("glu", lambda t, x: F(t).glu(x), R(4), R(3, 2)),
    row("glu along", lambda t, x: F(t).glu(x, 0), R(4, 3)),
    row("softshrink", lambda t, x: F(t).softshrink(x, 0.4), A(4, 3)),
    row("hardshrink", lambda t, x: F(t).hardshrink(x, 1.1) + x.hardshrink(), A(4, 3)),
    row("multilabel_soft_margin_loss", lambda t, x, y: F(t).multilabel_soft_margin_loss(x, y), (R(2, 3), R(2, 3)),
        (R(3), R(3))),
    row("multilabel_soft_margin_loss weighted",
        lambda t, x, y, w: F(t).multilabel_soft_margin_loss(x, y, w, reduction="none"), (R(2, 3), R(2, 3), R(3))),
]  # fmt: skip

ROWS: list[Row] = [*CONVOLUTIONS, *POOLING, *PADDING, *RESIZING, *OTHERS]
