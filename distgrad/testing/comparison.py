"""Whether two values, or nested containers of them, are close: PyTorch's ``testing.assert_close``."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from .. import backend, dtypes
from ..autograd import Tensor
from ..ops.creation import as_tensor

__all__ = ["assert_close"]

_TOLERANCES = {  # (rtol, atol); of other types numbers must be equal
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7), dtypes.complex64: (1.3e-6, 1e-5), dtypes.complex128: (1e-7, 1e-7),
}  # fmt: skip
_OF_NUMBERS = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}


class _Options(NamedTuple):
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_layout: bool
    check_stride: bool


class _Pair(NamedTuple):
    """Two values to compare, and where in the containers they are."""

    kind: str
    actual: Any
    expected: Any
    place: tuple[Any, ...]


def _unfit(actual: Any, expected: Any) -> TypeError:
    return TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )


def _at(place: tuple[Any, ...]) -> str:
    where = "".join(f"[{key!r}]" for key in place)
    return f"\n\nThe failure occurred for item {where}" if place else ""


def _items(actual: Any, expected: Any, place: tuple[Any, ...]) -> list[tuple[Any, Any, Any]]:
    """(key, value, value) of two containers; AssertionError where they do not have the same keys."""
    if isinstance(actual, Mapping):
        missing = [key for key in expected if key not in actual]
        extra = [key for key in actual if key not in expected]
        if missing or extra:
            raise AssertionError(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(extra, key=str)}" + _at(place)
            )
        keys: Any = sorted(actual, key=str)
    else:
        if len(actual) != len(expected):
            raise AssertionError(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}" + _at(place))
        keys = range(len(actual))
    return [(key, actual[key], expected[key]) for key in keys]


def _is_number(value: Any) -> bool:
    return isinstance(value, (Number, np.number)) and not isinstance(value, (bool, np.bool_))


def _related(actual: Any, expected: Any, allow_subclasses: bool) -> bool:
    """Whether one is of the other's type."""
    if allow_subclasses:
        return isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    return type(actual) is type(expected)


def _pairs(actual: Any, expected: Any, allow_subclasses: bool, place: tuple[Any, ...] = ()) -> list[_Pair]:
    """What there is to compare, in order; TypeError for what cannot be."""
    for kind in (Sequence, Mapping):
        if isinstance(actual, kind) and isinstance(expected, kind) and not isinstance(actual, (str, bytes)):
            found = []
            for key, a, b in _items(actual, expected, place):
                found += _pairs(a, b, allow_subclasses, (*place, key))
            return found
    if actual is None or expected is None:
        return [_Pair("none", actual, expected, place)]
    if all(isinstance(v, (bool, np.bool_)) for v in (actual, expected)):
        return [_Pair("bool", bool(actual), bool(expected), place)]
    if _is_number(actual) and _is_number(expected):
        return [_Pair("number", actual, expected, place)]
    arrays = isinstance(actual, Tensor) or backend.is_array(actual)
    if arrays and _related(actual, expected, allow_subclasses):
        return [_Pair("tensor", as_tensor(actual), as_tensor(expected), place)]
    raise _unfit(actual, expected)


def _tolerances(kinds: Sequence[dtypes.dtype], options: _Options) -> tuple[float, float]:
    if options.rtol is not None and options.atol is not None:
        return options.rtol, options.atol
    found = [_TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds]
    return max(r for r, _ in found), max(a for _, a in found)


def _verdict(what: str, rtol: float, atol: float) -> str:
    return f"{what} are not {'equal' if rtol == 0 and atol == 0 else 'close'}!"


def _up_to(limit: float, rtol: float, atol: float) -> str:
    return "" if rtol == 0 and atol == 0 else f" (up to {limit} allowed)"


def _compare_numbers(actual: Any, expected: Any, rtol: float, atol: float, equal_nan: bool) -> str | None:
    """What is wrong with two numbers, or None."""
    if actual == expected:
        return None
    difference = abs(actual - expected)
    if equal_nan and cmath.isnan(actual) and cmath.isnan(expected):
        return None
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return None
    relative = float("inf") if expected == 0 else difference / abs(expected)
    return (
        f"{_verdict('Scalars', rtol, atol)}\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_up_to(atol, rtol, atol)}\n"
        f"Relative difference: {relative}{_up_to(rtol, rtol, atol)}"
    )


def _attributes(a: Tensor, b: Tensor, options: _Options) -> str | None:
    """What tensors have beside values, and must have alike."""
    checks = [
        ("shape", a.shape, b.shape, True), ("layout", a.layout, b.layout, options.check_layout),
        ("device", a.device, b.device, options.check_device), ("dtype", a.dtype, b.dtype, options.check_dtype),
    ]  # fmt: skip
    if options.check_stride and not (a.is_sparse or b.is_sparse):
        checks.append(("stride()", a.stride(), b.stride(), True))
    for name, x, y, wanted in checks:
        if wanted and x != y:
            return f"The values for attribute {name!r} do not match: {x} != {y}."
    return None


def _differing(x: np.ndarray, y: np.ndarray, rtol: float, atol: float, equal_nan: bool) -> np.ndarray:
    """Where host arrays of one dtype are not close."""
    if x.dtype.kind in "biu" and rtol == 0 and atol == 0:
        return np.asarray(x != y)
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    p, q = x.astype(wide), y.astype(wide)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.isfinite(q) & (abs(p - q) <= atol + rtol * abs(q))
    close = (p == q) | near
    if equal_nan:
        close |= np.isnan(p) & np.isnan(q)
    return np.asarray(~close)


def _greatest(kind: str, values: np.ndarray, differing: np.ndarray, limit: str) -> str:
    """The line of a message on the greatest of the differences ``values``."""
    shown = np.where(differing, values, values.dtype.type(0))
    at = int(np.argmax(shown))
    index = tuple(int(i) for i in np.unravel_index(at, values.shape))
    return f"Greatest {kind} difference: {shown.reshape(-1)[at].item()} at index {index}{limit}"


def _compare_tensors(pair: _Pair, options: _Options) -> str | None:
    a, b = pair.actual.detach(), pair.expected.detach()
    wrong = _attributes(a, b, options)
    if wrong is not None:
        return wrong
    rtol, atol = _tolerances((a.dtype, b.dtype), options)
    if a.is_sparse or b.is_sparse:
        a, b = (t.to_dense() if t.is_sparse else t for t in (a, b))
    x, y = (backend.to_host(t._data) for t in (a, b))
    if dtypes.is_float8(x.dtype) or dtypes.is_float8(y.dtype):
        x, y = x.astype(np.float32), y.astype(np.float32)
    elif x.dtype != y.dtype:
        kind = dtypes.promote_types(a.dtype, b.dtype).np
        x, y = x.astype(kind), y.astype(kind)
    differing = _differing(x, y, rtol, atol, options.equal_nan)
    if not differing.any():
        return None
    if x.size == 1 and x.ndim == 0:
        return _compare_numbers(a.item(), b.item(), rtol, atol, options.equal_nan)
    if x.dtype.kind in "biu":
        x, y = x.astype(np.int64), y.astype(np.int64)
    with np.errstate(all="ignore"):
        absolute = np.asarray(abs(x - y))
        divisor = abs(y).astype(np.float32) if y.dtype.kind == "i" else abs(y)
        relative = np.asarray((absolute / divisor).astype(divisor.dtype))
    if absolute.dtype.kind == "V":
        absolute, relative = absolute.astype(np.float32), relative.astype(np.float32)
    count, total = int(differing.sum()), differing.size
    return (
        f"{_verdict('Tensor-likes', rtol, atol)}\n\nMismatched elements: {count} / {total} ({count / total:.1%})\n"
        + _greatest("absolute", absolute, differing, _up_to(atol, rtol, atol))
        + "\n"
        + _greatest("relative", relative, differing, _up_to(rtol, rtol, atol))
    )


def _wrong(pair: _Pair, options: _Options) -> str | None:
    """What is wrong with a pair, or None."""
    a, b = pair.actual, pair.expected
    if pair.kind == "none":
        return None if a is b else f"None mismatch: {a} is not {b}"
    if pair.kind == "bool":
        return None if a is b else f"Booleans mismatch: {a} is not {b}"
    if pair.kind == "number":
        if options.check_dtype and type(a) is not type(b):
            return f"The (d)types do not match: {type(a)} != {type(b)}."
        kinds = [_OF_NUMBERS.get(type(v)) or dtypes.scalar_dtype(v) for v in (a, b)]
        return _compare_numbers(a, b, *_tolerances(kinds, options), options.equal_nan)
    return _compare_tensors(pair, options)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise where ``actual`` is not close to ``expected``: \\|actual - expected\\| <= atol + rtol \\|expected\\|.

    Both are tensors, NumPy arrays, numbers, bools, None, or sequences and mappings of these, nested at will.

    Args:
        allow_subclasses: whether types may differ where one is a subclass of the other.
        rtol, atol: both or none; by default by the dtype (float32 1.3e-6 and 1e-5, float64 both 1e-7, integers 0).
        equal_nan: whether NaN is close to NaN.
        check_device, check_dtype, check_layout, check_stride: whether those must be the same; shapes must always.
        msg: in place of the message, or a function of it.

    Raises:
        AssertionError: they are not close; the message says how many elements, and where they differ most.
        TypeError: values of types that are not compared with each other.
        ValueError: one of ``rtol`` and ``atol`` without the other.

    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6]))
    >>> torch.testing.assert_close(torch.tensor([1, 2]), torch.tensor([1, 3]))
    Traceback (most recent call last):
    AssertionError: Tensor-likes are not equal!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 1 at index (1,)
    Greatest relative difference: 0.3333333432674408 at index (1,)
    """
    if (rtol is None) != (atol is None):
        missing = "atol" if atol is None else "rtol"
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}."
        )
    options = _Options(rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride)
    for pair in _pairs(actual, expected, allow_subclasses):
        wrong = _wrong(pair, options)
        if wrong is not None:
            text = wrong + _at(pair.place)
            raise AssertionError(text if msg is None else msg(text) if callable(msg) else msg)
