"""Where a leaf's gradient is written: its slot in flat storage, unless somebody still reads what lies there.

Whoever keeps a gradient (the tensor, or what shares its memory: ``.detach()``, ``.data``, a view, ``.numpy()``) keeps
its values, as in PyTorch, where a new gradient has new memory.  Who does is told by reference counts: of the slot
tensor, and of its array, which every view of it refers to (:func:`distgrad.backend.carve`).
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

import numpy as np

from ..backend.protocol import Array
from .graph import Leaf
from .tensor import DeferredGrad, Tensor

getrefcount = sys.getrefcount


def slot_over(leaf: Leaf, array: Array) -> Tensor:
    """A new slot tensor for ``leaf``, which it is until somebody gives it other memory (``p.grad.data = …``)."""
    slot = Tensor._wrap(array, None)
    mine = weakref.ref(leaf)

    def moved(t: Tensor) -> None:
        leaf = mine()
        if leaf is not None and leaf.slot is t:
            leaf.slot = None

    slot.__dict__["_when_replaced"] = moved
    leaf.slot = slot
    return slot


def inherited(leaf: Leaf, array: Array, before: Leaf | None) -> None:
    """Make the slot of ``leaf`` one over ``array``: that of ``before``, who had the place until now, if it is."""
    leaf.slot = None
    if before is not None and before is not leaf:  # frozen and thawed: somebody may have kept a gradient
        leaf.slot, before.slot = before.slot, None
    if leaf.slot is None or leaf.slot._data is not array:
        slot_over(leaf, array)


def replaced(p: Tensor, leaf: Leaf, slot: Tensor) -> None:
    """``slot``, over the same memory, replaces the slot of ``leaf``, and the gradient of ``p`` if it is that."""
    if p._grad is leaf.slot:
        p._grad = slot
    leaf.slot = slot


def place(p: Tensor) -> tuple[Any, int] | None:
    """The flat storage that ``p`` was last put into and its number there; None if there is none.

    It may have been given other memory since: :func:`distgrad.storage.home` tells.
    """
    return p.__dict__.get("_flat")


def settle(p: Tensor, storage: Any, number: int) -> None:
    """``p`` is number ``number`` of ``storage``."""
    p.__dict__["_flat"] = (storage, number)


def unshared(leaf: Leaf) -> Tensor:
    """The leaf's slot tensor, ready to be overwritten: whoever else still holds it keeps its values, in a copy.

    Where it is the memory that somebody holds, not the tensor, it stays theirs, and the storage gets another buffer.
    """
    slot = leaf.slot
    if slot.__class__ is DeferredGrad:
        if not slot.open():
            return Tensor._wrap(np.empty_like(slot._data), None)
        if leaf.slot is not slot:
            return unshared(leaf)
    elif getrefcount(slot._data) > _ALONE_ARRAY:  # type: ignore[union-attr]
        return _renewed(leaf)
    if getrefcount(slot) > _ALONE:
        assert slot is not None
        array, slot._data = slot._data, slot._data.copy()
        return slot_over(leaf, array)
    return slot  # type: ignore[return-value]


def _renewed(leaf: Leaf) -> Tensor:
    """The leaf's slot in the new gradient buffer of its storage."""
    t, slot = leaf.tensor(), leaf.slot
    assert slot is not None
    home = None if t is None else place(t)
    if home is None or not home[0].renew_gradients():
        return Tensor._wrap(slot._data.copy(), None)
    return leaf.slot  # type: ignore[return-value]


def references(t: Tensor) -> int:
    """How many refer to the array of ``t``, itself included: 1 if it is nobody else's and has no views."""
    return getrefcount(t._data) - _EXTRA


def bases(view: Array) -> int:
    """How many refer to the array that ``view`` is a view of; 1 if ``view`` alone does."""
    return getrefcount(view.base) - _EXTRA


def elements(arrays: list[Array], i: int) -> int:
    """How many refer to ``arrays[i]``, the list included."""
    return getrefcount(arrays[i]) - _EXTRA


def held(p: Tensor, here: int = 0, lists: int = 0) -> bool:
    """Whether the gradient that ``p`` has is somebody else's too, not counting ``here`` variables that hold it and
    ``lists`` that hold its array."""
    grad = p._grad
    return grad is not None and (getrefcount(grad) > _HELD + here or references(grad) > 1 + lists)


def _calibrate() -> None:
    """Find the reference counts of what is nobody else's: of a slot in :func:`unshared`, a gradient in :func:`held`."""
    global _ALONE, _HELD
    leaf = Leaf(Tensor._wrap(np.zeros(1), None))
    for _ALONE in range(1, 9):
        leaf.slot = Tensor._wrap(np.zeros(1), None)
        before = id(leaf.slot)
        unshared(leaf)
        if id(leaf.slot) == before:
            break
    p = Tensor._wrap(np.zeros(1), None)
    p._grad = Tensor._wrap(np.zeros(1), None)
    for _HELD in range(1, 9):
        if not held(p):
            return
    raise AssertionError("reference counts are not what CPython's are")


_alone = Tensor._wrap(np.zeros(1), None)
_EXTRA = getrefcount(_alone._data) - 1  # what asking adds
_ALONE_ARRAY = 2 + _EXTRA  # the slot's, and the storage's list of slots
_ALONE = _HELD = 3
_calibrate()
