"""``optimizer.state`` and its entries: who changes them is noticed, and where processes share state it is whole.

Of state that processes share an entry has nothing until somebody asks (:class:`SharedEntry`).  It is then read, all of
it, into memory of the asking process; the next step takes over its part of what was written there.  So a method beside
``step()`` works on whole parameters, on every rank alike, and none sees what another has already written.
"""

from __future__ import annotations

import sys
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...autograd import Tensor
from ...storage import Sharing
from .segments import Segment

__all__ = ["Entry", "SharedEntry", "States", "Unread", "detached", "give_back", "merged", "renew"]


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
    """One parameter's state; ``states()`` is what it is an entry of."""

    __slots__ = ("states",)
    states: Callable[[], States | None]

    def __reduce__(self) -> Any:
        return dict, (), None, None, iter(self.items())  # a copy is a plain dict


def _noting(cls: type, name: str, owner: Callable[[Any], States | None]) -> None:
    method = getattr(cls, name)

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        states = owner(self)
        if states is not None:
            states.touched = True
        return method(self, *args, **kwargs)

    setattr(cls, name, noted)


for _name in ("__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"):
    _noting(States, _name, lambda states: states)
    _noting(Entry, _name, lambda entry: entry.states())


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
            states = self.states()
            if states is not None and states.follow is not None and states.follow():
                return states[value.segment.params[value.k]][name]  # each process has a state of its own now
            if states is not None and value.segment not in states.asked:
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
        if segment.sharing is sharing:
            for name in list(segment.asked):
                _renew(states, segment, name)
    states.asked = tuple(segment for segment in states.asked if segment.asked)


def _renew(states: States, segment: Segment, name: str) -> None:
    read: list[tuple[dict[str, Any], weakref.ref[Tensor]]] = []
    for k, p in enumerate(segment.params):
        entry = states.get(p)
        value = dict.get(entry, name) if isinstance(entry, SharedEntry) else None
        if entry is not None and isinstance(value, Tensor):
            read.append((entry, weakref.ref(value)))
            dict.__setitem__(entry, name, Unread(segment, k, name, value.__dict__["_when_replaced"]))
        del value
    array = segment.asked.pop(name)
    if sys.getrefcount(array) <= 2:  # this variable and the argument
        return
    array[...] = segment.whole_state(name)
    segment.asked[name] = array
    for entry, held in read:
        tensor = held()
        if tensor is not None:
            tensor._bump()
            dict.__setitem__(entry, name, tensor)


def detached(entry: Any) -> Any:
    """``entry`` with copies of its tensors."""
    if not isinstance(entry, dict):
        return entry
    return {
        name: Tensor._wrap(value._data.copy(), None) if value.__class__ is Tensor else value
        for name, value in entry.items()
    }
