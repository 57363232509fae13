"""Rows of the elementwise operations: arithmetic, functions of one number, choosing."""

from __future__ import annotations

from tests.ops.case import A, B, G, I, P, R, Row, S, U, V, row

inf, nan = float("inf"), float("nan")

ARITHMETIC: list[Row] = [
    row("add", lambda t, x, y: x + y, (R(2, 3), R(2, 3)), (R(2, 3), R(3)), (R(2, 1), R(3)), (R(), R(2)), complex=True),
    row("add alpha", lambda t, x, y: t.add(x, y, alpha=2), (R(2, 3), R(3)), complex=True),
    row("add number", lambda t, x: 2.5 + x + 1, R(2, 3), R(), complex=True),
    row("sub", lambda t, x, y: x - y, (R(2, 3), R(3)), (R(), R(2)), complex=True),
    row("sub alpha", lambda t, x, y: t.sub(x, y, alpha=3), (R(2, 3), R(2, 3)), complex=True),
    row("rsub", lambda t, x: t.rsub(x, 2, alpha=3) + (1 - x), R(3), complex=True),
    row("mul", lambda t, x, y: x * y, (R(2, 3), R(2, 3)), (R(2, 1), R(3)), (R(), R()), complex=True),
    row("mul number", lambda t, x: x * 3 * x, R(2, 3), complex=True),
    row("div", lambda t, x, y: x / y, (R(2, 3), P(3)), (R(3), P()), complex=True),
    row("div number", lambda t, x: 2 / x + x / 4, P(3), complex=True),
    row("prelu", lambda t, x, y: t.nn.functional.prelu(x, y), (A(2, 3), P(3)), (A(2, 3), P(1))),
    row("floor_divide", lambda t, x, y: x.detach() // y.detach(), (A(6), P(6)), second=False),
    row("div floor", lambda t, x, y: t.div(x, y, rounding_mode="floor"), (A(6), P(6)), second=False),
    row("div trunc", lambda t, x, y: t.div(x, y, rounding_mode="trunc"), (A(6), P(6)), second=False),
    row("remainder", lambda t, x, y: x % y, (A(6), V(2.4, -1.7, 0.6, 1.3, -0.8, 3.1)), half=False),
    row("fmod", lambda t, x, y: t.fmod(x, y), (A(6), V(2.4, -1.7, 0.6, 1.3, -0.8, 3.1)), half=False),
    row("neg", lambda t, x: -x, R(2, 3), complex=True, exact=True),
    row("positive", lambda t, x: t.positive(x), R(2, 3), complex=True, exact=True),
    row("pow number", lambda t, x: x**2 + x**3, R(2, 3), complex=True),
    row("pow fraction", lambda t, x: t.pow(x, 1.5) + x**-0.5, P(3), complex=True),
    row("pow 0 and 1", lambda t, x: x**0 + x**1, R(3)),
    row("pow", lambda t, x, y: x**y, (P(2, 3), R(3)), (P(3), R()), complex=True),
    row("pow of number", lambda t, x: 2**x + 1.5**x, R(3)),
    row("pow at 0", lambda t, x, y: x**y, (V(0.0, 0.0, 0.0, 2.0, -2.0), V(0.0, 1.0, 2.0, 0.0, 3.0)), smooth=False),
    row("pow number at 0", lambda t, x: x**2 + x**3 + x**0 + x**1, V(0.0, 1.0, -2.0), smooth=False),
    row("pow of 0", lambda t, x: t.pow(0, x), V(0.0, 1.0, 2.0), smooth=False),
    row("square", lambda t, x: t.square(x), R(2, 3), complex=True),
    row("reciprocal", lambda t, x: t.reciprocal(x), P(3), complex=True),
    row("maximum", lambda t, x, y: t.maximum(x, y), (A(2, 3), R(2, 3)), (A(2, 3), R(3))),
    row("minimum", lambda t, x, y: t.minimum(x, y), (A(2, 3), R(2, 3)), (A(2, 3), R(3))),
    row("maximum, ties", lambda t, x, y: t.maximum(x, y), (V(1.0, 2.0, nan, 3.0), V(1.0, 3.0, 1.0, nan)), smooth=False),
    row("minimum, ties", lambda t, x, y: t.minimum(x, y), (V(1.0, 2.0, nan, 3.0), V(1.0, 3.0, 1.0, nan)), smooth=False),
    row("xlogy", lambda t, x, y: t.xlogy(x, y) + t.xlogy(x, 2.5), (R(2, 3), P(2, 3)), (R(2, 3), P(3)), half=False),
    row("xlogy at 0", lambda t, x, y: t.xlogy(x, y), (V(0.0, 0.0, 0.0, 2.0), V(0.0, 1.0, nan, 0.0)), smooth=False),
    row("lerp", lambda t, x, y: t.lerp(x, y, 0.3), (R(3), R(3)), half=False),
    row("addcmul", lambda t, x, y, z: t.addcmul(x, y, z, value=0.5), (R(2, 3), R(3), R(2, 1)), complex=True),
    row("addcdiv", lambda t, x, y, z: t.addcdiv(x, y, z, value=0.5), (R(2, 3), R(3), P(2, 1))),
]


def _unary(name: str, make: object, **flags: object) -> Row:
    return row(name, lambda t, x: getattr(t, name)(x), make(2, 3), make(), make(0), make(2, 0, 3), **flags)  # type: ignore


FUNCTIONS: list[Row] = [
    *[_unary(name, R, complex=True) for name in ("exp", "sin", "cos", "sinh", "cosh", "tanh", "sigmoid")],
    *[_unary(name, R) for name in ("exp2", "expm1", "atan", "asinh")],
    *[_unary(name, P, complex=True) for name in ("log", "log2", "log10", "sqrt", "rsqrt")],
    *[_unary(name, U, complex=True) for name in ("tan", "asin", "acos", "atanh")],
    _unary("log1p", P),
    _unary("acosh", G),
    _unary("erf", R),
    _unary("erfc", R),
    row("complex atan, asinh, acosh", lambda t, x: t.atan(x) + t.asinh(x) + t.acosh(x + 2), P(3), complex=True),
    row("atan2", lambda t, x, y: t.atan2(x, y), (R(2, 3), P(3))),
    row("abs", lambda t, x: t.abs(x), A(2, 3), complex=True),
    row("abs, sgn at 0", lambda t, x: t.abs(x) + t.sgn(x), V(0.0, -0.0, 1.0, -2.0), smooth=False, complex=True),
    row("sgn", lambda t, x: t.sgn(x), A(2, 3), second=False, complex=True),
    row("sgn complex", lambda t, x: t.sgn(t.exp(x) * (1 + 2j)), R(2, 3), half=False),
    row("sign", lambda t, x: t.sign(x), A(6), V(0.0, -0.0, 3.0, -3.0), second=False, smooth=False),
    *[row(n, lambda t, x, n=n: getattr(t, n)(x), A(7), second=False) for n in ("floor", "ceil", "trunc", "round")],
    row("round halves", lambda t, x: t.round(x), V(0.5, 1.5, -0.5, -2.5, 2.49), smooth=False),
    row("round decimals", lambda t, x: t.round(x, decimals=2), V(0.123, -1.457, 3.333), smooth=False, half=False),
    row("frac", lambda t, x: t.frac(x), A(7)),
    row("conj", lambda t, x: t.conj(x) * x + t.conj_physical(x), R(2, 3), complex=True),
    row("real, imag", lambda t, x: t.real(t.exp(x * (1 + 2j))) + t.imag(x * 3j), R(2, 3), complex=True, half=False),
    row(
        "at the edges",
        lambda t, x: t.exp(x) + t.sqrt(x * x) + t.tanh(x),
        V(0.0, 700.0, -700.0, 90.0),
        smooth=False,
        half=False,
    ),
    row("log, sqrt at 0", lambda t, x: t.log(x) + t.sqrt(x) + t.log1p(-x), V(0.0, 1.0, 0.5), smooth=False),
]

CHOOSING: list[Row] = [
    row("where", lambda t, c, x, y: t.where(c, x, y), (B(2, 3), R(2, 3), R(3)), (B(3), R(2, 1), R()), complex=True),
    row("where numbers", lambda t, c, x: t.where(c, x, 0.5) + t.where(c, 2.0, x), (B(4), R(4)), (B(2, 2), R(2))),
    row("clamp", lambda t, x: t.clamp(x, -1, 1.5) + x.clip(min=0.1), A(2, 3)),
    row("clamp one side", lambda t, x: x.clamp_min(0.1) * x.clamp_max(0.9), A(2, 3)),
    row("clamp tensors", lambda t, x, a, b: t.clamp(x, a, b), (A(2, 3), V(-1.0, 0.1, 0.5), V(1.0, 0.2, 2.0))),
    row("clamp low tensor", lambda t, x, a: t.clamp(x, min=a) * t.clamp(x, max=a), (A(2, 3), V(-1.0, 0.1, 0.5))),
    row("clamp at limits", lambda t, x: t.clamp(x, -1, 1), V(-1.0, 1.0, 0.0, 2.0, nan), smooth=False),
    row(
        "clamp tensors at limits",
        lambda t, x, a, b: t.clamp(x, a, b),
        (V(0.0, 1.0, 2.0, 3.0), V(0.0, 0.0, 3.0, 1.0), V(1.0, 1.0, 2.0, 3.0)),
        smooth=False,
    ),
    row("masked_fill", lambda t, x, m: x.masked_fill(m, 2.0), (R(2, 3), B(2, 3)), (R(2, 3), B(3)), exact=True),
    row("masked_fill tensor", lambda t, x, m, v: x.masked_fill(m, v), (R(2, 3), B(2, 3), R())),
    *[
        row(n, lambda t, x, y, n=n: getattr(t, n)(x, y), (V(1.0, 2.0, nan), V(1.0, 3.0, 1.0)), exact=True, second=False)
        for n in ("eq", "ne", "lt", "le", "gt", "ge")
    ],
    row(
        "operators", lambda t, x, y: ((x < y) & (x != 2)) | ~(y >= 1) ^ (x == y), (R(4), R(4)), exact=True, second=False
    ),
    *[
        row(n, lambda t, x, y, n=n: getattr(t, n)(x, y), (V(1.0, 0.0, 0.0), V(1.0, 3.0, 0.0)), exact=True, second=False)
        for n in ("logical_and", "logical_or", "logical_xor")
    ],
    *[
        row(n, lambda t, x, n=n: getattr(t, n)(x), V(1.0, 0.0, inf, -inf, nan), exact=True, second=False)
        for n in ("logical_not", "isfinite", "isnan", "isinf")
    ],
    row(
        "isclose",
        lambda t, x, y: t.isclose(x, y),
        (V(1.0, 2.0, nan, inf), V(1.0000001, 2.1, nan, inf)),
        exact=True,
        second=False,
    ),
]


def _f(name: str, *args: object, kinks: object = A, **flags: object) -> Row:
    title = name + (f" {args}" if args else "")
    return row(title, lambda t, x: getattr(t.nn.functional, name)(x, *args), kinks(2, 3), kinks(0), kinks(), **flags)  # type: ignore


ACTIVATIONS: list[Row] = [
    *[_f(name) for name in ("relu", "leaky_relu", "elu", "selu", "celu", "relu6", "hardtanh")],
    _f("hardsigmoid", tolerance=1e-7),
    *[_f(name) for name in ("softplus", "silu", "gelu", "mish", "logsigmoid", "softsign", "tanhshrink", "hardswish")],
    _f("leaky_relu", 0.3),
    _f("elu", 1.7),
    _f("celu", 1.7, tolerance=1e-7),
    _f("softplus", 2.0, 1.5),
    _f("hardtanh", -0.4, 2.0),
    _f("threshold", 0.5, -3.0),
    row("gelu tanh", lambda t, x: t.nn.functional.gelu(x, approximate="tanh"), R(2, 3)),
    row(
        "kinks",
        lambda t, x: sum(
            getattr(t.nn.functional, n)(x)
            for n in ("relu", "leaky_relu", "elu", "selu", "celu", "relu6", "hardtanh", "hardsigmoid", "hardswish")
        ),
        V(0.0, 1.0, -1.0, 6.0, 3.0, -3.0),
        smooth=False,
        tolerance=1e-7,
    ),
    row("relu of nan", lambda t, x: t.nn.functional.relu(x), V(nan, 1.0, -1.0), smooth=False),
    row(
        "activations far out",
        lambda t, x: sum(getattr(t.nn.functional, n)(x) for n in ("softplus", "logsigmoid", "elu", "mish", "gelu")),
        V(-200.0, 200.0, 30.0, -30.0),
        smooth=False,
        half=False,
    ),
    row("softmax", lambda t, x: t.softmax(x, 1), R(2, 3), R(2, 3, 2)),
    row("softmax 0", lambda t, x: t.softmax(x, 0), R(3), R(), R(2, 0)),
    row("softmin", lambda t, x: t.nn.functional.softmin(x, -1), R(2, 3)),
    row("log_softmax", lambda t, x: t.log_softmax(x, -1), R(2, 3), R(2, 3, 2), R()),
    row("softmax far out", lambda t, x: t.softmax(x, 0) + t.log_softmax(x, 0), V(1e4, 1e4, -1e4, 0.0), smooth=False),
    row("dropout off", lambda t, x: t.nn.functional.dropout(x, 0.4, training=False), R(3), exact=True),
]

ROWS = [*ARITHMETIC, *FUNCTIONS, *CHOOSING, *ACTIVATIONS]
__all__ = ["ACTIVATIONS", "ARITHMETIC", "CHOOSING", "FUNCTIONS", "ROWS", "I", "S"]
