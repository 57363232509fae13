"""Choosing between values: where, clamp, comparison, logic."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd import Tensor, primitive
from ..autograd.errors import mismatched
from ..autograd.promotion import as_held
from ..autograd.recording import watched
from ..autograd.tensor import TENSORS
from ._choosing import chosen
from ._declare import Operand, attach, in_float32, method, noun, raw, unknown
from ._limits import at_least, at_most, between
from ._numbers import fitting
from ._pieces import in_pieces

__all__ = [
    "allclose", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "clamp", "clamp_max", "clamp_min",
    "clip", "eq", "equal", "ge", "greater", "greater_equal", "gt", "is_tensor", "isclose", "isfinite", "isinf",
    "isnan", "le", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "ne",
    "not_equal", "where",
]  # fmt: skip


@primitive(promote="same", grad_name="WhereBackward0")
def _where(xp, x, y, condition):
    return chosen(xp, condition, x, y)


_where.defvjp(
    lambda g, ans, x, y, condition: _where(g, 0.0, condition),
    lambda g, ans, x, y, condition: _where(0.0, g, condition),
    saves="",
)


@method("_where_method")
def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Any:
    """``input`` where ``condition`` (bool) is true, else ``other``, with broadcasting.

    With ``condition`` alone: the indices of its true elements, one tensor a dimension.

    >>> torch.where(torch.tensor([True, False]), torch.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    mask = raw(condition)
    if getattr(mask, "dtype", None) == np.uint8:  # PyTorch's masks before there were bools
        mask = mask != 0
    if input is None and other is None:
        xp = backend.array_module(mask)
        return tuple(Tensor._wrap(i, None) for i in xp.nonzero(xp.atleast_1d(mask)))  # of no dimension: as of one
    if getattr(mask, "dtype", None) != np.bool_ and not isinstance(mask, (bool, np.bool_)):
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {mask.dtype}")
    in_rule = condition.__class__ not in TENSORS
    if not in_rule:
        input, other = _plain(input), _plain(other)
        input, other = _fitted(input, other), _fitted(other, input)
    if in_rule or input.__class__ in TENSORS or other.__class__ in TENSORS:
        out = _where(input, other, mask)
        return out if in_rule else watched(out, condition)
    from .creation import tensor

    out = _where(tensor(input, device=backend.device_of(mask)), other, mask)  # two numbers: the mask gives the shape
    return out


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's, as PyTorch takes it: it does not tell the dtype."""
    return value.item() if isinstance(value, np.generic) else value


def _fitted(value: Any, other: Any) -> Any:
    """A number beside ``other``: beside a tensor of integers an integer of that type, and none that float32 cannot hold
    where the result is one."""
    if value.__class__ is int and other.__class__ in TENSORS and other._data.dtype.kind in "iu":
        return fitting(value, other._data.dtype)
    if value.__class__ is float and not -3e38 < value < 3e38:
        wide = other.dtype if other.__class__ in TENSORS and other.dtype.category == 2 else dtypes.get_default_dtype()
        return fitting(value, wide.np if wide.itemsize > 2 else np.dtype(np.float32))
    return value


attach("where", lambda self, condition, other: where(condition, self, other))


@primitive("_clamp", promote="same", grad_name="ClampBackward0")
def _clamp(xp, x, low, high):
    if x.dtype.kind == "c":
        raise RuntimeError("clamp is not supported for complex types")
    if x.dtype.kind == "b" and (isinstance(low, bool | np.bool_) or isinstance(high, bool | np.bool_)):
        raise unknown("clamp", x)  # limits that are tensors are taken
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


def _inside(x: Any, low: Any, high: Any) -> Any:
    keep = x >= low if low is not None else x == x
    return keep if high is None else keep & (x <= high)


_clamp.defvjp(
    lambda g, ans, x, low, high: _where(g, 0.0, raw(_inside(x, low, high))),
    lambda g, ans, x, low, high: _where(g, 0.0, raw(x < low if high is None else (x < low) & (low < high))),
    lambda g, ans, x, low, high: _where(g, 0.0, raw(x > high if low is None else (x > high) | (high < low))),
    saves="x low high",
)
_clamp.primitive.fitting_number = True


@primitive(promote=None, grad_name="ClampBackward1")
@in_float32
def _clamp_numbers(xp, x, low, high):
    if low is None:
        return at_most(xp, x, high)
    return at_least(xp, x, low) if high is None else between(xp, x, low, high)


_clamp_numbers.defvjp(
    in_pieces(lambda g, ans, x, low, high: _where(g, 0.0, raw(_inside(x, low, high)))), saves="x"
)


@method("clamp", "clip")
def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """``input`` limited to [``min``, ``max``]; either may be None, a number or a tensor.

    >>> torch.clamp(torch.tensor([-1.0, 0.5, 2.0]), min=0.0, max=1.0)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input.__class__ in TENSORS and input._data.dtype.kind == "f" and _modest(min) and _modest(max):
        return _clamp_numbers(input, min, max)
    min, max = _limits(input, min, max)
    numbers = isinstance(min, (int, float, type(None))) and isinstance(max, (int, float, type(None)))
    return (_clamp_numbers if numbers and input.dtype.is_floating_point else _clamp)(input, min, max)


def _modest(limit: Any) -> bool:
    """Whether every floating-point type holds the limit."""
    return limit is None or ((limit.__class__ is float or limit.__class__ is int) and -3e4 <= limit <= 3e4)


def _limits(input: Tensor, *limits: Any) -> list[Any]:
    """The limits as numbers of the dtype that the result has, and not of the input's; RuntimeError where that cannot
    hold them."""
    given = [_plain(limit) for limit in limits]
    common = dtypes.result_type(
        [
            (dtypes.scalar_dtype(x), 0) if x.__class__ not in TENSORS else (x.dtype, 2 if x._data.ndim else 1)
            for x in (input, *given)
            if x is not None
        ]
    )
    return [fitting(x, common.np) if isinstance(x, (int, float)) else x for x in given]


clip = clamp


def _held(limit: Any, x: Tensor) -> Any:
    """A number as a limit of half precisions: rounded to theirs; RuntimeError for one too large."""
    if limit.__class__ in (int, float) and x._data.dtype.itemsize == 2 and x.dtype.is_floating_point:
        return as_held(limit, x.dtype, True)
    return limit


@method("clamp_min")
def clamp_min(input: Tensor, min: Operand) -> Tensor:
    """``input``, at least ``min``.

    >>> torch.clamp_min(torch.tensor([-1.0, 2.0]), 1.0)
    tensor([1., 2.])
    """
    return clamp(input, min=min)


@method("clamp_max")
def clamp_max(input: Tensor, max: Operand) -> Tensor:
    """``input``, at most ``max``.

    >>> torch.clamp_max(torch.tensor([-1.0, 2.0]), 1.0)
    tensor([-1.,  1.])
    """
    return clamp(input, max=max)


@method("clamp_", "clip_")
def clamp_(self: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """In place: limit to [``min``, ``max``]."""
    from ..autograd.views import write

    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    min, max = _limits(self, min, max)
    numbers = isinstance(min, (int, float, type(None))) and isinstance(max, (int, float, type(None)))
    chosen = _clamp_numbers if numbers and self.dtype.is_floating_point else _clamp
    return write(chosen.primitive, self, (min, max), {})


def _comparison(name: str, ufunc: str, words: str, answer: str) -> Any:
    """``answer`` is that of [1, 2, 3] and 2, for the example."""
    ordered = name not in ("eq", "ne")

    def forward(xp, x, y):
        if ordered and (x if hasattr(x, "dtype") else y).dtype.kind == "c":
            raise unknown(name, x if hasattr(x, "dtype") else y)
        return getattr(xp, ufunc)(x, y)

    forward.__name__ = name
    forward.__doc__ = (
        f"``{name}(input, other)``: whether input {words} other, elementwise (bool).\n\n"
        f"    >>> torch.{name}(torch.tensor([1, 2, 3]), 2)\n    tensor([{answer}])\n    "
    )
    return primitive(name, f"__{name}__", ufunc, promote="same")(forward)


eq = _comparison("eq", "equal", "equals", "False,  True, False")
ne = _comparison("ne", "not_equal", "differs from", " True, False,  True")
lt = _comparison("lt", "less", "is less than", " True, False, False")
le = _comparison("le", "less_equal", "is at most", " True,  True, False")
gt = _comparison("gt", "greater", "is greater than", "False, False,  True")
ge = _comparison("ge", "greater_equal", "is at least", "False,  True,  True")
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def _tolerant(compare: Any, other_answer: bool) -> Any:
    def method(self, other):
        try:
            return compare(self, other)
        except TypeError:
            if isinstance(other, np.ndarray):
                raise
            return other_answer  # what is neither a tensor nor a number equals none

    return method


attach("__eq__", _tolerant(eq.operator, False))
attach("__ne__", _tolerant(ne.operator, True))


@method("equal")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements, as a Python bool.

    >>> torch.equal(torch.tensor([1, 2]), torch.tensor([1, 2]))
    True
    """
    x, y = raw(input), raw(other)
    with backend.where_it_lies(x):
        return x.shape == y.shape and bool((x == y).all())


# Of the examples in docstrings: operands, by how names begin, and answers.
_GIVEN = {
    "bi": "torch.tensor([6, 5])", "lo": "torch.tensor([True, False])",
    "is": "torch.tensor([1.0, torch.inf, torch.nan])",
}  # fmt: skip
_OTHER = {"bi": "torch.tensor([3, 4])", "lo": "torch.tensor([True, True])"}
_SHOWN = {
    "bitwise_and": "2, 4", "bitwise_or": "7, 5", "bitwise_xor": "5, 1", "bitwise_not": "-7, -6",
    "logical_and": " True, False", "logical_or": "True, True", "logical_xor": "False,  True",
    "logical_not": "False,  True", "isfinite": " True, False, False", "isnan": "False, False,  True",
    "isinf": "False,  True, False",
}  # fmt: skip


def _logic(name: str, methods: tuple[str, ...], ufunc: str, words: str, arity: int) -> Any:
    bits = name.startswith("bitwise")
    kernel = {"bitwise_left_shift": "lshift", "bitwise_right_shift": "rshift"}.get(name, name)

    def checked(x: Any) -> Any:
        if bits and x.dtype.kind not in ("iu" if "shift" in name else "biu"):
            kind = dtypes.from_numpy_dtype(x.dtype).tensor_type.removesuffix("Tensor")
            raise NotImplementedError(f"\"{kernel}_cpu\" not implemented for '{kind}'")
        return x

    if arity == 1:

        def forward(xp, x):
            return getattr(xp, ufunc)(checked(x))
    else:

        def forward(xp, x, y):  # type: ignore[misc]
            if x is None or y is None:
                raise TypeError(f"unsupported operand type(s) for {name}: 'Tensor' and 'NoneType'")
            checked(x if hasattr(x, "dtype") else y)
            return getattr(xp, ufunc)(x, y)

    forward.__name__ = name
    forward.__doc__ = f"``{name}(input{', other' * (arity - 1)})``: {words}, elementwise."
    if name in _SHOWN:
        arguments = _GIVEN[name[:2]] + (f", {_OTHER[name[:2]]}" if arity == 2 else "")
        forward.__doc__ += f"\n\n    >>> torch.{name}({arguments})\n    tensor([{_SHOWN[name]}])\n    "
    inplace = bits and name + "_"
    made = primitive(name, inplace or name, *methods, promote="same")(forward)
    if name.startswith("logical"):
        attach(name + "_", _overwriting(name, made))
    return made


def _overwriting(name: str, function: Any) -> Any:
    def method(self: Any, *other: Any) -> Tensor:
        return self.copy_(function(self, *other))  # a bool is of any dtype, and requires no gradient

    method.__name__ = method.__qualname__ = name + "_"
    method.__doc__ = f"In-place version of :func:`{name}`, in the dtype of ``self``."
    return method


bitwise_and = _logic("bitwise_and", ("__and__", "__rand__", "__iand__"), "bitwise_and", "and of bits", 2)
bitwise_or = _logic("bitwise_or", ("__or__", "__ror__", "__ior__"), "bitwise_or", "or of bits", 2)
bitwise_xor = _logic("bitwise_xor", ("__xor__", "__rxor__", "__ixor__"), "bitwise_xor", "exclusive or of bits", 2)
bitwise_not = _logic("bitwise_not", (), "invert", "complement of bits", 1)


@method("__invert__")
def _invert(self: Tensor) -> Tensor:
    """The complement of bits; TypeError but for integers and bools."""
    if self._data.dtype.kind not in "biu":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return bitwise_not(self)


_LEFT = "bits moved to the left: times 2 to the power of other"
_RIGHT = "bits moved to the right: divided by 2 to the power of other, rounded down"
_SHIFT = ("__lshift__", "__rlshift__", "__ilshift__"), ("__rshift__", "__rrshift__", "__irshift__")
bitwise_left_shift = _logic("bitwise_left_shift", _SHIFT[0], "left_shift", _LEFT, 2)
bitwise_right_shift = _logic("bitwise_right_shift", _SHIFT[1], "right_shift", _RIGHT, 2)
logical_and = _logic("logical_and", (), "logical_and", "whether both are non-zero", 2)
logical_or = _logic("logical_or", (), "logical_or", "whether one is non-zero", 2)
logical_xor = _logic("logical_xor", (), "logical_xor", "whether just one is non-zero", 2)
logical_not = _logic("logical_not", (), "logical_not", "whether it is zero", 1)
isfinite = _logic("isfinite", (), "isfinite", "whether finite", 1)
isnan = _logic("isnan", (), "isnan", "whether NaN", 1)
isinf = _logic("isinf", (), "isinf", "whether infinite", 1)


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor.

    >>> torch.is_tensor(torch.ones(1)), torch.is_tensor(1.0)
    (True, False)
    """
    return isinstance(obj, Tensor)


@method("isclose")
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Elementwise ``|input - other| <= atol + rtol * |other|`` (bool).

    >>> torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    x, y = raw(input), raw(other)
    if x.dtype != y.dtype:
        raise RuntimeError(f"{noun(input)} did not match {noun(other)}")
    error = mismatched("isclose", (x, y))
    if error is not None:
        raise error
    for name, bound in (("rtol", rtol), ("atol", atol)):
        if bound < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {bound}")
    xp = backend.array_module(x)
    with backend.where_it_lies(x):
        return Tensor._wrap(xp.asarray(xp.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)), None)


@method("allclose")
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close (:func:`isclose`), as a Python bool.

    >>> torch.allclose(torch.tensor([1.0]), torch.tensor([1.0 + 1e-9]))
    True
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())
