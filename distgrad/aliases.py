"""Who else sees a tensor's memory: told by what refers to its array, and to the arrays that it is a view of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from . import backend
from .autograd import Tensor
from .autograd.gradient_slots import bases, references
from .backend.protocol import Array

__all__ = ["seen_elsewhere"]


def seen_elsewhere(params: Sequence[Tensor], known: Callable[[Tensor], int | None]) -> list[bool]:
    """For each parameter whether its memory is seen otherwise than through it, so that moving would cut somebody off.

    What refers to its array is counted: tensors (``.data``, ``.detach()``, a parameter tied to it), views, and arrays
    of the user that it is itself a view of.  Slices of one array that ``params`` alone divide among them are their own.
    Garbage that only the collector finds counts as somebody, which is never wrong, only slower.

    Args:
        known: how many refer to a parameter's array that are told when it moves, itself included; None where it is an
            array like any other, of which nobody is.
    """
    counts = [known(p) for p in params]
    free = [p for p, count in zip(params, counts, strict=True) if count is None]
    parts = Counter(base for _, base in {edge for p in free for edge in _edges(p._data)})
    seen = [
        references(p) > (1 if count is None else count) or (count is None and _watched(p._data, parts))
        for p, count in zip(params, counts, strict=True)
    ]
    ends: dict[int, int] = {}  # of arrays that are divided: where the last part ended, and whose it was
    last: dict[int, int] = {}
    divided = [k for k, p in enumerate(params) if parts.get(id(p._data.base), 0) > 1]
    bounds = {k: _bounds(params[k]) for k in divided}
    for k in sorted(divided, key=bounds.__getitem__):
        whole, (lo, hi) = id(params[k]._data.base), bounds[k]
        if lo < ends.get(whole, lo):
            seen[k] = seen[last[whole]] = True
        if hi >= ends.get(whole, hi):
            ends[whole], last[whole] = hi, k
    return seen


def _edges(array: Array) -> Iterator[tuple[int, int]]:
    """(a view, what it is a view of), by ``id``, for ``array`` and all that it is a view of."""
    while backend.is_array(array.base):
        yield id(array), id(array.base)
        array = array.base


def _watched(array: Array, parts: Mapping[int, int]) -> bool:
    """Whether what ``array`` is a view of is referred to by more than ``parts``."""
    while array.base is not None:
        if not backend.is_array(array.base):  # a file, bytes, another library's memory
            return bool(array.flags.writeable)
        if bases(array) > parts[id(array.base)]:
            return True
        array = array.base
    return False


def _bounds(p: Tensor) -> tuple[int, int]:
    """The first and the behind last byte of ``p`` in memory."""
    lo = hi = p.data_ptr()
    if p.numel() == 0:
        return lo, hi
    for n, step in zip(p._data.shape, p._data.strides, strict=True):
        lo, hi = lo + min(step * (n - 1), 0), hi + max(step * (n - 1), 0)
    return lo, hi + p.itemsize
