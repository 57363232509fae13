"""Recurrent layers in one direction over a whole batch of sequences, each one operation.

The rows of all sequences lie one time step after the other, as in a packed sequence: ``sizes`` says how many there are
of each step, which never grows from one step to the next.  Where all sequences are equally long these are all alike.
The product with the input is one for all steps; a step is then one small product and a few functions of elements.
"""

from __future__ import annotations

import functools
from typing import Any

from ...autograd.fused_several import fused_several
from .._declare import wide
from ..elementwise import sigmoid, tanh
from ..joining import cat
from ..linalg.products import matmul
from .activation import relu

__all__: list[str] = []

Steps = tuple[tuple[int, int], ...]


@functools.lru_cache(64)
def _steps(sizes: tuple[int, ...], reverse: bool) -> Steps:
    """The first row and the number of rows of each step, in the order in which they are computed."""
    starts, at = [], 0
    for n in sizes:
        starts.append((at, n))
        at += n
    return tuple(reversed(starts)) if reverse else tuple(starts)


def _before(xp: Any, rows: Any, steps: Steps, i: int, first: Any) -> Any:
    """What step ``i`` finds: the ``rows`` of the step before it, of sequences that begin there the ``first`` ones."""
    n = steps[i][1]
    if i == 0:
        return first[:n]
    start, there = steps[i - 1]
    return rows[start : start + n] if there >= n else xp.concatenate((rows[start : start + there], first[there:n]))


def _all_before(xp: Any, rows: Any, steps: Steps, first: Any) -> Any:
    """:func:`_before` of all steps, at the rows of each."""
    found = xp.empty_like(rows)
    for i, (start, n) in enumerate(steps):
        found[start : start + n] = _before(xp, rows, steps, i, first)
    return found


def _last(rows: Any, steps: Steps, first: Any) -> Any:
    """The rows at the end of each sequence."""
    last = first.copy()
    for i, (start, n) in enumerate(steps):
        after = steps[i + 1][1] if i + 1 < len(steps) else 0
        if after < n:
            last[after:n] = rows[start + after : start + n]
    return last


def _from_input(xp: Any, x: Any, w: Any, *biases: Any) -> Any:
    """``x @ w.T`` plus the biases that there are, for all steps at once."""
    a = xp.matmul(x, w.T)
    there = [b for b in biases if b is not None]
    if there:
        a += there[0] if len(there) == 1 else there[0] + there[1]
    return a


def _gradients(xp: Any, wanted: Any, dx: Any, dh: Any, x: Any, before: Any, w_ih: Any) -> list[Any]:
    """Of the input, the two weights and the two biases, from those of their products' results."""
    return [
        xp.matmul(dx, w_ih) if wanted[0] is not None else None,
        xp.matmul(dx.T, x) if wanted[1] is not None else None,
        xp.matmul(dh.T, before()) if wanted[2] is not None else None,
        dx.sum(0) if wanted[3] is not None else None,
        dh.sum(0) if wanted[4] is not None else None,
    ]


def _cast(grads: Any, wanted: Any, given: Any) -> list[Any]:
    """The wanted gradients in the types of what they are of."""
    return [
        None if w is None or g is None else g.astype(a.dtype, copy=False)
        for g, w, a in zip(grads, wanted, given, strict=True)
    ]


def _sums(x: Any, w: Any, b: Any) -> Any:
    a = matmul(x, w.swapaxes(0, 1))
    return a if b is None else a + b


def _scan(step: Any, states: tuple[Any, ...], sizes: tuple[int, ...], reverse: bool) -> tuple[Any, ...]:
    """The reference of all: ``step(start, stop, *states)`` gives the states after it; the rows, and the last states."""
    total: dict[int, Any] = {}
    for start, n in _steps(sizes, reverse):
        new = step(start, start + n, *[s[:n] for s in states])
        total[start] = new[0]
        states = tuple([a if n == len(s) else cat((a, s[n:])) for a, s in zip(new, states, strict=True)])
    return cat([total[start] for start in sorted(total)]), *states


# --- long short-term memory (Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735) -------------------------


def _lstm_reference(
    x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Any, reverse: Any
) -> Any:
    def step(start: int, stop: int, h: Any, c: Any) -> Any:
        i, f, g, o = (_sums(x[start:stop], w_ih, b_ih) + _sums(h, w_hh, b_hh)).chunk(4, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h if w_hr is None else matmul(h, w_hr.swapaxes(0, 1)), c

    return _scan(step, (h, c), sizes, reverse)


def _gate_shape(xp: Any, n: int, kind: Any) -> tuple[Any, Any]:
    """Factors and summands with which tanh of the factor times a number becomes its sigmoid, and tanh in the third of
    four gates: σ(a) = tanh(a / 2) / 2 + 1 / 2."""
    factor, summand = xp.full(4 * n, 0.5, kind), xp.full(4 * n, 0.5, kind)
    factor[2 * n : 3 * n] = 1
    summand[2 * n : 3 * n] = 0
    return factor, summand


@fused_several(reference=_lstm_reference, inputs=8, grad_name="MkldnnRnnLayerBackward0", reads_result=True)
def lstm(xp, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse):
    """Of rows (R, I), states (N, P) and (N, H), weights (4H, I), (4H, P) and (P, H), biases (4H): the rows' (R, P), and
    the last states.  The gates are those of input, forgetting, cell and output; ``w_hr`` is None without projection."""
    kind = x.dtype
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = _wide_all(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr)
    steps, n = _steps(sizes, reverse), c.shape[1]
    factor, summand = _gate_shape(xp, n, x.dtype)
    gates = _from_input(xp, x, w_ih, b_ih, b_hh)
    cells, curved, inner = (xp.empty((len(x), n), x.dtype) for _ in range(3))
    out: Any = inner if w_hr is None else xp.empty((len(x), len(w_hr)), x.dtype)
    room, part, w = xp.empty((len(h), 4 * n), x.dtype), xp.empty((len(h), n), x.dtype), w_hh.T
    for k, (start, m) in enumerate(steps):
        rows = slice(start, start + m)
        a, new, curve = gates[rows], cells[rows], curved[rows]
        a += xp.matmul(_before(xp, out, steps, k, h), w, out=room[:m])
        a *= factor
        xp.tanh(a, out=a)
        a *= factor
        a += summand
        xp.multiply(a[:, n : 2 * n], _before(xp, cells, steps, k, c), out=new)
        new += xp.multiply(a[:, :n], a[:, 2 * n : 3 * n], out=part[:m])
        xp.tanh(new, out=curve)
        xp.multiply(a[:, 3 * n :], curve, out=inner[rows])
        if w_hr is not None:
            xp.matmul(inner[rows], w_hr.T, out=out[rows])
    ans = tuple([a.astype(kind, copy=False) for a in (out, _last(out, steps, h), _last(cells, steps, c))])
    return ans, (gates, cells, curved, inner, out)


def _wide_all(*arrays: Any) -> Any:
    return [None if a is None else wide(a) for a in arrays]


@lstm.defbackward
def _lstm_backward(xp, gs, ans, kept, wanted, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse):
    """From the last step to the first: of each gate before its function, and so of the state before it."""
    given = (x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr)
    x, h, c, w_ih, w_hh, w_hr, g, dh, dc = _wide_all(x, h, c, w_ih, w_hh, w_hr, *gs)
    gates, cells, curved, inner, out = kept
    steps, n = _steps(sizes, reverse), c.shape[1]
    dh, dc = dh.copy(), dc.copy()
    d = xp.empty_like(gates)
    line, level = xp.ones(4 * n, x.dtype), xp.zeros(4 * n, x.dtype)  # the slope of σ is s - s², of tanh 1 - t²
    line[2 * n : 3 * n], level[2 * n : 3 * n] = 0, 1
    projected = None if w_hr is None else xp.empty_like(out)
    room, part = xp.empty((len(h), 4 * n), x.dtype), xp.empty((len(h), n), x.dtype)
    for k in range(len(steps) - 1, -1, -1):
        start, m = steps[k]
        rows = slice(start, start + m)
        a, now, slope, to, dcm = gates[rows], d[rows], room[:m], part[:m], dc[:m]
        dhm = dh[:m]
        dhm += g[rows]
        if projected is not None:
            projected[rows] = dhm
            dhm = xp.matmul(dhm, w_hr)
        xp.multiply(dhm, curved[rows], out=now[:, 3 * n :])
        xp.multiply(curved[rows], curved[rows], out=to)
        xp.subtract(1, to, out=to)
        to *= a[:, 3 * n :]
        to *= dhm
        dcm += to
        xp.multiply(dcm, a[:, 2 * n : 3 * n], out=now[:, :n])
        xp.multiply(dcm, _before(xp, cells, steps, k, c), out=now[:, n : 2 * n])
        xp.multiply(dcm, a[:, :n], out=now[:, 2 * n : 3 * n])
        xp.multiply(a, a, out=slope)
        now_slope = xp.multiply(a, line)
        now_slope += level
        now_slope -= slope
        now *= now_slope
        dcm *= a[:, n : 2 * n]
        xp.matmul(now, w_hh, out=dh[:m])
    dx, dw, du, db, dv = _gradients(
        xp, [wanted[i] for i in (0, 3, 4, 5, 6)], d, d, x, lambda: _all_before(xp, out, steps, h), w_ih
    )
    dr = xp.matmul(projected.T, inner) if projected is not None and wanted[7] is not None else None
    return _cast([dx, dh, dc, dw, du, db, dv, dr], wanted, given)


# --- gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) ----------------------------------------------------------


def _gru_reference(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Any, reverse: Any) -> Any:
    def step(start: int, stop: int, h: Any) -> Any:
        r, z, n = _sums(x[start:stop], w_ih, b_ih).chunk(3, 1)
        s, y, m = _sums(h, w_hh, b_hh).chunk(3, 1)
        z = sigmoid(z + y)
        return (tanh(n + sigmoid(r + s) * m) * (1 - z) + z * h,)

    return _scan(step, (h,), sizes, reverse)


@fused_several(reference=_gru_reference, inputs=6, grad_name="StackBackward0")
def gru(xp, x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse):
    """Of rows (R, I), a state (N, H), weights (3H, I) and (3H, H), biases (3H): the rows' states (R, H), the last.

    The gates are those of reset and update, and the new state: n + z (h - n), n = tanh(a + r m), m from the state."""
    kind = x.dtype
    x, h, w_ih, w_hh, b_ih, b_hh = _wide_all(x, h, w_ih, w_hh, b_ih, b_hh)
    steps, n = _steps(sizes, reverse), h.shape[1]
    gates = _from_input(xp, x, w_ih, b_ih)
    out, new = xp.empty((len(x), n), x.dtype), xp.empty((len(x), n), x.dtype)
    room, w = xp.empty((len(h), 3 * n), x.dtype), w_hh.T
    half = x.dtype.type(0.5)
    for k, (start, m) in enumerate(steps):
        rows = slice(start, start + m)
        a, b, before = gates[rows], room[:m], _before(xp, out, steps, k, h)
        xp.matmul(before, w, out=b)
        if b_hh is not None:
            b += b_hh
        s, cand, fresh = a[:, : 2 * n], a[:, 2 * n :], new[rows]
        s += b[:, : 2 * n]
        s *= half
        xp.tanh(s, out=s)
        s *= half
        s += half
        fresh[...] = b[:, 2 * n :]
        cand += xp.multiply(a[:, :n], fresh, out=b[:, :n])
        xp.tanh(cand, out=cand)
        xp.subtract(before, cand, out=out[rows])
        out[rows] *= a[:, n : 2 * n]
        out[rows] += cand
    ans = out.astype(kind), _last(out, steps, h).astype(kind, copy=False)
    return ans, (gates, new, out)


@gru.defbackward
def _gru_backward(xp, gs, ans, kept, wanted, x, h, w_ih, w_hh, b_ih, b_hh, sizes, reverse):
    """From the last step to the first; what comes from input and state differs in the part of the new state alone."""
    given = (x, h, w_ih, w_hh, b_ih, b_hh)
    x, h, w_ih, w_hh, g, dh = _wide_all(x, h, w_ih, w_hh, *gs)
    gates, new, out = kept
    steps, n = _steps(sizes, reverse), h.shape[1]
    dh = dh.copy()
    d, fresh = xp.empty_like(gates), xp.empty_like(new)
    part = xp.empty((len(h), n), x.dtype)
    for k in range(len(steps) - 1, -1, -1):
        start, m = steps[k]
        rows = slice(start, start + m)
        a, now, to, dhm = gates[rows], d[rows], part[:m], dh[:m]
        r, z, cand = a[:, :n], a[:, n : 2 * n], a[:, 2 * n :]
        dr, dz, dn, dm = now[:, :n], now[:, n : 2 * n], fresh[rows], now[:, 2 * n :]
        dhm += g[rows]
        xp.multiply(cand, cand, out=dn)  # of the new state: dh (1 - z) (1 - n²)
        xp.subtract(1, dn, out=dn)
        xp.subtract(1, z, out=to)
        dn *= to
        dn *= dhm
        xp.multiply(dn, r, out=dm)
        xp.subtract(_before(xp, out, steps, k, h), cand, out=dz)  # of update: dh (h - n) z (1 - z)
        to *= z
        dz *= to
        dz *= dhm
        xp.subtract(1, r, out=dr)  # of reset: dn m r (1 - r)
        dr *= r
        dr *= new[rows]
        dr *= dn
        dhm *= z
        dhm += xp.matmul(now, w_hh)
    wants = [wanted[i] for i in (0, 2, 3, 4, 5)]
    fromstate = _gradients(
        xp, [None, None, *wants[2:3], None, wants[4]], d, d, x, lambda: _all_before(xp, out, steps, h), w_ih
    )
    d[:, 2 * n :] = fresh
    dx, dw, _, db, _ = _gradients(xp, [*wants[:2], None, wants[3], None], d, d, x, None, w_ih)
    return _cast([dx, dh, dw, fromstate[2], db, fromstate[4]], wanted, given)


# --- the plain recurrent layer (Elman 1990, doi:10.1207/s15516709cog1402_1) -------------------------------------------


def _rnn_reference(
    x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, rectified: bool, sizes: Any, reverse: Any
) -> Any:
    shape = relu if rectified else tanh

    def step(start: int, stop: int, h: Any) -> Any:
        return (shape(_sums(x[start:stop], w_ih, b_ih) + _sums(h, w_hh, b_hh)),)

    return _scan(step, (h,), sizes, reverse)


@fused_several(reference=_rnn_reference, inputs=6, grad_name="StackBackward0")
def rnn(xp, x, h, w_ih, w_hh, b_ih, b_hh, rectified, sizes, reverse):
    """Of rows (R, I), a state (N, H), weights (H, I) and (H, H), biases (H): the rows' states (R, H), and the last:
    tanh, or where ``rectified`` max(·, 0), of the sum of both products."""
    kind = x.dtype
    x, h, w_ih, w_hh, b_ih, b_hh = _wide_all(x, h, w_ih, w_hh, b_ih, b_hh)
    steps = _steps(sizes, reverse)
    out = _from_input(xp, x, w_ih, b_ih, b_hh)
    room, w = xp.empty((len(h), h.shape[1]), x.dtype), w_hh.T
    for k, (start, m) in enumerate(steps):
        a = out[start : start + m]
        a += xp.matmul(_before(xp, out, steps, k, h), w, out=room[:m])
        if rectified:
            xp.maximum(a, 0, out=a)
        else:
            xp.tanh(a, out=a)
    return (out.astype(kind), _last(out, steps, h).astype(kind, copy=False)), out


@rnn.defbackward
def _rnn_backward(xp, gs, ans, out, wanted, x, h, w_ih, w_hh, b_ih, b_hh, rectified, sizes, reverse):
    given = (x, h, w_ih, w_hh, b_ih, b_hh)
    x, h, w_ih, w_hh, g, dh = _wide_all(x, h, w_ih, w_hh, *gs)
    steps = _steps(sizes, reverse)
    dh = dh.copy()
    d = (out > 0).astype(out.dtype) if rectified else 1 - out * out
    for start, m in reversed(steps):
        dhm, now = dh[:m], d[start : start + m]
        dhm += g[start : start + m]
        now *= dhm
        xp.matmul(now, w_hh, out=dhm)
    dx, dw, du, db, dv = _gradients(
        xp, [wanted[i] for i in (0, 2, 3, 4, 5)], d, d, x, lambda: _all_before(xp, out, steps, h), w_ih
    )
    return _cast([dx, dh, dw, du, db, dv], wanted, given)
