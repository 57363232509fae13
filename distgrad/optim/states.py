"""What users see of optimizer state: ``optimizer.state[p]``, views of the flat buffers, and dicts to save.

The buffers are where state lives.  Whatever users do to ``optimizer.state`` (delete, replace, clear) is noticed at the
next step and taken over, as if the dict were all there is.
"""

from __future__ import annotations

import math
import sys
import weakref
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor
from ..autograd.tensor import TENSORS
from ..backend import Array
from ..storage import Sharing
from .flat import Segment

__all__ = [
    "Entry", "States", "as_tensor", "begin", "cast", "detached", "extend", "give_back", "host", "mark", "merged",
    "renew", "show", "take_over", "whole_states",
]  # fmt: skip


class States(defaultdict[Any, Any]):
    """``optimizer.state``; ``touched`` tells that somebody else than the engine changed it or an entry.

    Attributes:
        asked: the segments of whose state, which processes share, users have asked for some.
        follow: whether they do not share it any more; then it is laid out anew.
    """

    touched = False
    asked: tuple[Segment, ...] = ()
    follow: Callable[[], bool] | None = None

    def __reduce__(self) -> Any:
        return defaultdict, (dict,), None, None, iter(self.items())


class Entry(dict[str, Any]):
    """One parameter's state."""

    __slots__ = ("states",)
    states: States

    def __reduce__(self) -> Any:
        return dict, (), None, None, iter(self.items())  # a copy is a plain dict


def _noting(cls: type, name: str, owner: Callable[[Any], States]) -> None:
    method = getattr(cls, name)

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        owner(self).touched = True
        return method(self, *args, **kwargs)

    setattr(cls, name, noted)


for _name in ("__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"):
    _noting(States, _name, lambda states: states)
    _noting(Entry, _name, lambda entry: entry.states)


class Unread:
    """In the place of state that processes share, until a user asks for it."""

    __slots__ = ("k", "name", "replaced", "segment")

    def __init__(self, segment: Segment, k: int, name: str, replaced: Callable[[Tensor], None]) -> None:
        self.segment, self.k, self.name, self.replaced = segment, k, name, replaced

    def read(self) -> Tensor:
        """The state, in its shape."""
        tensor = Tensor._wrap(self.segment.ask(self.k, self.name), None)
        tensor.__dict__["_when_replaced"] = self.replaced
        return tensor


class SharedEntry(Entry):
    """One parameter's state where processes share it: whole for whoever asks.

    What is asked for is this process's own until the next step, which takes over its part of it; then it is read anew.
    """

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value.__class__ is Unread:
            states = self.states
            if states.follow is not None and states.follow():  # each process has a state of its own now
                return states[value.segment.params[value.k]][name]
            if value.segment not in states.asked:
                states.asked = (*states.asked, value.segment)
            value = value.read()
            dict.__setitem__(self, name, value)
        return value

    def __iter__(self) -> Any:  # its own, so that dict() and ** ask for each value too
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 - that is this method

    def items(self) -> Any:
        return {name: self[name] for name in self}.items()

    def values(self) -> Any:
        return {name: self[name] for name in self}.values()

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def pop(self, name: str, *default: Any) -> Any:
        if name in self:
            self[name]  # is read
        return super().pop(name, *default)

    def popitem(self) -> Any:
        list(map(self.__getitem__, self))
        return super().popitem()

    def setdefault(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else super().setdefault(name, default)

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.copy())


def merged(entry: Any, whole: Mapping[str, Any], parts: Iterable[str] = (), copy: bool = False) -> dict[str, Any]:
    """A parameter's state with what is ``whole`` in the place of parts; what a user has asked for or put there counts.

    Args:
        parts: names of which the engine's entries have no more than a part.
        copy: what users may hold, as it is now.
    """
    if entry.__class__ is Entry:
        return {**{name: value for name, value in entry.items() if name not in parts}, **whole}
    mine = {name: value for name, value in dict.items(entry) if value.__class__ is not Unread}
    if copy:
        mine |= detached({name: value for name, value in mine.items() if name in whole})
    names = [name for name in dict.fromkeys([*dict.keys(entry), *whole]) if name in mine or name in whole]
    return {name: mine[name] if name in mine else whole[name] for name in names}


def give_back(states: States, segments: Iterable[Segment]) -> None:
    """Take over what users wrote to the state that they had asked for; ``segments``: those that there are now."""
    present = {id(segment) for segment in segments}
    states.asked = tuple(segment for segment in states.asked if id(segment) in present)
    for segment in states.asked:
        segment.give_back()


def renew(states: States, sharing: Sharing) -> None:
    """After a step of ``sharing``: what users still hold is read anew, the rest forgotten."""
    for segment in states.asked:
        if segment.sharing is not sharing:
            continue
        entries = [states.get(p) for p in segment.params]
        for name in list(segment.asked):
            left = []
            for k, entry in enumerate(entries):
                value = dict.get(entry, name) if isinstance(entry, SharedEntry) else None
                if isinstance(value, Tensor):
                    replaced = value.__dict__["_when_replaced"]
                    left.append((entry, Unread(segment, k, name, replaced), weakref.ref(value)))
                    dict.__setitem__(entry, name, left[-1][1])
                    del value
            array = segment.asked.pop(name)
            if sys.getrefcount(array) <= 2:
                continue
            array[...] = segment.whole_state(name)
            segment.asked[name] = array
            for entry, _, held in left:
                tensor = held()
                if tensor is not None:
                    tensor._bump()
                    dict.__setitem__(entry, name, tensor)
    states.asked = tuple(segment for segment in states.asked if segment.asked)


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
    entry.states = states
    before = states.touched
    states[segment.params[k]] = entry
    states.touched = before


def detached(entry: Any) -> Any:
    """``entry`` with copies of its tensors."""
    if not isinstance(entry, dict):
        return entry
    return {
        name: Tensor._wrap(value._data.copy(), None) if value.__class__ is Tensor else value
        for name, value in entry.items()
    }


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
            if np.shape(array) not in ((), wanted):
                raise TypeError(
                    f"state {name!r} begins with shape {list(np.shape(array))}, its parameter has {list(wanted)}; "
                    "shapes of its own need elementwise = False, and must not change"
                )
            part[...] = array.reshape(-1) if np.shape(array) else array
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
    return Tensor(host(value)) if hasattr(value, "detach") and value.__class__ not in TENSORS else value


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
