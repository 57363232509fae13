"""One row a case: an operation written once, for distgrad and PyTorch alike, and what to feed it.

A row's function takes the module (``distgrad`` or ``torch``) and the inputs: since the names are the same, the text
that is under test is the text of the oracle.  Inputs are :class:`Make` recipes: the same values in any dtype and
module.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Make:
    """An input: ``kind`` says which values, ``shape`` how many.

    Kinds: ``real`` normal; ``positive`` in [0.5, 2.5); ``unit`` in (-0.9, 0.9); ``above1`` in [1.2, 3); ``apart``
    no two equal, none near 0, 1/2 or an integer; ``index`` 0, 1, 2, …; ``bool``; ``small`` in [0.1, 0.9);
    ``constant`` as ``positive``, but never requires grad; ``values`` those given in ``data``.
    """

    kind: str
    shape: tuple[int, ...] = ()
    data: Any = None

    def array(self, dtype: str, salt: int = 0) -> np.ndarray:
        """The values as a NumPy array of ``dtype`` (bool and index inputs keep theirs)."""
        rng = np.random.default_rng(zlib.crc32(repr((self.kind, self.shape, salt)).encode()))
        if self.kind == "index":
            return np.asarray(self.data, np.int64)
        if self.kind == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        if self.kind == "values":
            return np.asarray(self.data).astype(dtype)

        def draw() -> np.ndarray:
            if self.kind == "real":
                return rng.standard_normal(self.shape)
            if self.kind == "apart":
                n = int(np.prod(self.shape))
                return (rng.permutation(n) - n // 2 + 0.29).reshape(self.shape)
            low, high = {
                "positive": (0.5, 2.5),
                "constant": (0.5, 2.5),
                "unit": (-0.9, 0.9),
                "above1": (1.2, 3.0),
                "small": (0.1, 0.9),
            }[self.kind]
            return rng.uniform(low, high, self.shape)

        values = draw()
        if dtype.startswith("complex"):
            values = values + 1j * draw()
        return np.asarray(values).astype(dtype)


def R(*shape: int) -> Make:
    return Make("real", shape)


def P(*shape: int) -> Make:
    return Make("positive", shape)


def U(*shape: int) -> Make:
    return Make("unit", shape)


def A(*shape: int) -> Make:
    return Make("apart", shape)


def S(*shape: int) -> Make:
    return Make("small", shape)


def G(*shape: int) -> Make:
    return Make("above1", shape)


def B(*shape: int) -> Make:
    return Make("bool", shape)


def I(*values: Any) -> Make:  # noqa: E743
    return Make("index", data=values[0] if len(values) == 1 else list(values))


def K(*shape: int) -> Make:
    return Make("constant", shape)


def V(*values: Any) -> Make:
    return Make("values", data=list(values))


@dataclass(frozen=True)
class Row:
    """An operation and its cases.

    Attributes:
        call: ``call(t, *inputs)``, t the module.
        cases: tuples of :class:`Make`.
        second: whether second derivatives are checked by finite differences (False where the first are constant and
            PyTorch gives no graph, or a kink is met).
        smooth: whether finite differences make sense at these inputs at all; where not, PyTorch is the oracle.
        complex: whether complex inputs are taken.
        half: whether float16 and bfloat16 are compared with PyTorch.
        exact: values must be equal, not close (what only moves or compares elements).
        tolerance: how far float64 may be from PyTorch's, where PyTorch itself computes with float32 constants.
    """

    name: str
    call: Callable[..., Any]
    cases: tuple[tuple[Make, ...], ...]
    second: bool = True
    smooth: bool = True
    complex: bool = False
    half: bool = True
    exact: bool = False
    tolerance: float | None = None


def row(name: str, call: Callable[..., Any], *cases: Any, **flags: Any) -> Row:
    """A row; a case of one input need not be a tuple."""
    return Row(name, call, tuple(c if isinstance(c, tuple) else (c,) for c in cases), **flags)


def outputs(result: Any) -> list[Any]:
    """The tensors of a result: one, or those of a tuple."""
    return [result] if hasattr(result, "dtype") else [r for r in result if hasattr(r, "dtype")]


def differentiable(x: Any) -> bool:
    return x.dtype.is_floating_point or x.dtype.is_complex
