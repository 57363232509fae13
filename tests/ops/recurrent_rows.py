"""Recurrent layers, with their weights as inputs, in one direction and both, with and without padding."""

from __future__ import annotations

from typing import Any

import distgrad
from tests.ops.case import R, Row, row


def _layer(t: Any, mode: str, x: Any, states: Any, weights: Any, back: bool = False, sizes: Any = None) -> Any:
    """One layer over (T, N, I), or over packed rows."""
    if t is not distgrad:
        hx = states if len(states) > 1 else states[0]
        both = (*weights, *weights) if back else weights
        if back:  # PyTorch goes backwards only beside going forwards
            hx = tuple(t.cat((s, s)) for s in states) if len(states) > 1 else t.cat((states[0], states[0]))
        options = (len(weights) in (4, 5), 1, 0.0, False, back)
        run = getattr(t._VF, mode)
        found = run(x, t.tensor(sizes), hx, both, *options) if sizes else run(x, hx, both, *options, False)
        if back:
            n = found[0].shape[-1] // 2
            found = (found[0][..., n:], *[s[1:] for s in found[1:]])
        return found
    from distgrad.ops.nn import recurrent

    rows = x if sizes else x.reshape(-1, x.shape[-1])
    counts = tuple(sizes) if sizes else (x.shape[1],) * x.shape[0]
    given = [*weights[:4], *[None] * (4 - len(weights))]
    rest = [weights[4] if len(weights) > 4 else None] if mode == "lstm" else []
    rest = [mode == "rnn_relu"] if mode.startswith("rnn") else rest
    run = recurrent.rnn if mode.startswith("rnn") else getattr(recurrent, mode)
    out, *ends = run(rows, *[s[0] for s in states], *given, *rest, counts, back)
    return (out if sizes else out.view(*x.shape[:2], -1), *[s.unsqueeze(0) for s in ends])


def _lstm(name: str, back: bool = False, sizes: Any = None, *cases: Any) -> Row:
    return row(name, lambda t, x, h, c, *w: _layer(t, "lstm", x, (h, c), w, back, sizes), *cases, half=False)


def _other(mode: str, name: str, back: bool = False, sizes: Any = None, *cases: Any) -> Row:
    return row(name, lambda t, x, h, *w: _layer(t, mode, x, (h,), w, back, sizes), *cases, half=False,
               smooth=mode != "rnn_relu")  # fmt: skip


# Small, for every number is moved: three steps of two sequences, one input, two in a state.
X, H = R(3, 2, 1), R(1, 2, 2)
PACKED3, H3 = R(6, 1), R(1, 3, 2)
FOUR = (R(8, 1), R(8, 2), R(8), R(8))
THREE = (R(6, 1), R(6, 2), R(6), R(6))
ONE = (R(2, 1), R(2, 2), R(2), R(2))

ROWS = [
    _lstm("lstm", False, None, (X, H, H, *FOUR), (R(1, 1, 1), R(1, 1, 2), R(1, 1, 2), *FOUR)),
    _lstm("lstm backwards", True, None, (X, H, H, *FOUR)),
    _lstm("lstm packed", False, (3, 2, 1), (PACKED3, H3, H3, *FOUR)),
    _lstm("lstm packed, backwards", True, (3, 2, 1), (PACKED3, H3, H3, *FOUR)),
    _lstm("lstm projected", False, None, (X, R(1, 2, 1), H, R(8, 1), R(8, 1), R(8), R(8), R(1, 2))),
    _other("gru", "gru", False, None, (X, H, *THREE)),
    _other("gru", "gru without bias", False, None, (X, H, *THREE[:2])),
    _other("gru", "gru packed", False, (3, 2, 1), (PACKED3, H3, *THREE)),
    _other("gru", "gru packed, backwards", True, (3, 2, 1), (PACKED3, H3, *THREE)),
    _other("rnn_tanh", "rnn", False, None, (X, H, *ONE)),
    _other("rnn_tanh", "rnn packed, backwards", True, (3, 2, 1), (PACKED3, H3, *ONE)),
    _other("rnn_relu", "rnn rectified", False, None, (X, H, *ONE)),
]
