"""An optimizer's elementwise mathematics as one program: what ``update()`` does to arrays, written down by running it.

``update()`` is called with stand-ins for its arrays (:class:`Traced`) and for the array module (:class:`Functions`);
each operation becomes one line.  Python decides by the options, as always, so the lines are those of this call; numbers
are kept apart from the lines, so that a learning rate or a step count that changes gives the same program with other
numbers.  On a device the program is one kernel that reads and writes each array once (:func:`source`), where each
operation would be a kernel of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backend.protocol import Kernel

__all__ = ["Functions", "NotTraceable", "Program", "Traced", "replay", "source", "trace"]


class NotTraceable(Exception):
    """``update()`` does something that has no line; the message says what."""


# Each operation in C, of operands {0}, {1}, {2}; results of those in _CONDITIONS are bool.
_C: dict[str, str] = {
    "absolute": "fabs({0})",
    "add": "{0} + {1}",
    "copysign": "copysign({0}, {1})",
    "divide": "{0} / {1}",
    "equal": "{0} == {1}",
    "exp": "exp({0})",
    "expm1": "expm1({0})",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "isfinite": "isfinite({0})",
    "isnan": "isnan({0})",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "log": "log({0})",
    "log1p": "log1p({0})",
    "logical_and": "{0} && {1}",
    "logical_not": "!{0}",
    "logical_or": "{0} || {1}",
    "maximum": "{0} >= {1} || isnan({0}) ? {0} : {1}",  # NaN, if either is, as NumPy's
    "minimum": "{0} <= {1} || isnan({0}) ? {0} : {1}",
    "multiply": "{0} * {1}",
    "negative": "-{0}",
    "not_equal": "{0} != {1}",
    "power": "pow({0}, {1})",
    "reciprocal": "1 / {0}",
    "sign": "isnan({0}) ? {0} : ({0} > 0) - ({0} < 0)",
    "sqrt": "sqrt({0})",
    "square": "{0} * {0}",
    "subtract": "{0} - {1}",
    "tanh": "tanh({0})",
    "where": "{0} ? {1} : {2}",
}
_CONDITIONS = {
    "equal", "greater", "greater_equal", "isfinite", "isnan", "less", "less_equal", "logical_and", "logical_not",
    "logical_or", "not_equal",
}  # fmt: skip
_SAME = {"abs": "absolute", "true_divide": "divide", "float_power": "power", "fabs": "absolute"}
_UNDEFINED = -1

Operand = tuple[str, int]  # ("x", array), ("c", number) or ("v", line)
Line = tuple[str, tuple[Operand, ...]]


class Program(NamedTuple):
    """``lines``, of which line ``i`` has the value ``v i``, and for each array that is written its value at the end."""

    arrays: int
    numbers: int
    lines: tuple[Line, ...]
    results: tuple[tuple[int, Operand], ...]


class Traced:
    """An array's stand-in: the operand that it is at the moment."""

    def __init__(self, tape: _Tape, operand: Operand) -> None:
        self._tape, self._operand = tape, operand

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Traced:
        """A NumPy scalar on the left of an operator; NumPy's own functions are not for device arrays."""
        operation = _SAME.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options or operation not in _C or not isinstance(operands[0], np.generic):
            raise NotTraceable(f"numpy.{ufunc.__name__}")
        return self._tape.line(operation, *operands)

    @property
    def dtype(self) -> np.dtype:
        return self._tape.dtype

    @property
    def real(self) -> Traced:
        return self

    def conj(self) -> Traced:
        return self

    conjugate = conj

    def copy(self) -> Traced:
        return Traced(self._tape, self._tape.operand(self))

    def astype(self, dtype: Any, copy: bool = True) -> Traced:
        if np.dtype(dtype) != self.dtype:
            raise NotTraceable(f"astype({dtype})")
        return self.copy() if copy else self

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is not Ellipsis and key != slice(None):
            raise NotTraceable(f"an assignment to [{key!r}]")
        self._operand = self._tape.operand(value)

    def fill(self, value: Any) -> None:
        self[...] = value

    def __bool__(self) -> bool:
        raise NotTraceable("a decision by an array's values")

    def __len__(self) -> int:
        raise NotTraceable("an array's length")

    def __getattr__(self, name: str) -> Any:
        raise NotTraceable(f"an array's {name}")

    def __getitem__(self, key: Any) -> Traced:
        if key is not Ellipsis and key != slice(None):
            raise NotTraceable(f"an array's part [{key!r}]")
        return self


def _operator(name: str, operation: str) -> None:
    def forward(self: Traced, *others: Any) -> Traced:
        return self._tape.line(operation, self, *others)

    def reflected(self: Traced, other: Any) -> Traced:
        return self._tape.line(operation, other, self)

    def inplace(self: Traced, other: Any) -> Traced:
        return self._tape.line(operation, self, other, out=self)

    setattr(Traced, f"__{name}__", forward)
    if operation not in _CONDITIONS and operation not in ("negative", "absolute"):
        setattr(Traced, f"__r{name}__", reflected)
        setattr(Traced, f"__i{name}__", inplace)


for _name, _operation in {
    "abs": "absolute", "add": "add", "and": "logical_and", "eq": "equal", "ge": "greater_equal", "gt": "greater",
    "invert": "logical_not", "le": "less_equal", "lt": "less", "mul": "multiply", "ne": "not_equal", "neg": "negative",
    "or": "logical_or", "pow": "power", "sub": "subtract", "truediv": "divide",
}.items():  # fmt: skip
    _operator(_name, _operation)


class _Tape:
    """The lines so far."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.lines: list[Line] = []
        self.numbers: list[float] = []

    def operand(self, value: Any) -> Operand:
        if isinstance(value, Traced):
            if value._operand[1] == _UNDEFINED:
                raise NotTraceable("reading scratch before it was written")
            return value._operand
        if isinstance(value, (bool, int, float, np.integer, np.floating)):
            self.numbers.append(float(value))
            return "c", len(self.numbers) - 1
        raise NotTraceable(f"an operand of type {type(value).__name__}")

    def line(self, operation: str, *operands: Any, out: Traced | None = None) -> Traced:
        if operation == "power" and isinstance(operands[1], (int, float)) and operands[1] == 2:
            operation, operands = "square", operands[:1]  # as NumPy does
        self.lines.append((operation, tuple([self.operand(x) for x in operands])))
        made: Operand = ("v", len(self.lines) - 1)
        if out is None:
            return Traced(self, made)
        out._operand = made
        return out


class Functions:
    """The array module's stand-in."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = _SAME.get(name, name)
        if operation not in _C:
            raise NotTraceable(f"xp.{name}")
        return functools.partial(self._tape.line, operation)

    def copyto(self, out: Traced, value: Any, where: Any = True) -> None:
        if where is True:
            out[...] = value
        else:
            self._tape.line("where", where, value, out, out=out)

    def zeros_like(self, x: Traced) -> Traced:
        return self._tape.line("multiply", 0.0, 1.0)

    def clip(self, x: Any, low: Any, high: Any, out: Traced | None = None) -> Traced:
        return self._tape.line("minimum", self._tape.line("maximum", x, low), high, out=out)


def trace(
    update: Callable[..., None], dtype: np.dtype, arrays: int, scratch: int, options: dict[str, Any]
) -> tuple[Program, list[float]]:
    """What ``update(xp, *arrays, *scratch, **options)`` does, and the numbers it does it with.

    Raises NotTraceable where there is no line for something it does.
    """
    tape = _Tape(dtype)
    given = [Traced(tape, ("x", i)) for i in range(arrays)]
    update(Functions(tape), *given, *[Traced(tape, ("x", _UNDEFINED)) for _ in range(scratch)], **options)
    results = tuple([(i, x._operand) for i, x in enumerate(given) if x._operand != ("x", i)])
    return Program(arrays, len(tape.numbers), tuple(tape.lines), results), tape.numbers


@functools.cache
def source(program: Program, dtype: np.dtype, name: str) -> Kernel:
    """The program as a kernel: arrays ``x``, numbers ``c``, and lines ``v`` in CUDA's C."""
    kind = np.dtype(dtype).name
    written = [i for i, _ in program.results]
    read = [i for i in range(program.arrays) if i not in written]
    used = {operand for _, operands in program.lines for operand in operands} | {o for _, o in program.results}
    text = []
    for i, (operation, operands) in enumerate(program.lines):
        value = _C[operation].format(*[f"{letter}{k}" for letter, k in operands])
        if ("v", i) in used:
            text.append(f"{'bool' if operation in _CONDITIONS else kind} v{i} = {value};")
    text += [f"x{i} = {letter}{k};" for i, (letter, k) in program.results]
    inputs = [f"{kind} x{i}" for i in read] + [f"{kind} c{i}" for i in range(program.numbers)]
    return Kernel(
        f"distgrad_{name}",
        ", ".join(inputs),
        ", ".join(f"{kind} x{i}" for i in written),
        " ".join(text),
        tuple(read),
        tuple(written),
        functools.partial(replay, program),
    )


def replay(program: Program, module: Any, arrays: Sequence[Any], numbers: Sequence[float]) -> list[Any]:
    """The program run by a module of NumPy's functions: for each array that is written, its new values."""
    values: list[Any] = []

    def of(operand: Operand) -> Any:
        letter, k = operand
        return arrays[k] if letter == "x" else numbers[k] if letter == "c" else values[k]

    for operation, operands in program.lines:
        values.append(getattr(module, operation)(*[of(o) for o in operands]))
    return [of(operand) for _, operand in program.results]
