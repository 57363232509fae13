"""What users see of optimizer state: ``optimizer.state[p]``, views of the flat buffers, and dicts to save.

The buffers are where state lives.  Whatever users do to ``optimizer.state`` (delete, replace, clear) is noticed at the
next step and taken over, as if the dict were all there is.
"""

from __future__ import annotations

import math
import weakref
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ... import backend
from ...autograd import Tensor
from ...autograd.tensor import TENSORS
from ...backend.protocol import Array
from .entries import Entry, SharedEntry, States, Unread
from .segments import Segment

__all__ = ["as_tensor", "begin", "cast", "extend", "host", "mark", "show", "take_over", "whole_states"]


def show(states: States, segment: Segment, k: int, counter: str | None, extra: Mapping[str, Any] = {}) -> None:
    """Let users see parameter ``k``'s state: number of steps, numbers, arrays, and what else there is of it."""
    found: dict[str, Any] = {}
    if counter is not None:
        found[counter] = _number(segment, segment.steps, k)
    for name, row in segment.numbers.items():
        found[name] = _number(segment, row, k)
    mine = weakref.ref(states)

    def replaced(_: Tensor) -> None:
        owner = mine()
        if owner is not None:
            owner.touched = True

    shared = segment.sharing is not None and segment.sharing.readable
    for name in segment.state:
        if shared:
            found[name] = Unread(segment, k, name, replaced)
            continue
        found[name] = Tensor._wrap(segment.state_of(k, name), None)
        found[name].__dict__["_when_replaced"] = replaced
    kind = SharedEntry if shared else Entry
    entry = kind({**found, **{name: value for name, value in extra.items() if name not in found}})
    entry.states = mine  # a cycle would keep state that other processes have let go of
    before = states.touched
    states[segment.params[k]] = entry
    states.touched = before


def _number(segment: Segment, row: np.ndarray, k: int) -> Tensor:
    tensor = Tensor._wrap(row[k : k + 1].reshape(()), None)
    tensor._vc = segment.cell  # a write by the user is noticed
    return tensor


def begin(segment: Segment, which: Iterable[int], starts: Mapping[str, Any]) -> None:
    """Give the parameters ``which`` the state that they start with; ``starts``: where it is not zero."""
    segment.sync()
    for k in which:
        segment.begun[k] = True
        segment.fresh -= 1
        segment.steps[k] = 0
        for name, row in segment.numbers.items():
            row[k] = starts.get(name, 0)
        for name in segment.state:
            _fill(segment, k, name, starts)
    segment.reread()


def _fill(segment: Segment, k: int, name: str, starts: Mapping[str, Any]) -> None:
    here, _, shape = segment.spot(k, name)
    part, value = segment.state[name][here], starts.get(name, 0)
    with backend.on(segment.storage.device):
        if callable(value):
            if not part.size:
                return
            array, wanted = segment.start(k, value), part.shape if segment.rule.elementwise else shape
            given = tuple(getattr(array, "shape", ()))
            if given not in ((), wanted):
                raise TypeError(
                    f"state {name!r} begins with shape {list(given)}, its parameter has {list(wanted)}; "
                    "shapes of its own need elementwise = False, and must not change"
                )
            part[...] = array.reshape(-1) if given else array
        else:
            part[...] = complex(value, value) if part.dtype.kind == "c" else value


def take_over(
    segment: Segment, k: int, entry: Mapping[str, Any], starts: Mapping[str, float], counter: str | None
) -> dict[str, Any]:
    """Make ``entry`` (ours, PyTorch's, or a user's) parameter ``k``'s state; what is left of it.

    ValueError if an array has another shape than the parameter.
    """
    left = extend(segment, k, segment.state, entry, starts)
    count = left.pop(counter, None) if counter is not None else None
    for name, row in segment.numbers.items():
        value = left.pop(name, None)
        row[k] = starts.get(name, 0) if value is None else float(host(value))
    if not segment.begun[k]:
        segment.begun[k] = True
        segment.fresh -= 1
    had_state = any(entry.get(name) is not None for name in segment.state)
    segment.steps[k] = float(host(count)) if count is not None else float(had_state)
    return left


def extend(
    segment: Segment, k: int, names: Iterable[str], entry: Mapping[str, Any], starts: Mapping[str, float]
) -> dict[str, Any]:
    """Take the arrays ``names`` of parameter ``k`` from ``entry``, or where they start; what is left of it."""
    left = dict(entry)
    for name in names:
        value = left.pop(name, None)
        if value is None:
            _fill(segment, k, name, starts)
            continue
        array = value._data if value.__class__ in TENSORS else host(value)
        here, of_whole, shape = segment.spot(k, name)
        part = segment.state[name][here]
        if array.shape == shape:
            array = array.reshape(-1)[of_whole]
        elif array.shape != part.shape or part.size == math.prod(shape):
            whose = "its parameter" if name not in segment.layouts else "its optimizer's"
            raise ValueError(f"loaded state '{name}' has shape {list(array.shape)}, {whose} {list(shape)}")
        with backend.on(segment.storage.device):
            part[...] = backend.to_device(array, segment.storage.device).astype(part.dtype)
    return left


def whole_states(segments: Iterable[Segment]) -> dict[int, dict[str, Any]]:
    """By ``id`` of its parameter, the state of which some lies with other processes, complete.

    Collective among the processes that share the segments' storages.
    """
    found: dict[int, dict[str, Any]] = {}
    for segment in segments:
        if segment.storage.assemble is None:
            if segment.partial and segment.state:
                raise RuntimeError(
                    f"this process holds optimizer state only for elements {segment.lo} to {segment.hi - 1} of "
                    f"{segment.ranges[0][0]} to {segment.ranges[-1][1] - 1}, and its storage has no assemble() that "
                    "would fetch the rest"
                )
            continue
        for name in segment.state:
            whole = segment.whole_state(name)
            if whole is None:
                continue
            if name in segment.asked:
                whole = whole.copy()  # what users hold follows later steps
            for k, p in enumerate(segment.params):
                found.setdefault(id(p), {})[name] = Tensor._wrap(segment.whole_of(k, name, whole), None)
    return found


def cast(value: Any, p: Tensor, name: str | None = None) -> Any:
    """A loaded value for an optimizer that keeps its own state: tensors in the parameter's dtype and on its device.

    A number of steps keeps its dtype, as in PyTorch; dicts and sequences are gone through.
    """
    if value.__class__ in TENSORS or hasattr(value, "detach"):
        tensor = as_tensor(value)
        if name == "step":
            return tensor.detach().clone()
        return tensor.detach().to(device=p.device, dtype=p.dtype if p.is_floating_point() else None, copy=True)
    if isinstance(value, dict):
        return {k: cast(v, p, k) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return type(value)(cast(v, p) for v in value)
    return value


def as_tensor(value: Any) -> Any:
    """PyTorch's tensor as one of ours; anything else as it is."""
    return Tensor._wrap(host(value), None) if hasattr(value, "detach") and value.__class__ not in TENSORS else value


def mark(saved: Any) -> int:
    """A number for a saved state: the same for the same values in every process, whatever holds them."""
    if isinstance(saved, Mapping):
        return zlib.crc32(repr([(str(key), mark(value)) for key, value in saved.items()]).encode())
    if saved.__class__ in TENSORS or hasattr(saved, "detach") or isinstance(saved, np.ndarray):
        array = np.ascontiguousarray(host(saved))
        return zlib.crc32(array.reshape(-1).view(np.uint8).data, zlib.crc32(repr(array.shape).encode()))
    if isinstance(saved, (list, tuple)):
        return zlib.crc32(repr([mark(value) for value in saved]).encode())
    return zlib.crc32(repr(saved).encode())


def host(value: Any) -> Array:
    """A state value (ours, PyTorch's, an array or a number) as a NumPy array."""
    if value.__class__ in TENSORS:
        return backend.to_host(value._data)
    if hasattr(value, "detach"):  # PyTorch's own tensor
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    return np.asarray(value)
