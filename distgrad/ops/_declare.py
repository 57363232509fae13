"""What op files share: attaching methods, and reading their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from .. import backend, dtypes
from .._arguments import checked, in_rule, kind_of, misfit, whole
from ..autograd.tensor import TENSORS, Tensor

F = TypeVar("F", bound=Callable[..., Any])

# What users may give.  In a rule's first derivative the same functions are called on arrays, which are Any to the
# checker.
Number = int | float | complex
Operand = Tensor | Number
Dims = int | Sequence[int] | None  # None: all
DType = dtypes.dtype | np.dtype | type | str | None  # None: the default, or the input's
Device = backend.device | str | int | None  # likewise


def method(*names: str, check: bool = True) -> Callable[[F], F]:
    """Make the function a method of Tensor, under its own name or the ones given; it is :func:`checked`, unless it is
    called so often that this would cost and finds by itself what is wrong with its arguments."""

    def attach(function: F) -> F:
        made = checked(function) if check else function
        for name in names or (function.__name__,):
            setattr(Tensor, name, made)
        return made

    return attach


def in_float32(forward: F) -> F:
    """Let a forward function compute float16 and bfloat16 in float32 and round its result, as PyTorch does."""

    @functools.wraps(forward)
    def widened(xp: Any, x: Any, *options: Any) -> Any:
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
            return forward(xp, x.astype(np.float32), *options).astype(x.dtype)
        return forward(xp, x, *options)

    return cast(F, widened)


def wide(x: Any) -> Any:
    """An array of half precision in float32, in which PyTorch computes; anything else as it is."""
    kind = getattr(x, "dtype", None)
    return x if kind is None or kind.itemsize != 2 or kind.kind not in "fV" else x.astype(np.float32)


def of_floats(forward: F, nothing: bool = False) -> F:
    """:func:`in_float32`, and NotImplementedError for integers, bools and complex numbers (``nothing``: for some)."""
    wide = in_float32(forward)

    @functools.wraps(forward)
    def checked(xp: Any, x: Any, *options: Any) -> Any:
        if x.dtype.char in "fd":
            return forward(xp, x, *options)
        if x.dtype.kind in "biuc":
            if nothing and not x.size:
                return x.copy()
            raise unknown(forward.__name__, x)
        return wide(xp, x, *options)

    return cast(F, checked)


def in_type_of(g: Any, x: Any) -> Any:
    """``x``, where it is an array or a tensor of integers or bools, in the type of the gradient ``g``: an operand of
    another type than the result's, which its rule reads as it was given.  Small integers would overflow there."""
    if not hasattr(x, "dtype") or raw(x).dtype.kind not in "biu":
        return x
    kind = raw(g).dtype
    return x.to(dtypes.from_numpy_dtype(kind)) if x.__class__ in TENSORS else x.astype(kind)


def noun(x: Any) -> str:
    """PyTorch's word for the element type of a tensor or array: ``"Long"``, ``"Float"``, …"""
    return dtypes.from_numpy_dtype(raw(x).dtype).tensor_type[:-6]


def unknown(name: str, x: Any) -> NotImplementedError:
    """What PyTorch says of an operation that knows no numbers such as those of ``x``."""
    return NotImplementedError(f"\"{name.strip('_')}\" not implemented for '{noun(x)}'")


def attach(name: str, value: Any) -> None:
    """Give Tensor the method or property ``value`` under ``name``."""
    setattr(Tensor, name, value)


def raw(value: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    return value._data if value.__class__ in TENSORS else value


def ndim_of(x: Any) -> int:
    """The rank of a tensor or array."""
    return x._data.ndim if x.__class__ in TENSORS else array(x).ndim


def named(function: str, names: dict[str, Any], *known: str) -> Any:
    """The one argument in ``names``, if its name is among ``known``; else TypeError."""
    for name in known:
        if name in names and len(names) == 1:
            return names[name]
    wrong = next(name for name in names if name not in known or len(names) > 1)
    raise TypeError(f"{function}() got an unexpected keyword argument '{wrong}'")


def numbers_first(*names: str, methods: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Take, as PyTorch does still, the old order of arguments, in which the numbers ``names`` stand before the tensors:
    ``addcmul(input, value, tensor1, tensor2)``.  The function becomes the ``methods``, too."""

    def decorate(function: F) -> F:
        n = getattr(function, "__wrapped__", function).__code__.co_argcount

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            if len(args) > n:
                numbers = [a for a in args if a.__class__ not in TENSORS]
                if len(numbers) == len(args) - n <= len(names):
                    kwargs = {**kwargs, **dict(zip(names, numbers))}  # noqa: B905 - there may be fewer
                    args = tuple([a for a in args if a.__class__ in TENSORS])
            return function(*args, **kwargs)

        for name in methods:
            setattr(Tensor, name, called)
        return cast(F, called)

    return decorate


_ASIDE = ("layout", "pin_memory", "memory_format")


def aside(function: str, names: dict[str, Any]) -> None:
    """Take from ``names`` what says how memory is laid out, which is always row by row, and not pinned; TypeError for
    what remains, NotImplementedError for a layout that is none of memory."""
    layout = names.get("layout")
    if layout is not None and str(layout) != "torch.strided":
        raise NotImplementedError(f"{function}() makes tensors of layout torch.strided only, not of {layout}")
    for name in names:
        if name not in _ASIDE:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")


def sized(function: str, shape: tuple[Any, ...], names: dict[str, Any]) -> tuple[Any, ...]:
    """The sizes that ``shape`` gives, or ``size`` among ``names``, of which the others are put :func:`aside`."""
    if "size" in names:
        if shape:
            raise TypeError(f"{function}() got multiple values for argument 'size'")
        shape = (names.pop("size"),)
    aside(function, names)
    return shape


def array(x: Any) -> Any:
    """The array of a tensor, or, in a rule, an array itself; TypeError for anything else."""
    if x.__class__ in TENSORS:
        return x._data
    if in_rule() and hasattr(x, "dtype"):
        return x
    raise misfit(x)


def axis(dim: Any, ndim: int) -> int:
    """``dim`` checked and made non-negative; a zero-dimensional tensor has dimensions -1 and 0."""
    n = ndim if ndim else 1
    d = dim if dim.__class__ is int else whole(dim)
    if not -n <= d < n:
        whole(d)  # one beyond int64 is another error
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})")
    return d + n if d < 0 else d


def axes(dim: Any, ndim: int) -> tuple[int, ...] | None:
    """``dim`` (a number, several, or None for all) as checked axes; None when all are meant."""
    if dim is None:
        return None
    if isinstance(dim, (tuple, list)):
        if not dim:
            return None
        found = tuple([axis(d, ndim) for d in dim])
        if len(set(found)) != len(found):
            raise RuntimeError(f"dim {found[0]} appears multiple times in the list of dims")
        return found if ndim else None
    d = axis(dim, ndim)
    return (d,) if ndim else None


def sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    return tuple([a if a.__class__ is int else size(a) for a in args])


def size(value: Any) -> int:
    """One size, as an integer; TypeError, naming function and argument, for what is none."""
    return int(value) if isinstance(value, bool) else whole(value, "tuple of ints")


def keeps(keepdim: Any) -> bool:
    """``keepdim``, if it is a bool."""
    if keepdim.__class__ is bool:
        return bool(keepdim)
    if isinstance(keepdim, np.bool_):
        return bool(keepdim)
    raise misfit(keepdim, "bool")


def needs_tensor(x: Any, name: str) -> Any:
    """``x``, if it is a tensor or (inside a rule) an array."""
    if x.__class__ in TENSORS or (in_rule() and backend.is_array(x)):
        return x
    raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {kind_of(x)}")
