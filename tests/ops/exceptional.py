"""Every operation at its exceptional points: kinks, ties, zeros, infinities, NaN, emptiness, sizes of one and none.

:func:`cases` gives each operation with the inputs made for its kind; :func:`outcome` is what comes out of one in
distgrad or PyTorch: the values, dtypes and shapes of the results and of the gradients, or the class of the error.  What
PyTorch answers is recorded in ``exceptional.txt``, which this file, run as a script, writes.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RECORD = Path(__file__).with_name("exceptional.txt")
inf, nan = math.inf, math.nan

POINTS = [
    0.0, -0.0, 1e-45, 1e-38, -1e-38, 1e-7, -1e-7, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.5, -2.5, 3.0, -3.0, 6.0, -6.0,
    20.0, 20.5, 88.8, -88.8, -104.0, 1e10, -1e10, 3e38, -3e38, inf, -inf, nan,
]  # fmt: skip
FEW = [0.0, -0.0, 0.5, 1.0, -1.0, -3.0, 1e30, inf, -inf, nan]
COMPLEX = [0, 1, -1, 1j, -1j, 2 + 1j, -0.5 - 0.5j, 1e-3j, -2 + 0j]
WHOLE = [0, 1, -1, 2, -2, 3, -3, 7, 2**40]
SMALL = [0, 1, 2, 3, 127, 200, 255]
# Rows with zeros (one, several), ties, infinities of one and both signs, NaN, and numbers too large to square.
MATRIX = [
    [0.0, 0.0, 0.0, 0.0], [2.0, 0.0, -1.0, 3.0], [0.0, 2.0, 0.0, 3.0], [1.0, 1.0, 1.0, 1.0], [-2.0, 3.0, 3.0, -2.0],
    [inf, 1.0, inf, 2.0], [inf, -inf, 1.0, 0.0], [-inf, -inf, -inf, -inf], [nan, 1.0, nan, inf], [1.0, nan, 5.0, 5.0],
    [1e30, -1e30, 1e30, 3.0], [1e-30, -1e-30, 1e-30, 0.0], [-0.0, 0.0, -0.0, 0.0],
]  # fmt: skip


class Case(NamedTuple):
    """An operation and its inputs."""

    name: str
    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]


def f32(values: Any, *shape: int) -> np.ndarray:
    array = np.array(values, np.float32)
    return array.reshape(shape) if shape else array


UNARY = [
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "frac",
    "log",
    "log10",
    "log1p",
    "log2",
    "neg",
    "positive",
    "reciprocal",
    "relu",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
    "isfinite",
    "isinf",
    "isnan",
    "logical_not",
    "conj_physical",
    "bitwise_not",
    "selu",
    "celu",
]
FUNCTIONAL = [
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
    "tanhshrink",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "maximum",
    "minimum",
    "fmod",
    "remainder",
    "floor_divide",
    "atan2",
    "xlogy",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
    "rsub",
    "isclose",
]
WHOLE_BINARY = ["bitwise_and", "bitwise_or", "bitwise_xor"]

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{name: (lambda t, x, name=name: getattr(t, name)(x)) for name in UNARY},
    **{f"F.{name}": (lambda t, x, name=name: getattr(t.nn.functional, name)(x)) for name in FUNCTIONAL},
    "gelu tanh": lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
    "threshold 0": lambda t, x: t.nn.functional.threshold(x, 0.0, 0.0),
    "threshold 1": lambda t, x: t.nn.functional.threshold(x, 1.0, -7.0),
    "elu 2": lambda t, x: t.nn.functional.elu(x, 2.0),
    "celu 2": lambda t, x: t.nn.functional.celu(x, 2.0),
    "leaky_relu 0": lambda t, x: t.nn.functional.leaky_relu(x, 0.0),
    "hardtanh -3": lambda t, x: t.nn.functional.hardtanh(x, -3.0, 0.5),
    "softplus 2": lambda t, x: t.nn.functional.softplus(x, 2.0, 3.0),
    "clamp 0 1": lambda t, x: t.clamp(x, 0.0, 1.0),
    "clamp 1 0": lambda t, x: t.clamp(x, 1.0, 0.0),
    "clamp min": lambda t, x: t.clamp(x, min=-0.5),
    "clamp max": lambda t, x: t.clamp(x, max=3),
    "clamp nan": lambda t, x: t.clamp(x, min=nan),
    "clamp -1 300": lambda t, x: t.clamp(x, -1, 300),
    "clamp_min": lambda t, x: t.clamp_min(x, 0),
    "clamp_max": lambda t, x: t.clamp_max(x, 0.5),
    "round 1": lambda t, x: t.round(x, decimals=1),
    "masked_fill": lambda t, x: t.masked_fill(x, x > 0, -1),
    "masked_fill 300": lambda t, x: t.masked_fill(x, x > 0, 300),
    "where 0": lambda t, x: t.where(x > 0, x, 0),
    "where 0.5": lambda t, x: t.where(x > 0, x, 0.5),
    "max of two": lambda t, x: t.max(x, t.zeros_like(x)),
    **{
        f"{op} {n!r}": (lambda t, x, op=op, n=n: getattr(t, op)(x, n))
        for op in ("add", "mul", "div", "pow", "fmod", "remainder", "floor_divide", "xlogy", "lt", "ge")
        for n in (0, 2, -1, 0.5, -2.0, inf, nan)
    },
    "pow 0.0": lambda t, x: t.pow(x, 0.0),
    "pow 1": lambda t, x: t.pow(x, 1),
    "pow 3": lambda t, x: t.pow(x, 3),
    **{f"{b!r} **": (lambda t, x, b=b: b**x) for b in (0, 0.0, 1, 2, -2.0, -1, 0.5, inf)},
    **{f"{b!r} /": (lambda t, x, b=b: b / x) for b in (0, 1, -2.0, inf)},
    **{f"{b!r} //": (lambda t, x, b=b: b // x) for b in (0, 7, -2.0)},
    **{f"{b!r} %": (lambda t, x, b=b: b % x) for b in (0, 7, -2.0)},
    "xlogy 0 x": lambda t, x: t.xlogy(0, x),
    "div trunc": lambda t, x: t.div(x, 2, rounding_mode="trunc"),
    "div floor": lambda t, x: t.div(x, -0.5, rounding_mode="floor"),
    "div trunc 0": lambda t, x: t.div(x, 0, rounding_mode="trunc"),
    "lerp": lambda t, x: t.lerp(x, x * 2, 0.5),
    "addcdiv": lambda t, x: t.addcdiv(x, x, x),
    "addcmul": lambda t, x: t.addcmul(x, x, x, value=2),
}
PAIRS: dict[str, Callable[..., Any]] = {
    **{name: (lambda t, x, y, name=name: getattr(t, name)(x, y)) for name in BINARY},
    "div trunc": lambda t, x, y: t.div(x, y, rounding_mode="trunc"),
    "div floor": lambda t, x, y: t.div(x, y, rounding_mode="floor"),
    "clamp tensors": lambda t, x, y: t.clamp(x, y, y + 1),
    "clamp crossed": lambda t, x, y: t.clamp(x, y, -y),
    "clamp tensor min": lambda t, x, y: t.clamp(x, min=y),
    "clamp tensor max": lambda t, x, y: t.clamp(x, max=y),
    "where": lambda t, x, y: t.where(x > y, x, y),
    "max": lambda t, x, y: t.max(x, y),
    "min": lambda t, x, y: t.min(x, y),
    "prelu": lambda t, x, y: t.nn.functional.prelu(x.reshape(1, -1), y),
    "lerp": lambda t, x, y: t.lerp(x, y, 0.25),
    "addcmul": lambda t, x, y: t.addcmul(x, x, y),
    "addcdiv": lambda t, x, y: t.addcdiv(x, x, y),
}


def _losses() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for reduction in ("none", "mean"):

        def add(name: str, call: Callable[..., Any], reduction: str = reduction) -> None:
            found[f"{name} {reduction}"] = lambda t, x, y: call(t.nn.functional, x, y, reduction=reduction)

        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits"):
            add(name, lambda f, x, y, name=name, **k: getattr(f, name)(x, y, **k))
        for name in ("kl_div", "poisson_nll_loss", "hinge_embedding_loss", "soft_margin_loss"):
            add(name, lambda f, x, y, name=name, **k: getattr(f, name)(x, y, **k))
        add("smooth_l1_loss 2", lambda f, x, y, **k: f.smooth_l1_loss(x, y, beta=2.0, **k))
        add("smooth_l1_loss 0", lambda f, x, y, **k: f.smooth_l1_loss(x, y, beta=0.0, **k))
        add("huber_loss 2", lambda f, x, y, **k: f.huber_loss(x, y, delta=2.0, **k))
        add("kl_div log", lambda f, x, y, **k: f.kl_div(x, y, log_target=True, **k))
        add("poisson plain", lambda f, x, y, **k: f.poisson_nll_loss(x, y, log_input=False, **k))
        add("poisson full", lambda f, x, y, **k: f.poisson_nll_loss(x, y, full=True, **k))
        add("gaussian", lambda f, x, y, **k: f.gaussian_nll_loss(x, y, y * y, **k))
        add("margin_ranking", lambda f, x, y, **k: f.margin_ranking_loss(x, y, y.detach().sign(), **k))
        add("triplet", lambda f, x, y, **k: f.triplet_margin_loss(x, y, -x, **k))
    return found


LOSSES = _losses()
UNIT_LOSSES = {
    f"binary_cross_entropy {reduction}": (
        lambda t, x, y, reduction=reduction: t.nn.functional.binary_cross_entropy(x, y, reduction=reduction)
    )
    for reduction in ("none", "mean", "sum")
}


def _over_dims() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    dims: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("", (), {}), ("0", (0,), {}), ("-1", (-1,), {}), ("1 keep", (1,), {"keepdim": True}),
    ]  # fmt: skip
    for name in ("sum", "mean", "prod", "amax", "amin", "max", "min", "argmax", "argmin", "all", "any"):
        for label, args, options in dims:
            found[f"{name} {label}"] = lambda t, x, n=name, a=args, o=options: getattr(t, n)(x, *a, **o)
    for name in ("sum", "mean", "amax", "std", "var", "logsumexp", "norm"):
        both = {"p": 2} if name == "norm" else {}
        found[f"{name} both"] = lambda t, x, n=name, o=both: getattr(t, n)(x, dim=(0, 1), **o)
    for name in ("std", "var"):
        for label, args, options in dims:
            found[f"{name} {label}"] = lambda t, x, n=name, a=args, o=options: getattr(t, n)(x, *a, **o)
        found[f"{name} whole 0"] = lambda t, x, n=name: getattr(t, n)(x, unbiased=False)
        found[f"{name} 0 correction 0"] = lambda t, x, n=name: getattr(t, n)(x, dim=0, correction=0)
        found[f"{name} 1 correction 4"] = lambda t, x, n=name: getattr(t, n)(x, dim=1, correction=4)
        found[f"{name} 1 correction 9"] = lambda t, x, n=name: getattr(t, n)(x, dim=1, correction=9)
    for name in ("std_mean", "var_mean"):
        found[f"{name} 1"] = lambda t, x, n=name: getattr(t, n)(x, dim=1)
    for name in ("cumsum", "logsumexp", "softmax", "log_softmax"):
        for dim in (0, -1):
            found[f"{name} {dim}"] = lambda t, x, n=name, d=dim: getattr(t, n)(x, d)
    found["softmin"] = lambda t, x: t.nn.functional.softmin(x, -1)
    found["count_nonzero"] = lambda t, x: t.count_nonzero(x)
    found["count_nonzero 0"] = lambda t, x: t.count_nonzero(x, 0)
    for p in (0, 0.5, 1, 2, 3, inf, -inf, -1, -2):
        found[f"norm {p}"] = lambda t, x, p=p: t.norm(x, p)
        found[f"norm {p} 0"] = lambda t, x, p=p: t.norm(x, p, 0)
        found[f"norm {p} 1"] = lambda t, x, p=p: t.norm(x, p, -1, True)
    for p in (0, 1, 2, 3, inf):
        found[f"normalize {p}"] = lambda t, x, p=p: t.nn.functional.normalize(x, p, -1)
    found["prod twice"] = lambda t, x: x.prod(0).prod()
    return found


OVER_DIMS = _over_dims()
VECTORS: dict[str, Callable[..., Any]] = {
    **{f"pairwise_distance {p}": (lambda t, x, y, p=p: t.pairwise_distance(x, y, p, 0.0)) for p in (0, 1, 2, 3, inf)},
    "pairwise_distance": lambda t, x, y: t.pairwise_distance(x, y),
    "cosine_similarity": lambda t, x, y: t.cosine_similarity(x, y),
    "cosine_embedding": lambda t, x, y: t.nn.functional.cosine_embedding_loss(
        x, y, t.ones(x.shape[0]), reduction="none"
    ),
    "triplet_margin": lambda t, x, y: t.nn.functional.triplet_margin_loss(x, y, y * 2, p=3, reduction="none"),
    "dot": lambda t, x, y: t.dot(x[1], y[2]),
    "mul_sum": lambda t, x, y: (x * y).sum(-1),
}


def _classes() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for name in ("cross_entropy", "nll_loss"):
        for reduction in ("none", "mean", "sum"):
            for label, target in (("", [0, 1, 2, 3]), ("some", [0, -100, 2, -100]), ("all", [-100] * 4)):
                for weighed, weight in (("", None), ("zero", [0.0] * 4), ("part", [1.0, 0.0, 2.0, 0.5])):
                    for smooth in (0.0, 0.25) if name == "cross_entropy" else (0.0,):

                        def call(t, x, n=name, r=reduction, y=target, w=weight, s=smooth):
                            w = None if w is None else t.tensor(w)
                            smoothing = {"label_smoothing": s} if s else {}
                            return getattr(t.nn.functional, n)(x, t.tensor(y), w, reduction=r, **smoothing)

                        found[f"{name} {reduction} {label} {weighed} {smooth}"] = call
    return found


CLASSES = _classes()
PRODUCTS: dict[str, Callable[..., Any]] = {
    "mm": lambda t, m, a, b: t.mm(a, b),
    "matmul": lambda t, m, a, b: t.matmul(a, b),
    "mv": lambda t, m, a, b: t.mv(a, b[:, 0]),
    "outer": lambda t, m, a, b: t.outer(a[:, 0], b[0]),
    "inner": lambda t, m, a, b: t.inner(a, b.t()),
    "einsum": lambda t, m, a, b: t.einsum("ij,jk->ik", a, b),
    **{
        f"addmm {beta} {alpha}": (lambda t, m, a, b, p=beta, q=alpha: t.addmm(m, a, b, beta=p, alpha=q))
        for beta in (0, 1, 2)
        for alpha in (0, 1, 0.5)
    },
    **{
        f"addmv {beta} {alpha}": (lambda t, m, a, b, p=beta, q=alpha: t.addmv(m[:, 0], a, b[:, 0], beta=p, alpha=q))
        for beta in (0, 2)
        for alpha in (0, 0.5)
    },
    **{
        f"baddbmm {beta} {alpha}": (
            lambda t, m, a, b, p=beta, q=alpha: t.baddbmm(m[None], a[None], b[None], beta=p, alpha=q)
        )
        for beta in (0, 2)
        for alpha in (0, 0.5)
    },
}


def cases() -> Iterator[Case]:
    """Every operation with the inputs of its kind."""
    whole, small = np.array(WHOLE), np.array(SMALL, np.uint8)
    for name, call in ELEMENTWISE.items():
        for kind, x in (
            ("points", f32(POINTS)), ("int64", whole), ("uint8", small), ("bool", np.array([True, False])),
            ("complex", np.array(COMPLEX, np.complex64)), ("none", f32([], 0, 2)), ("0-d", f32(0.0)),
            ("half", np.array([f for f in FEW if f != 1e30], np.float16)),
        ):  # fmt: skip
            yield Case(f"{name} | {kind}", call, (x,))
    grid = np.array(list(itertools.product(FEW, FEW)), np.float32)
    few = np.array(list(itertools.product([-3, 2, 1], [1, -2, 3])))
    zero = np.array([[4, 0], [-4, 0]])
    both = np.array(list(itertools.product(COMPLEX, COMPLEX)), np.complex64)[::3]
    for name in WHOLE_BINARY:
        yield Case(f"{name} | int64", lambda t, x, y, n=name: getattr(t, n)(x, y), (few[:, 0], few[:, 1]))
    for name, call in PAIRS.items():
        yield Case(f"{name} | pairs", call, (grid[:, 0], grid[:, 1]))
        yield Case(f"{name} | int64 pairs", call, (few[:, 0], few[:, 1]))
        yield Case(f"{name} | by zero", call, (zero[:, 0], zero[:, 1]))
        yield Case(f"{name} | uint8 pairs", call, (small, small[::-1].copy()))
        yield Case(f"{name} | complex pairs", call, (both[:, 0], both[:, 1]))
        yield Case(f"{name} | int and float", call, (few[:, 0], f32(few[:, 1])))
        yield Case(f"{name} | no pairs", call, (f32([], 0), f32([], 0)))
        yield Case(f"{name} | spread", call, (f32([0.0, 1.0, nan], 3, 1), f32([[0.0, nan]])))
    for name, call in LOSSES.items():
        yield Case(f"{name} | pairs", call, (grid[:, 0], grid[:, 1]))
        yield Case(f"{name} | none", call, (f32([], 0, 2), f32([], 0, 2)))
        if name.endswith("none"):
            yield Case(f"{name} | int64", call, (few[:, 0], few[:, 1]))
    unit = np.array(list(itertools.product([0.0, 1.0, 0.5, 1e-40], [0.0, 1.0, 0.25])), np.float32)
    for name, call in UNIT_LOSSES.items():
        yield Case(f"{name} | unit", call, (unit[:, 0], unit[:, 1]))
        yield Case(f"{name} | no pairs", call, (f32([], 0), f32([], 0)))
    matrix = f32(MATRIX)
    for name, call in OVER_DIMS.items():
        for kind, x in (
            ("rows", matrix), ("columns", matrix[:10].T), ("(0, 4)", f32([], 0, 4)), ("(4, 0)", f32([], 4, 0)),
            ("0-d", f32(2.0)), ("0-d nan", f32(nan)), ("one", f32([[0.0]])), ("vector", f32([0.0, 2.0, 0.0])),
            ("int64", np.array([[3, 0], [3, -2]])), ("bool", np.array([[True, False], [True, True]])),
            ("uint8", small.reshape(1, -1)), ("half", np.array([[300.0, 400.0], [0.0, 0.0]], np.float16)),
            ("complex", np.array([[0, 0], [1 + 2j, -2j], [0, 3 - 1j]], np.complex64)),
        ):  # fmt: skip
            yield Case(f"{name} | {kind}", call, (x,))
    for name, call in VECTORS.items():
        yield Case(f"{name} | rows", call, (matrix, matrix[::-1].copy()))
        yield Case(f"{name} | same", call, (matrix, matrix))
        yield Case(f"{name} | none", call, (f32([], 3, 0), f32([], 3, 0)))
    logits = f32([[0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0], [-1e4, 1e4, 0.0, 0.0], [1.0, -inf, 0.0, 2.0]])
    for name, call in CLASSES.items():
        yield Case(f"{name} | logits", call, (logits,))
    a, b = f32([[1.0, nan], [inf, 0.0]]), f32([[1.0, 2.0], [0.5, nan]])
    for name, call in PRODUCTS.items():
        yield Case(f"{name} | nan", call, (f32([[nan, inf], [1.0, 2.0]]), a, b))
        yield Case(f"{name} | none", call, (f32([[nan, 1.0], [1.0, 2.0]]), f32([], 2, 0), f32([], 0, 2)))
        yield Case(f"{name} | int64", call, tuple(np.array(m) for m in ([[1, 2], [3, 4]],) * 3))


# Where we do not follow PyTorch, and why.
KNOWN = {
    "log1p | complex": "the real part near 0 is rounded there",
    "pow 0.5 | half": "PyTorch's float16 takes another root of -inf than its float32",
    "pow | complex pairs": "0 to the power 0 is 1, as of real numbers",
    "0 ** | complex": "0 to the power 0 is 1, as of real numbers",
    "0.0 ** | complex": "0 to the power 0 is 1, as of real numbers",
    "inf ** | complex": "complex infinities",
    "-2.0 ** | complex": "rounding of a part near 0",
    "-1 ** | complex": "rounding of a part near 0",
    "0 / | points": "PyTorch multiplies by a reciprocal that overflows",
    "inf / | points": "PyTorch multiplies by a reciprocal that overflows",
    "addcdiv | points": "PyTorch divides by a square that underflows",
    "addcdiv | pairs": "PyTorch divides by a square that overflows",
    "addcdiv | complex pairs": "complex infinities",
    "addcmul | bool": "not refused here",
    "F.tanhshrink | bool": "a float minus a bool is not refused here",
    "hinge_embedding_loss none | int64": "a float margin makes the loss float here",
    "prod  | half": "float16 is multiplied in float32 here",
    "var 1 correction 4 | rows": "PyTorch's infinity divided by 0",
    "var 1 correction 9 | rows": "PyTorch's infinity divided by 0",
    "std_mean 1 | rows": "the mean of infinities of one sign is infinite",
    "var_mean 1 | rows": "the mean of infinities of one sign is infinite",
    "normalize 2 | half": "eps is 0 in float16",
    "normalize 0 | half": "eps is 0 in float16",
    **{
        f"{b} % | {kind}": "the remainder has a gradient here, and none of numbers near 0 is NaN"
        for b in ("0", "7", "-2.0")
        for kind in ("points", "none", "0-d", "half")
    },
}


def outcome(t: Any, case: Case) -> tuple[Any, ...]:
    """("error", class) or ("values", results, gradients), each a (dtype, array)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = [t.tensor(a) for a in case.inputs]
        for x in given:
            if x.dtype.is_floating_point or x.dtype.is_complex:
                x.requires_grad_()
        try:
            made = case.call(t, *given)
        except (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError, OverflowError) as e:
            return "error", "RuntimeError" if isinstance(e, NotImplementedError) else type(e).__name__
        if isinstance(made, bool):
            return "values", [("bool", np.array(made))], []
        outs = [made] if hasattr(made, "dtype") else list(made)
        total = None
        for o in outs:
            if o.requires_grad:
                w = t.tensor(((np.arange(o.numel()) % 7 + 1) / 4).reshape(tuple(o.shape)).astype(np.float32))
                part = (o.real * w + o.imag * w * 2) if o.dtype.is_complex else o * w.to(o.dtype)
                total = part.sum() if total is None else total + part.sum()
        if total is not None:
            try:
                total.backward()
            except (RuntimeError, NotImplementedError):
                return "values", [plain(o, t) for o in outs], ["no gradient"]
        gradients = [None if x.grad is None else plain(x.grad, t) for x in given if x.requires_grad]
    return "values", [plain(o, t) for o in outs], gradients if total is not None else []


def plain(x: Any, t: Any) -> tuple[str, np.ndarray]:
    x = x.detach()
    if hasattr(x, "resolve_conj"):
        x = x.resolve_conj()
    name = str(x.dtype).rpartition(".")[2]
    return name, np.asarray((x.float() if name == "bfloat16" else x).numpy(force=True))  # NumPy has no bfloat16


def differs(a: tuple[Any, ...], b: tuple[Any, ...], tolerance: float = 1e-4) -> str | None:
    """What two outcomes differ in, or None."""
    if a[0] != b[0] or a[0] == "error":
        return None if a == b else "kind"
    for part, xs, ys in (("value", a[1], b[1]), ("gradient", a[2], b[2])):
        if len(xs) != len(ys):
            return f"number of {part}s"
        for x, y in zip(xs, ys, strict=True):
            if x is None or y is None or "no gradient" in (x, y):
                if x is not y and x != y:
                    return f"{part}: None"
                continue
            if x[0] != y[0]:
                return f"dtype of {part}"
            if x[1].shape != y[1].shape:
                return f"shape of {part}"
            loose = {"float16": 4e-3, "bfloat16": 2e-2}.get(x[0], tolerance)
            u, v = x[1].reshape(-1), y[1].reshape(-1)
            if u.dtype.kind == "c":
                finite = np.isfinite(u) | np.isfinite(v)  # which part of a complex infinity is NaN, nobody says
                u, v = (np.where(finite, w, 0).astype(np.complex64).view(np.float32) for w in (u, v))
            with np.errstate(all="ignore"):
                if not np.allclose(u.astype(np.float64), v.astype(np.float64), loose, 2e-8, equal_nan=True):
                    return part
    return None


def _word(outcome: tuple[Any, ...]) -> str:
    """An outcome as a line: the error's class, or dtype, shape and elements of each array."""
    if outcome[0] == "error":
        return str(outcome[1])
    parts = []
    for arrays in outcome[1:]:
        words = []
        for a in arrays:
            if a is None or isinstance(a, str):
                words.append(str(a).replace(" ", "_"))
                continue
            flat = a[1].reshape(-1)
            if flat.dtype.kind == "c":
                flat = flat.view(flat.real.dtype)
            numbers = [str(int(v)) if flat.dtype.kind in "biu" else f"{float(v):.5g}" for v in flat]
            runs = [(n, len(list(group))) for n, group in itertools.groupby(numbers)]
            elements = ",".join(n if k == 1 else f"{n}*{k}" for n, k in runs)
            words.append(f"{a[0]}:{'x'.join(map(str, a[1].shape))}:{elements}")
        parts.append(" ".join(words))
    return " | ".join(parts)


def _array(word: str) -> Any:
    if ":" not in word:
        return None if word == "None" else word.replace("_", " ")
    dtype, shape, elements = word.split(":")
    numbers: list[float] = []
    for run in elements.split(",") if elements else []:
        n, _, k = run.partition("*")
        numbers += [float(n)] * int(k or 1)
    flat = np.array(numbers, np.float64)
    with np.errstate(over="ignore"):
        if dtype.startswith("complex"):
            flat = flat.view(np.complex128)
        kind = "float32" if dtype == "bfloat16" else dtype
        return dtype, flat.astype(kind).reshape([int(n) for n in shape.split("x") if n])


def _answer(word: str) -> tuple[Any, ...]:
    """The outcome that a line tells."""
    if " | " not in f"{word} ":
        return "error", word
    values, gradients = ([_array(w) for w in part.split()] for part in f"{word} ".split(" | "))
    return "values", values, gradients


def recorded() -> dict[str, tuple[Any, ...]]:
    """What PyTorch answered, by case."""
    lines = (line.partition("\t") for line in RECORD.read_text().splitlines())
    return {name: _answer(word) for name, _, word in lines}


if __name__ == "__main__":
    import torch

    RECORD.write_text("".join(f"{c.name}\t{_word(outcome(torch, c))}\n" for c in cases() if c.name not in KNOWN))
