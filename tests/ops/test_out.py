"""``out=``: every function that takes it writes what it returns without, into the memory it was given."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad.ops import out as room


def _words(text: str) -> list[str]:
    return text.split()


X, Y = [[0.25, 0.5, 0.75], [0.5, 0.125, 0.875]], [[0.5, 0.25, 1.0], [2.0, 0.5, 0.75]]
UNARY = _words("""
abs absolute acos angle arccos arcsin arcsinh arctan arctanh asin asinh atan atanh ceil conj_physical cos cosh deg2rad
digamma erf erfc erfinv exp exp2 expm1 fix floor frac isneginf isposinf lgamma log log10 log1p log2 logical_not
logit nan_to_num neg negative rad2deg reciprocal round rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square tan
tanh tril triu trunc frexp nonzero all any argmax argmin argsort max min mean median nanmean nanmedian nansum prod sum
std var aminmax amax amin count_nonzero msort sort svd qr norm diag diff bernoulli
""")
BINARY = _words("""
add arctan2 atan2 complex copysign div divide eq float_power floor_divide fmax fmin fmod ge greater greater_equal gt
heaviside hypot le less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor lt maximum minimum mul
multiply ne nextafter not_equal pow remainder sub subtract true_divide xlogy clamp clamp_max clamp_min clip
inner isin searchsorted kron polar ldexp
""")
ALONG = _words("cummax cummin cumprod cumsum log_softmax softmax logcumsumexp logsumexp mode")
WHOLE = _words("bitwise_and bitwise_or bitwise_xor gcd lcm")
JOIN = _words("cat column_stack concat concatenate dstack hstack row_stack stack vstack")


def x() -> Any:
    return dg.tensor(X)


def y() -> Any:
    return dg.tensor(Y)


def n() -> Any:
    return dg.tensor([[4, 6, 9], [3, 5, 8]])


def square(extra: float = 2.0) -> Any:
    return x() @ x().T + extra * dg.eye(2)


def first() -> Any:
    return dg.tensor([0, 1])


CASES: dict[str, Any] = {
    **{name: lambda f: lambda **out: f(x(), **out) for name in UNARY},
    **{name: lambda f: lambda **out: f(x(), y(), **out) for name in BINARY},
    **{name: lambda f: lambda **out: f(x(), 1, **out) for name in ALONG},
    **{name: lambda f: lambda **out: f(n(), n() + 1, **out) for name in WHOLE},
    **{name: lambda f: lambda **out: f([x(), y()], **out) for name in JOIN},
    "acosh": lambda f: lambda **out: f(x() + 1, **out),
    "addbmm": lambda f: lambda **out: f(square(), square()[None], square()[None], **out),
    "addcdiv": lambda f: lambda **out: f(x(), y(), y(), value=0.5, **out),
    "addcmul": lambda f: lambda **out: f(x(), y(), y(), value=0.5, **out),
    "addmm": lambda f: lambda **out: f(square(), x(), y().T, **out),
    "addmv": lambda f: lambda **out: f(x()[:, 0], x(), y()[0], **out),
    "addr": lambda f: lambda **out: f(x(), x()[:, 0], y()[0], **out),
    "arange": lambda f: lambda **out: f(4, **out),
    "arccosh": lambda f: lambda **out: f(x() + 1, **out),
    "baddbmm": lambda f: lambda **out: f(square()[None], square()[None], square()[None], **out),
    "bitwise_not": lambda f: lambda **out: f(n(), **out),
    "bmm": lambda f: lambda **out: f(x()[None], y().T[None], **out),
    "bucketize": lambda f: lambda **out: f(x(), y()[0], **out),
    "cholesky": lambda f: lambda **out: f(square(), **out),
    "cross": lambda f: lambda **out: f(x(), y(), dim=1, **out),
    "dot": lambda f: lambda **out: f(x()[0], y()[0], **out),
    "empty": lambda f: lambda **out: f(2, 0, **out),
    "eye": lambda f: lambda **out: f(3, **out),
    "full": lambda f: lambda **out: f((2, 3), 1.5, **out),
    "gather": lambda f: lambda **out: f(x(), 1, first()[None], **out),
    "histc": lambda f: lambda **out: f(x(), 4, 0, 1, **out),
    "index_add": lambda f: lambda **out: f(x(), 0, first(), y(), alpha=2, **out),
    "index_copy": lambda f: lambda **out: f(x(), 0, first(), y(), **out),
    "index_reduce": lambda f: lambda **out: f(x(), 0, first(), y(), "prod", **out),
    "index_select": lambda f: lambda **out: f(x(), 1, first(), **out),
    "inverse": lambda f: lambda **out: f(square(), **out),
    "outer": lambda f: lambda **out: f(x()[0], y()[0], **out),
    "kthvalue": lambda f: lambda **out: f(x(), 2, **out),
    "lerp": lambda f: lambda **out: f(x(), y(), 0.25, **out),
    "linspace": lambda f: lambda **out: f(0, 1, 4, **out),
    "logspace": lambda f: lambda **out: f(0, 1, 4, **out),
    "masked_select": lambda f: lambda **out: f(x(), x() > 0.3, **out),
    "matmul": lambda f: lambda **out: f(x(), y().T, **out),
    "matrix_power": lambda f: lambda **out: f(square(), 3, **out),
    "mm": lambda f: lambda **out: f(x(), y().T, **out),
    "multinomial": lambda f: lambda **out: f(x(), 2, **out),
    "mv": lambda f: lambda **out: f(x(), y()[0], **out),
    "mvlgamma": lambda f: lambda **out: f(x() + 2, 2, **out),
    "nanquantile": lambda f: lambda **out: f(x(), 0.3, **out),
    "narrow_copy": lambda f: lambda **out: f(x(), 1, 1, 2, **out),
    "normal": lambda f: lambda **out: f(x(), y(), **out),
    "ones": lambda f: lambda **out: f(2, 3, **out),
    "polygamma": lambda f: lambda **out: f(1, x(), **out),
    "quantile": lambda f: lambda **out: f(x(), 0.3, **out),
    "rand": lambda f: lambda **out: f(2, 3, **out),
    "randint": lambda f: lambda **out: f(0, 9, (4,), **out),
    "randn": lambda f: lambda **out: f(2, 3, **out),
    "randperm": lambda f: lambda **out: f(5, **out),
    "range": lambda f: lambda **out: f(0, 4, **out),
    "renorm": lambda f: lambda **out: f(x(), 2, 0, 0.5, **out),
    "scatter": lambda f: lambda **out: f(x(), 1, first()[None], y(), **out),
    "scatter_add": lambda f: lambda **out: f(x(), 1, first()[None], y(), **out),
    "scatter_reduce": lambda f: lambda **out: f(x(), 1, first()[None], y(), "amax", **out),
    "slogdet": lambda f: lambda **out: f(square(), **out),
    "take": lambda f: lambda **out: f(x(), first(), **out),
    "take_along_dim": lambda f: lambda **out: f(x(), first()[None], 1, **out),
    "tensordot": lambda f: lambda **out: f(x(), y().T, 1, **out),
    "topk": lambda f: lambda **out: f(x(), 2, **out),
    "vdot": lambda f: lambda **out: f(x()[0], y()[0], **out),
    "where": lambda f: lambda **out: f(x() > 0.3, x(), y(), **out),
    "zeros": lambda f: lambda **out: f(2, 3, **out),
}
LINALG: dict[str, Any] = {
    **{
        name: lambda f: lambda **out: f(square(), **out)
        for name in _words(
            "cholesky cholesky_ex cond det eig eigh eigvals eigvalsh inv inv_ex lu lu_factor matrix_norm "
            "matrix_rank norm pinv qr slogdet svd svdvals vector_norm"
        )
    },
    **{name: lambda f: lambda **out: f(square(), x(), **out) for name in _words("lstsq solve solve_ex matmul")},
    "cross": lambda f: lambda **out: f(x(), y(), **out),
    "lu_solve": lambda f: lambda **out: f(*dg.linalg.lu_factor(square()), x(), **out),
    "matrix_power": lambda f: lambda **out: f(square(), 3, **out),
    "multi_dot": lambda f: lambda **out: f([square(), x(), y().T], **out),
    "solve_triangular": lambda f: lambda **out: f(square().triu(), x(), upper=True, **out),
    "tensorinv": lambda f: lambda **out: f(square(), 1, **out),
    "tensorsolve": lambda f: lambda **out: f(square(), x()[:, 0], **out),
    "vecdot": lambda f: lambda **out: f(x(), y(), **out),
}
FFT = {
    name: (lambda f: lambda **out: f(4, **out)) if name.endswith("freq") else (lambda f: lambda **out: f(x(), **out))
    for name in room._FFT
}
FUNCTIONAL: dict[str, Any] = {
    **{name: lambda f: lambda **out: f(x(), **out) for name in room._FUNCTIONAL_SAME},
    "normalize": lambda f: lambda **out: f(x(), **out),
    "avg_pool2d": lambda f: lambda **out: f(x()[None], 2, **out),
    "avg_pool3d": lambda f: lambda **out: f(x()[None, None], (1, 2, 2), **out),
    "linear": lambda f: lambda **out: f(x(), y(), **out),
}
PLACES: list[tuple[str, Any, dict[str, Any]]] = [
    ("", dg, CASES), ("linalg.", dg.linalg, LINALG), ("fft.", dg.fft, FFT),
    ("functional.", dg.nn.functional, FUNCTIONAL),
]  # fmt: skip
CALLS = [
    pytest.param(getattr(namespace, name), case, id=prefix + name)
    for prefix, namespace, cases in PLACES
    for name, case in cases.items()
    if hasattr(namespace, name)
]


def test_each_function_that_takes_out_has_a_case() -> None:
    assert set(CASES) >= {*room._CAST, *room._SAME, *room._MADE}
    assert set(LINALG) >= {*room._LINALG_CAST, *room._LINALG_SAME}
    assert len(CALLS) > 250


@pytest.mark.parametrize(("function", "case"), CALLS)
def test_it_is_written(function: Any, case: Any) -> None:
    call = case(function)
    dg.manual_seed(3)
    wanted = call()
    several = isinstance(wanted, tuple)
    wholes = tuple(wanted) if several else (wanted,)
    for make in (lambda t: dg.empty(0, dtype=t.dtype), lambda t: dg.full_like(t, 7 % 2)):
        outs = [make(t) for t in wholes]
        before = [o._data for o in outs]
        dg.manual_seed(3)
        found = call(out=tuple(outs) if several else outs[0])
        assert type(found) is type(wanted)
        for given, memory, got, right in zip(outs, before, found if several else (found,), wholes, strict=True):
            assert got is given
            assert got.dtype is right.dtype
            np.testing.assert_array_equal(got.numpy(), right.numpy())
            assert memory.size != right.numel() or right.numel() == 0 or given._data is memory


def test_a_view_is_written_where_it_lies() -> None:
    whole = dg.zeros(2, 3)
    dg.exp(x()[:, 0], out=whole[:, 1])
    np.testing.assert_array_equal(whole[:, 1].numpy(), x()[:, 0].exp().numpy())
    assert not whole[:, [0, 2]].any()
    memory = np.zeros(3, np.float32)
    dg.add(dg.ones(3), 1, out=dg.from_numpy(memory))
    assert memory.tolist() == [2, 2, 2]


def test_an_operand_may_be_written() -> None:
    t = dg.tensor([1.0, 2.0, 3.0])
    assert dg.cumsum(t, 0, out=t) is t
    assert t.tolist() == [1, 3, 6]
    assert dg.mul(t, t, out=t).tolist() == [1, 9, 36]
    assert t._version == 2


@pytest.mark.parametrize(
    ("result", "out", "fits"),
    [("float32", "float64", True), ("float64", "float16", True), ("float32", "int64", False), ("int64", "int8", True),
     ("int64", "bool", False), ("bool", "int32", True), ("complex64", "float32", False), ("int32", "float32", True)],
)  # fmt: skip
def test_types_it_is_cast_to(result: str, out: str, fits: bool) -> None:
    a, o = dg.ones(2, dtype=getattr(dg, result)), dg.zeros(2, dtype=getattr(dg, out))
    if fits:
        assert dg.add(a, a, out=o).dtype is getattr(dg, out)
        assert o.tolist() == [2 if result != "bool" else 1] * 2
    else:
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
            dg.add(a, a, out=o)


def test_a_sum_is_made_in_the_type_of_out() -> None:
    o = dg.empty((), dtype=dg.float64)
    dg.sum(dg.tensor([2.0**24, 1.0]), out=o)
    assert o.item() == 2.0**24 + 1
    assert dg.arange(3, out=dg.empty(0)).dtype is dg.float32
    assert dg.zeros(3, out=dg.empty(0, dtype=dg.int8)).dtype is dg.int8
    with pytest.raises(RuntimeError, match="dtype Double does not match dtype of out parameter"):
        dg.zeros(3, dtype=dg.float64, out=dg.empty(0))


def test_what_cannot_be_written_is_refused() -> None:
    t = dg.ones(3)
    grad = dg.ones(3, requires_grad=True)
    for call in (
        lambda: dg.exp(grad, out=t), lambda: dg.exp(t, out=grad), lambda: dg.cat([t, grad], out=t),
        lambda: dg.clamp(t, min=grad, out=t), lambda: dg.linalg.vector_norm(grad, out=t),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
            call()
    assert t.tolist() == [1, 1, 1]
    with dg.no_grad():
        assert dg.exp(grad, out=t) is t
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype torch.float32"):
        dg.abs(t, out=dg.empty(3, dtype=dg.float64))
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        dg.exp(t, out=dg.zeros(1).expand(3))
    with pytest.raises(TypeError, match=r"exp\(\): argument 'out' must be Tensor, not float"):
        dg.exp(t, out=[1.0])
    with pytest.raises(TypeError, match=r"argument 'out' must be a tuple of 2 Tensors"):
        dg.sort(t, out=t)
    with pytest.raises(TypeError):
        dg.exp(t, t)
    with pytest.raises(TypeError):
        dg.mul(t, t, t)


def test_another_shape_is_told() -> None:
    with pytest.warns(UserWarning, match=r"out of shape \[5\] was given the shape \[3\]"):
        assert dg.exp(dg.zeros(3), out=dg.zeros(5)).tolist() == [1, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dg.exp(dg.zeros(3), out=dg.empty(0)).tolist() == [1, 1, 1]
        assert dg.exp(dg.zeros(3), out=None).tolist() == [1, 1, 1]
        assert dg.sum(dg.zeros(3), 0, out=None).tolist() == 0
