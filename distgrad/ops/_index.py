"""What an index expression means: PyTorch's reading of it, in two steps that NumPy takes alike.

Integers, slices, None and Ellipsis are taken first and give a view (``basic``); index tensors, lists and masks then
pick from that view's dimensions (``picks``).  An integer beside an index tensor is therefore a select, not one more
index array as in NumPy, and does not separate index tensors from each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd.tensor import TENSORS, unmasked

FULL = slice(None)
_PLAIN = frozenset({int, slice, type(None), type(Ellipsis)})
_INTEGERS = (int, np.integer)
_ALIKE = np.dtype(np.int64).char + "?"  # index arrays that need no conversion
_PARTS = (slice, list, tuple, range, np.ndarray)


class Steps(NamedTuple):
    """``x[basic][picks]``."""

    basic: tuple[Any, ...]
    picks: tuple[Any, ...]


def is_basic(index: Any) -> bool:
    """Whether ``index``, as :func:`clean` returned it, gives a view."""
    if index.__class__ is Steps:
        return False
    for i in index if index.__class__ is tuple else (index,):
        if i.__class__ not in _PLAIN and not isinstance(i, np.integer):
            return False
    return True


def clean(index: Any, shape: tuple[int, ...]) -> Any:
    """``index`` of a tensor of ``shape`` as NumPy takes it: a basic index, a tuple of picks alone, or both steps.

    Raises:
        IndexError: too many indices, an integer out of bounds, a mask of another shape, or what is no index.
        ValueError: a slice whose step is not positive.
    """
    terms = _terms(index)
    simple = True
    for i in terms:
        if i.__class__ in TENSORS:
            if not (i._data.ndim and i._data.dtype.char in _ALIKE):
                return _read(terms, shape)
            simple = False
        elif i.__class__ not in _PLAIN or (i.__class__ is slice and i.step is not None):
            return _read(terms, shape)
    if simple:
        # NumPy finds what is out of bounds, and explain() says it; but it takes one Ellipsis only
        return terms if len(terms) < 2 or terms.count(Ellipsis) < 2 else _read(terms, shape)
    for i in terms:
        if i.__class__ not in TENSORS and i.__class__ is not slice:
            return _read(terms, shape)
    return tuple([i._data if i.__class__ in TENSORS else i for i in terms])  # slices and arrays: read alike


def _terms(index: Any) -> tuple[Any, ...]:
    """The parts of an index: a list that holds more than numbers means a tuple, as in PyTorch."""
    if index.__class__ is tuple:
        return index
    if isinstance(index, list) and len(index) < 32:
        for i in index:
            if i is None or i is Ellipsis or i.__class__ in TENSORS or isinstance(i, _PARTS):
                return tuple(index)
    return (index,)


def explain(index: Any, shape: tuple[int, ...], error: IndexError) -> IndexError:
    """``error``, which NumPy raised for the cleaned ``index``, in PyTorch's words."""
    if index.__class__ is not Steps:
        try:
            _read(_terms(index), shape)
        except IndexError as e:
            return e
    return IndexError(str(error).replace("axis", "dimension").replace("indexing arrays", "indexing tensors"))


def _read(terms: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    if not shape and len(terms) == 1 and isinstance(terms[0], _INTEGERS) and not isinstance(terms[0], bool):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    terms = tuple([_term(i) for i in terms])
    ndim = len(shape)
    taken = sum(_width(i) for i in terms)
    if taken > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    basic: list[Any] = []
    picks: list[Any] = []
    d = 0  # of the tensor; len(picks) counts those of the view, but for masks of several
    out = 0
    full = False  # whether an Ellipsis stood for dimensions
    for n, i in enumerate(terms):
        width = _width(i)
        if i is None:
            basic.append(None)
            picks.append(FULL)
            out += 1
        elif i is Ellipsis:
            rest = ndim - taken
            taken = ndim  # a second Ellipsis stands for nothing
            if full and any(_width(j) for j in terms[n + 1 :]):  # but counts as if it stood for as much as the first
                raise IndexError(f"too many indices for tensor of dimension {ndim}: two ellipses in front of one")
            full = full or rest > 0
            basic.extend([FULL] * rest)
            picks.extend([FULL] * rest)
            d, out = d + rest, out + rest
        elif i.__class__ is slice:
            basic.append(i)
            picks.append(FULL)
            out += 1
        elif isinstance(i, bool):  # one dimension more, of size 1 or 0
            basic.append(None)
            picks.append(np.zeros(int(i), np.int64))
            out += 1
        elif isinstance(i, int):
            if not -shape[d] <= i < shape[d]:
                raise IndexError(f"index {i} is out of bounds for dimension {d} with size {shape[d]}")
            basic.append(i)
        else:
            if i.dtype == np.bool_:
                _check_mask(i, shape[d : d + width], out, shape)
            basic.extend([FULL] * width)
            picks.append(i)
            out += width
        d += width
    if all(p is FULL for p in picks):
        return tuple(basic)
    if all(b is FULL for b in basic):
        return tuple(picks)
    return Steps(tuple(basic), tuple(picks))


def _width(term: Any) -> int:
    """How many of the tensor's dimensions ``term`` speaks of."""
    if term is None or term is Ellipsis or isinstance(term, bool):
        return 0
    return term.ndim if backend.is_array(term) and term.dtype == np.bool_ else 1


def _term(i: Any) -> Any:
    """One part of an index: None, Ellipsis, a slice, a bool, an int or an array of integers or bools."""
    if i.__class__ in _PLAIN:
        if i.__class__ is slice and i.step is not None and not i.step.__index__() > 0:
            raise ValueError("step must be greater than zero")
        return i
    if i.__class__ is bool:
        return i
    if isinstance(i, _INTEGERS):
        return int(i)
    if i.__class__ in TENSORS:
        return _array(i._data)
    if isinstance(i, (np.ndarray, list, tuple, range)):
        array = i if isinstance(i, np.ndarray) else _listed(i)
        unmasked(array)
        if array.dtype.kind in "SUOMm":
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                f"a {type(i).__name__} of other things)"
            )
        return _array(array if array.dtype.char in "?B" else array.astype(np.int64, copy=False))
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(i).__name__})"
    )


def _array(array: Any) -> Any:
    kind = array.dtype.char
    if kind not in "?Bilq" and array.dtype not in (np.int64, np.int32):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if kind == "B":
        array = array != 0  # PyTorch's masks before there were bools
    if array.ndim == 0:
        return bool(array) if kind in "?B" else int(array)
    return array


def _listed(i: Any) -> Any:
    def numbers(j: Any) -> Any:
        return [numbers(k) for k in j] if isinstance(j, (list, tuple, range)) else j.item() if hasattr(j, "item") else j

    return np.asarray(numbers(i))


def _check_mask(mask: Any, part: tuple[int, ...], d: int, shape: tuple[int, ...]) -> None:
    for k, (have, want) in enumerate(zip(mask.shape, part, strict=True)):
        if have != want:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape of the indexed tensor "
                f"{list(shape)} at index {d + k}"
            )
