"""Whether what users give is what a function takes: tensors, sizes, dimensions, numbers, ranges.

The one place for it.  A function's annotations say what its parameters take: :func:`checked` reads them, once, and
refuses anything else in PyTorch's words before the function begins.  What is called so often that even this would cost
has no such wrapper: its own reading of an argument fails, and :func:`misfit` finds the name of the argument then.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, NoneType
from typing import Any, TypeVar, cast

import numpy as np

from . import backend, dtypes
from .autograd.grad_mode import recording
from .autograd.tensor import TENSORS

__all__ = [
    "checked", "in_rule", "integer", "is_number", "kind_of", "let_take_out", "misfit", "number", "one_of", "sizes_of",
    "steps", "tensors_of", "whole", "wrong",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])
_LARGEST = 2**63 - 1
_WIDE = "Overflow when unpacking long long"


def kind_of(value: Any) -> str:
    """PyTorch's word for the type of ``value``: ``"str"``, ``"numpy.ndarray"``, …"""
    kind = type(value)
    if kind in TENSORS and kind.__name__ in ("Tensor", "Parameter"):
        return kind.__name__
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def in_rule() -> bool:
    """Whether a backward pass is running in this thread, whose rules compute on raw arrays."""
    return recording.callbacks is not None


# --- what there is --------------------------------------------------------------------------------------------------


def _is_tensor(x: Any) -> bool:
    return x.__class__ in TENSORS


def _is_whole(x: Any) -> bool:
    if x.__class__ in TENSORS:
        return x._data.size == 1 and x._data.dtype.kind in "iu"
    return isinstance(x, int | np.integer) and not isinstance(x, bool)


def _is_number(x: Any) -> bool:
    if x.__class__ in TENSORS:
        return x._data.ndim == 0
    return isinstance(x, int | float | complex | np.number | np.bool_)


def _is_real(x: Any) -> bool:
    return _is_number(x) and not isinstance(x, complex | np.complexfloating)


def _is_operand(x: Any) -> bool:
    return x.__class__ in TENSORS or _is_number(x)


def _is_bool(x: Any) -> bool:
    return isinstance(x, bool | np.bool_)


def _is_several(x: Any) -> bool:
    return isinstance(x, tuple | list) and all(_is_whole(d) or isinstance(d, bool) for d in x)


def _is_sizes(x: Any) -> bool:
    return _is_whole(x) or _is_several(x)


def _are_tensors(x: Any) -> bool:
    return isinstance(x, tuple | list) and all(map(_is_tensor, x))


def _is_dtype(x: Any) -> bool:
    return x is None or isinstance(x, dtypes.dtype | np.dtype | type | str)


def _is_device(x: Any) -> bool:
    return x is None or isinstance(x, backend.device | str | int)


def _is_generator(x: Any) -> bool:
    return hasattr(x, "manual_seed") and hasattr(x, "get_state")


# what an annotation takes: PyTorch's word for it, the test, and classes that pass it untried
_Kind = tuple[str, Callable[[Any], bool], Iterable[type]]
_NUMBERS = (int, float, bool, complex)
_KINDS: dict[str, _Kind] = {
    "Tensor": ("Tensor", _is_tensor, ()),
    "int": ("int", _is_whole, (int,)),
    "float": ("Number", _is_real, (float, int)),
    "Number": ("Number", _is_number, _NUMBERS),
    "Operand": ("Tensor or Number", _is_operand, _NUMBERS),
    "Tensor | float": ("Tensor or Number", _is_operand, _NUMBERS),
    "bool": ("bool", _is_bool, (bool,)),
    "str": ("str", lambda x: isinstance(x, str), (str,)),
    "Dims": ("tuple of ints", lambda x: x is None or _is_sizes(x), (NoneType, int)),
    "Dims | bool": ("tuple of ints", lambda x: x is None or isinstance(x, bool) or _is_sizes(x), (NoneType, bool, int)),
    "int | Sequence[int]": ("tuple of ints", _is_sizes, (int,)),
    "Sequence[int]": ("tuple of ints", _is_several, ()),
    "int | Tensor": ("int", lambda x: _is_whole(x) or _is_tensor(x), (int,)),
    "Sequence[Tensor]": ("tuple of Tensors", _are_tensors, ()),
    "random.Generator": ("torch.Generator", _is_generator, ()),
    "DType": ("torch.dtype", _is_dtype, (NoneType, dtypes.dtype)),
    "Device": ("torch.device", _is_device, (NoneType, str, backend.device)),
    "Generator": ("torch.Generator", _is_generator, ()),
}  # fmt: skip

# NumPy's names of arguments, which PyTorch takes, too
_NUMPYS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}

# what Python code takes for true or false in PyTorch, too
_TRUTHS = frozenset({"inplace", "size_average", "reduce", "full", "foreach", "error_if_nonfinite"})


class _Anything:
    """A set that has everything."""

    def __contains__(self, x: object) -> bool:
        return True


_ANYTHING: Any = _Anything()


class _TensorsAnd:
    """The classes of tensors, subclasses to come included, and ``others``."""

    def __init__(self, others: Iterable[type]) -> None:
        self.others = frozenset(others)

    def __contains__(self, kind: Any) -> bool:
        return kind in TENSORS or kind in self.others


class _Parameter:
    """What one parameter of a function takes."""

    def __init__(self, name: str, position: int | None, annotation: Any) -> None:
        self.name, self.position = name, position
        optional = isinstance(annotation, str) and annotation.endswith(" | None")
        kind = _KINDS.get(annotation.removesuffix(" | None")) if isinstance(annotation, str) else None
        if kind is None or (name in _TRUTHS and kind[0] == "bool"):
            self.word, self.test = "", None
            return
        self.word, self.test, quick = kind
        self.converts = "Tensor" not in annotation  # of which a tensor stays one
        self.optional = optional = optional or name == "requires_grad"  # None is no, as in PyTorch
        if annotation == "Tensor":
            self.quick = TENSORS  # itself: subclasses enter it as they are made
        else:
            known = [*quick, *([NoneType] if optional else [])]
            self.quick = _TensorsAnd(known) if self.word.startswith("Tensor") else frozenset(known)

    test: Callable[[Any], bool] | None
    converts = True
    quick: Any = _ANYTHING

    def settled(self, function: str, value: Any, by_position: bool) -> Any:
        """``value``, of one of the types that the function's body knows; TypeError or ValueError for any other."""
        if self.test is None or (value is None and self.optional):
            return value
        if not self.test(value):
            raise wrong(function, self.name, self.position if by_position else None, self.word, value)
        if self.word == "int" and self.converts and value.__class__ is not int and _is_whole(value):
            value = value.__index__()
        elif self.word == "Number" and (value.__class__ in TENSORS or isinstance(value, np.generic)):
            value = value.item()
        if self.word == "int" and value.__class__ is int and not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"{function}(): argument '{self.name}': {_WIDE}: {value}")
        return value


def wrong(function: str, name: str, position: int | None, word: str, value: Any) -> TypeError:
    """PyTorch's error for an argument of another type; an element of the wrong type in a sequence is named."""
    place = f" (position {position})" if position is not None else ""
    if word == "tuple of Tensors" and isinstance(value, tuple | list):
        k = next((k for k, x in enumerate(value) if not _is_tensor(x)), 0)
        index = 0 if position is None else position - 1
        found = f"expected Tensor as element {k} in argument {index}, but got {kind_of(value[k])}"
        return TypeError(f"{function}(): argument '{name}'{place}: {found}")
    if word == "tuple of ints" and isinstance(value, tuple | list):
        at = next((k for k, x in enumerate(value) if not _is_whole(x) and not isinstance(x, bool)), None)
        found = f", but found element of type {kind_of(value if at is None else value[at])}"
        found += "" if at is None else f" at pos {at + 1}"
        return TypeError(f"{function}(): argument '{name}'{place} must be tuple of ints{found}")
    return TypeError(f"{function}(): argument '{name}'{place} must be {word}, not {kind_of(value)}")


def _parameters(function: Callable[..., Any]) -> tuple[list[_Parameter], dict[str, _Parameter]]:
    code: CodeType = function.__code__
    kinds = function.__annotations__
    n, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    by_position = [_Parameter(name, k + 1, kinds.get(name)) for k, name in enumerate(code.co_varnames[:n])]
    others = [_Parameter(name, None, kinds.get(name)) for name in code.co_varnames[n:named]]
    return by_position, {p.name: p for p in (*by_position, *others)}


_TAKE_OUT: dict[Callable[..., Any], list[Callable[..., Any]]] = {}


def let_take_out(function: Callable[..., Any], writer: Callable[..., Any]) -> bool:
    """Let ``function``, if it is :func:`checked`, hand its ``args`` and ``kwargs`` to ``writer`` where ``out`` is among
    them; whether it is."""
    takes_out = _TAKE_OUT.get(function)
    if takes_out is not None:
        takes_out[:] = [writer]
    return takes_out is not None


def checked(function: F) -> F:
    """Refuse, before ``function`` begins, what its annotations do not take; numbers come as Python's own.

    Raises:
        TypeError: an argument of another type.
        ValueError: an integer beyond int64.
    """
    by_position, by_name = _parameters(function)
    quick = tuple([p.quick for p in by_position])
    named = {name: p.quick for name, p in by_name.items()}
    name = function.__name__

    numpys = {theirs: ours for theirs, ours in _NUMPYS.items() if ours in named and theirs not in named}
    takes_out: list[Callable[..., Any]] = []  # what writes a result into ``out``, where the function takes it

    def renamed(kwargs: dict[str, Any]) -> dict[str, Any]:
        """With our names in the place of NumPy's, unless both are given."""
        return {k if numpys.get(k, k) in kwargs else numpys[k]: a for k, a in kwargs.items()}

    def settled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [p.settled(name, a, True) for p, a in zip(by_position, args)]  # noqa: B905 - args may be fewer, or more
        return (*given, *args[len(given) :]), {
            k: by_name[k].settled(name, a, False) if k in by_name else a for k, a in kwargs.items()
        }

    @functools.wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        try:
            for a, classes in zip(args, quick):  # noqa: B905
                if a.__class__ not in classes:
                    if kwargs and not kwargs.keys() <= named.keys():
                        if takes_out and "out" in kwargs:
                            return takes_out[0](args, kwargs)
                        kwargs = renamed(kwargs)
                    if recording.callbacks is None:  # rules are our own, and compute on arrays
                        args, kwargs = settled(args, kwargs)
                    return function(*args, **kwargs)
            for k in kwargs:
                if k not in named:
                    if takes_out and "out" in kwargs:
                        return takes_out[0](args, kwargs)
                    if numpys.get(k, k) not in kwargs:
                        return checking(*args, **renamed(kwargs))
                elif kwargs[k].__class__ not in named[k] and recording.callbacks is None:
                    if takes_out and "out" in kwargs:
                        return takes_out[0](args, kwargs)
                    args, kwargs = settled(args, kwargs)
                    break
            return function(*args, **kwargs)
        except OverflowError:
            raise ValueError(f"{name}(): {_WIDE}") from None

    _TAKE_OUT[checking] = takes_out
    return cast(F, checking)


# --- where an argument's own reading failed -------------------------------------------------------------------------


def misfit(value: Any, word: str = "Tensor") -> TypeError:
    """The error for ``value``, which somewhere below a public function turned out not to be ``word``.

    The function is the outermost one of an operation that was called with it, and the argument the one that is it.
    """
    frame: FrameType | None = sys._getframe(1)
    found = None
    while frame is not None and frame.f_globals.get("__name__", "").startswith("distgrad."):
        found = _told(frame, value) or found
        frame = frame.f_back
    function, name, position = found or ("operation", "input", None)
    if word == "int" and _is_whole(value):
        return TypeError(f"{function}(): argument '{name}': {_WIDE}: {value}")
    if word == "tuple of ints" and position is not None and position < 1:
        return wrong(function, name, None, word, value)
    return wrong(function, name, position, word, value)


def _told(frame: FrameType, value: Any) -> tuple[str, str, int | None] | None:
    """Of a function that was called with ``value``: its name, the argument's and its position."""
    module, code, there = frame.f_globals["__name__"], frame.f_code, frame.f_locals
    if not module.startswith(("distgrad.ops", "distgrad.nn.functional", "distgrad.autograd.", "distgrad.nn.init")):
        return None
    if "prim" in there and code.co_name == "call":
        args = there["args"] if "args" in there else [there.get(k) for k in code.co_varnames[: code.co_argcount]]
        for k, a in enumerate(args):
            if a is value:
                prim = there["prim"]
                name = prim.inputs[k] if k < len(prim.inputs) else "input"
                name = {"x": "input", "y": "other"}.get(name, name)
                if prim.public is None:
                    return prim.name.strip("_"), name, k + 1
                function, names = prim.public
                return function, name, names.index(name) + 1
        return None
    if code.co_name.startswith("_") or code.co_name in ("called", "checking", "forward", "settled", "elsewhere"):
        return None
    n = code.co_argcount
    for k, name in enumerate(code.co_varnames[: n + code.co_kwonlyargcount]):
        if there.get(name) is value:
            return code.co_name, name, k + 1 if k < n else None
    for k, name in enumerate(code.co_varnames[: n + code.co_kwonlyargcount + bool(code.co_flags & 4)]):
        held = there.get(name)
        if isinstance(held, tuple | list) and any(a is value for a in held):
            return code.co_name, name, None if k < n else n + 1
    return None


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number: Python's, NumPy's, or a tensor without dimensions."""
    return _is_real(value)


def tensors_of(tensors: Any) -> tuple[Any, ...]:
    """``tensors``, a tuple or list of tensors, as a tuple; TypeError, naming the function, for anything else."""
    if not isinstance(tensors, tuple | list):
        raise misfit(tensors, "tuple of Tensors")
    for x in tensors:
        if x.__class__ not in TENSORS and recording.callbacks is None:
            raise misfit(tensors, "tuple of Tensors")
    return tuple(tensors)


def whole(value: Any, word: str = "int") -> int:
    """``value`` as an integer; TypeError, naming function and argument, for what is none."""
    if not _is_whole(value):
        raise misfit(value, word)
    n = int(value.__index__())
    if not -_LARGEST <= n <= _LARGEST:
        raise ValueError(f"{_WIDE}: {n}")
    return n


# --- options of classes ---------------------------------------------------------------------------------------------


def _interval(low: float, high: float, above: bool, below: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "a finite number"
    if high == math.inf:
        return f"a finite number {'greater than' if above else 'of at least'} {low:g}"
    return f"in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"


def number(
    owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, above: bool = False,
    below: bool = False,
) -> Any:  # fmt: skip
    """``value``, the option ``name`` of ``owner``, if it is a finite number from ``low`` to ``high``.

    Args:
        above: ``low`` itself is not allowed.
        below: nor ``high``.

    Raises:
        TypeError: no real number.  ValueError: out of the range, which is named; NaN is out of any.
    """
    if not _is_real(value):
        raise TypeError(f"{owner}: {name} must be a number, not {kind_of(value)} ({value!r})")
    x = value.item() if value.__class__ in TENSORS else value
    if not (low <= x <= high and not math.isinf(x)) or (above and x == low) or (below and x == high):
        raise ValueError(f"{owner}: {name} must be {_interval(low, high, above, below)}, but got {value}")
    return value


def integer(owner: str, name: str, value: Any, low: int | None = None, high: int | None = None) -> Any:
    """``value``, the option ``name`` of ``owner``, if it is an integer from ``low`` to ``high``.

    TypeError: no integer.  ValueError: out of the range, which is named.
    """
    if not _is_whole(value):
        raise TypeError(f"{owner}: {name} must be an integer, not {kind_of(value)} ({value!r})")
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"in [{low}, {high}]"
        raise ValueError(f"{owner}: {name} must be {span}, but got {value}")
    return value


def sizes_of(owner: str, **given: Any) -> None:
    """TypeError unless each of ``given``, sizes of a layer's parameters, is an integer; RuntimeError below 0."""
    for name, value in given.items():
        if not (isinstance(value, bool) or _is_whole(value)):
            raise TypeError(f"{owner}(): argument '{name}' must be int, not {kind_of(value)}")
        if value < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {value}: {owner}'s {name}")
        if value > _LARGEST:
            raise ValueError(f"{owner}(): argument '{name}': {_WIDE}: {value}")


def steps(owner: str, name: str, value: Any, low: int = 1) -> Any:
    """``value``, a count of steps: :func:`number`, at least ``low``, and no fraction (``10.0`` is none)."""
    number(owner, name, value, low)
    if value != int(value):
        raise ValueError(f"{owner}: {name} must be a whole number of at least {low}, but got {value}")
    return value


def one_of(owner: str, name: str, value: Any, known: tuple[str, ...]) -> Any:
    """``value``, if it is one of the words ``known``; else ValueError, naming them."""
    if not (isinstance(value, str) and value in known):
        raise ValueError(f"{owner}: {name} must be one of {', '.join(map(repr, known))}, but got {value!r}")
    return value
