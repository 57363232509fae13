"""Normalization within a sample."""

from __future__ import annotations

from typing import Any

from tests.ops.case import R, Row, row


def F(t: Any) -> Any:
    return t.nn.functional


ROWS: list[Row] = [
    row(
        "layer_norm",
        lambda t, x, w, b: F(t).layer_norm(x, (3,), w, b),
        (R(2, 4, 3), R(3), R(3)),
        (R(3), R(3), R(3)),
        (R(0, 3), R(3), R(3)),
    ),
    row("layer_norm over two", lambda t, x, w: F(t).layer_norm(x, (4, 3), w, eps=0.1), (R(2, 4, 3), R(4, 3))),
    row("layer_norm bare", lambda t, x: F(t).layer_norm(x.transpose(0, 1), [4]), R(4, 5)),
    row("rms_norm", lambda t, x, w: F(t).rms_norm(x, (3,), w), (R(2, 4, 3), R(3)), (R(3), R(3))),
    row("rms_norm of complex", lambda t, x: F(t).rms_norm(x, (3,), eps=0.3), R(2, 3), complex=True),
    row("rms_norm over two", lambda t, x: F(t).rms_norm(x, (4, 3), eps=0.1), R(2, 4, 3)),
    row(
        "group_norm",
        lambda t, x, w, b: F(t).group_norm(x, 2, w, b),
        (R(2, 4, 3), R(4), R(4)),
        (R(3, 10), R(10), R(10)),
        (R(2, 4, 2, 3), R(4), R(4)),
    ),
    row("group_norm bare", lambda t, x: F(t).group_norm(x, 3, eps=0.1), R(2, 6, 2)),
    row("instance_norm", lambda t, x, w, b: F(t).instance_norm(x, None, None, w, b), (R(2, 4, 5), R(4), R(4))),
    row("instance_norm bare", lambda t, x: F(t).instance_norm(x, eps=0.1), R(2, 3, 2, 4)),
    row(
        "instance_norm by running statistics",
        lambda t, x, w: F(t).instance_norm(x, t.zeros(3, dtype=x.dtype, device=x.device),
                                           t.ones(3, dtype=x.dtype, device=x.device) * 2, w, use_input_stats=False),
        (R(2, 3, 4), R(3)),
        half=False,
    ),
]  # fmt: skip
