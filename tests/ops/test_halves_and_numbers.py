"""Half precisions beside numbers, and factors that scale in the common type: against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import distgrad

f16, bf16 = distgrad.float16, distgrad.bfloat16
INF = math.inf

# The operation, the dtype, the operand, the result and the gradient.
SCALED: dict[str, tuple[Callable[[Any], Any], Any, list[float], list[float], list[float]]] = {
    "times": (lambda x: x * 65536.0, f16, [0.25, 0.0], [16384.0, 0.0], [INF, INF]),
    "times, reflected": (lambda x: 65536.0 * x, f16, [0.25], [16384.0], [INF]),
    "times a tensor": (lambda x: x * distgrad.tensor(65536.0), f16, [0.25, 0.0], [16384.0, 0.0], [INF, INF]),
    "times an integer": (lambda x: x * 131072, f16, [0.25, 0.0], [32768.0, 0.0], [INF, INF]),
    "times, in place": (lambda x: (x * 1).mul_(65536.0), f16, [0.25], [16384.0], [INF]),
    "by": (lambda x: x / 65536.0, f16, [1.0, 32768.0], [2.0**-16, 0.5], [2.0**-16, 2.0**-16]),
    "by, in place": (lambda x: (x * 1).div_(65536.0), f16, [32768.0], [0.5], [2.0**-16]),
    "by a tensor": (lambda x: x / distgrad.tensor(65536.0), f16, [32768.0, 0.0], [0.5, 0.0], [2.0**-16, 2.0**-16]),
    "through": (lambda x: 2.0**-26 / x, f16, [0.25], [2.0**-24], [-0.0]),
    "by, downwards": (lambda x: distgrad.div(x, 65536.0, rounding_mode="floor"), f16, [1.0, -1.0], [0.0, -1.0], [0, 0]),
    "by, to 0": (lambda x: distgrad.div(x, 65536.0, rounding_mode="trunc"), f16, [1.0, -1.0], [0.0, 0.0], [0, 0]),
    "less, rounded": (lambda x: x - 1.0039, bf16, [0.25], [-0.75], [1.0]),  # 1.0039 is 1 in bfloat16
    "times, not rounded": (lambda x: x * 1.0039, bf16, [128.0], [128.0], [1.0]),
    "lerp": (lambda x: distgrad.lerp(x.detach(), x * 2, 65536.0), f16, [0.25], [16384.0], [INF]),
    "addcmul": (lambda x: distgrad.addcmul(x * 0, x, x.detach(), value=65536.0), f16, [0.25], [4096.0], [16384.0]),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_number_is_not_rounded_to_half_precision(name: str) -> None:
    operation, kind, given, value, gradient = SCALED[name]
    for shape in ((-1,), ()):
        if shape == () and len(given) > 1:
            continue
        x = distgrad.tensor(given, dtype=kind).reshape(shape).requires_grad_()
        y = operation(x)
        assert y.dtype is kind
        assert y.reshape(-1).tolist() == value
        y.sum().backward()
        assert x.grad.reshape(-1).tolist() == gradient


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x**65536.0,
        lambda x: x.clamp(max=65536.0),
        lambda x: (x * 1).clamp_(-1e5, 0.0),
        lambda x: distgrad.add(x, x, alpha=65536.0),
        lambda x: (x * 1).sub_(x, alpha=1e5),
    ],
)
def test_where_the_number_is_one_of_the_type_it_must_fit(call: Any) -> None:
    with pytest.raises(RuntimeError, match="value cannot be converted to type c10::Half without overflow"):
        call(distgrad.ones(2, dtype=f16))


def of(kind: str, *values: Any) -> Any:
    return distgrad.tensor(list(values), dtype=getattr(distgrad, kind))


MIXED: dict[str, tuple[Callable[[], Any], str, list[Any]]] = {
    "add": (lambda: distgrad.add(of("uint8", 127), of("int8", 127), alpha=2), "int16", [381]),
    "sub": (lambda: distgrad.sub(of("int64", 10), of("uint8", 200), alpha=-3), "int64", [610]),
    "rsub": (lambda: distgrad.rsub(of("uint8", 200), of("int64", 10), alpha=3), "int64", [-590]),
    "add_": (lambda: of("float32", 1.0).add_(of("int8", 100), alpha=5), "float32", [501.0]),
    "sub_": (lambda: of("int32", 0).sub_(of("uint8", 200), alpha=2), "int32", [-400]),
    "addcmul": (lambda: of("float32", 0.0).addcmul(of("uint8", 127), of("uint8", 127)), "float32", [16129.0]),
    "addcmul_": (lambda: of("int64", 1).addcmul_(of("uint8", 127), of("uint8", 127), value=2), "int64", [32259]),
    "addcmul of halves": (
        lambda: of("float32", 0.0).addcmul(of("float16", 300.0), of("float16", 300.0)), "float32", [90000.0],
    ),
    "addcdiv": (
        lambda: of("float32", 0.0).addcdiv(of("float16", 6e4), of("float16", 0.5)), "float32", [120000.0],
    ),
    "addcdiv_": (
        lambda: of("float32", 0.0).addcdiv_(of("float16", 32768.0), of("uint8", 2), value=4), "float32", [65536.0],
    ),
    "addmm": (
        lambda: distgrad.addmm(of("float16", 0.0), of("float16", 300.0)[None], of("float16", 300.0)[None], alpha=0.5),
        "float16", [[44992.0]],
    ),
    "addmv": (
        lambda: distgrad.addmv(of("float16", -44992.0), of("float16", 300.0)[None], of("float16", 300.0), alpha=0.5),
        "float16", [8.0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_factors_scale_in_the_common_type(name: str) -> None:
    call, kind, values = MIXED[name]
    found = call()
    assert (found.dtype.name, found.tolist()) == (kind, values)


def test_gradients_of_scaled_sums() -> None:
    a, b, c = (distgrad.tensor([v], requires_grad=True) for v in (2.0, 3.0, 4.0))
    for call, expected in [
        (lambda: distgrad.add(a, b, alpha=5), (1.0, 5.0, None)),
        (lambda: distgrad.sub(a, b, alpha=5), (1.0, -5.0, None)),
        (lambda: distgrad.addcmul(a, b, c, value=0.5), (1.0, 2.0, 1.5)),
        (lambda: distgrad.addcdiv(a, b, c, value=8), (1.0, 2.0, -1.5)),
        (lambda: distgrad.lerp(a, b, 0.25), (0.75, 0.25, None)),
        (lambda: distgrad.lerp(a, b, c), (-3.0, 4.0, 1.0)),
        (lambda: (a * 1).lerp_(b, c), (-3.0, 4.0, 1.0)),
        (lambda: (a * 1).addcdiv_(b, c, value=8), (1.0, 2.0, -1.5)),
    ]:
        found = distgrad.autograd.grad(call(), (a, b, c), allow_unused=True)
        assert tuple(None if g is None else g.item() for g in found) == expected


@pytest.mark.parametrize(
    ("alpha", "words"),
    [(0.5, "argument alpha must not be a floating point"), (True, "Boolean alpha"), (300, "overflow")],
)
def test_a_factor_is_one_of_the_type(alpha: Any, words: str) -> None:
    x = of("uint8", 1)
    with pytest.raises(RuntimeError, match=words):
        distgrad.add(x, x, alpha=alpha)


def test_bools_have_no_difference() -> None:
    for call in (lambda: of("float32", 1.0) - True, lambda: of("int64", 3) - of("bool", True)):
        with pytest.raises(RuntimeError, match="bool tensor is not supported"):
            call()


def test_integers_to_negative_powers_are_0_but_of_one() -> None:
    for exponent in (-1, -2):
        found = of("int8", 127, 2, 1, -1, -128) ** distgrad.tensor(exponent)
        assert found.tolist() == [0, 0, 1, -1 if exponent == -1 else 1, 0]
