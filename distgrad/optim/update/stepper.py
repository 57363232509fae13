"""How an optimizer's update gets done: groups laid out in flat storage, options read, pieces stepped, state kept.

:class:`Engine` is the part of :class:`~distgrad.optim.Optimizer` that nobody subclassing it needs to know.
"""

from __future__ import annotations

import functools
import weakref
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ... import storage
from ...autograd.tensor import Tensor
from ..hooks import Hooked
from . import state_views
from .calling import _is_constant, _number, _same, _share, _stable, _uphill, _where_it_lies
from .common_sums import Postponed
from .contract import refuse_names, refuse_unknown
from .device_kernel import fused
from .entries import States, detached, merged
from .pieces import Piece, Rule
from .segments import NONE_MADE, Segment, Start, segments_of

__all__ = ["Engine"]

_PRIME = 2**61 - 1
_WAYS = {"foreach", "fused", "capturable", "differentiable"}  # options that choose nothing here


class Engine(Hooked):
    """Steps the groups of an optimizer; its class attributes are explained there."""

    defaults: dict[str, Any] = {}
    state: Any = ()
    numbers: ClassVar[Mapping[str, float | str]] = {}
    exact: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    scratch: ClassVar[int] = 0
    one_pass: ClassVar[int] = 0
    counter: ClassVar[str | None] = "step"
    gradients: ClassVar[str] = "dense"
    advance: ClassVar[Callable[..., dict[str, float]] | None] = None
    common: ClassVar[Mapping[str, float | str]] = {}
    sums: ClassVar[tuple[str, ...]] = ()

    param_groups: list[dict[str, Any]]
    check: Callable[[dict[str, Any]], None]
    update: Callable[..., None]
    measure: Callable[..., Sequence[Any]]
    conclude: Callable[..., dict[str, float]]
    slots: Callable[[dict[str, Any]], tuple[str, ...]]

    # what a subclass declares, read once for the class
    _reads: ClassVar[tuple[str, ...]] = ()  # the keyword-only parameters of update()
    _advance_reads: ClassVar[tuple[str, ...]] = ()  # and of advance()
    _names: ClassVar[tuple[str, ...]] = ()  # the state arrays
    _starts: ClassVar[Mapping[str, Any]] = {}  # where they and the numbers start
    _made: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # the keyword-only parameters of the functions among those
    _measure_reads: ClassVar[tuple[str, ...]] = ()
    _conclude_reads: ClassVar[tuple[str, ...]] = ()
    _own_update: ClassVar[bool] = False
    _own_slots: ClassVar[bool] = False
    _own_step: ClassVar[bool] = False

    # --- layout -----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What is not part of an optimizer's own state: it is made anew when one is copied."""
        self._states = self.state = self._new_states()
        self._segments: list[list[Segment]] = []
        self._sharings: list[storage.Sharing] = []  # those of the segments' storages
        self._changes = -1  # storage.changes when that was found out
        self._laid: list[tuple[Tensor, ...]] = []  # the parameters that the segments were made for
        self._straight: list[bool] = []  # whether they are one segment's, in its order
        self._known: list[dict[str, Any]] = []  # the groups that these lists are for
        self._cached: list[tuple[Any, dict[str, Any]] | None] = []  # hyperparameters and the options made of them
        self._taken_over: Mapping[Any, Any] = {}  # state taken over since the last step, where its update is shared
        self._common_steps = 0  # how many were made with others who share the update
        self._loaded = 0  # a number for the state that was loaded last, and when
        self._meet: Callable[[], None] | None = None  # called in a shared step before the first update
        self._digest: int | None = None  # what those who share an update compare; None: it may have changed
        cls = type(self)
        self._rule = Rule(cls.elementwise, cls.scratch, cls.one_pass, tuple(cls.numbers), cls.exact)
        given = {"step", *cls.numbers, *cls.common}
        made = [name for names in cls._made.values() for name in names]
        asked = dict.fromkeys((*cls._reads, *cls._advance_reads, *cls._measure_reads, *cls._conclude_reads, *made))
        self._hyper = tuple(name for name in asked if name not in given and name in self.defaults)
        # slots() may look at any option; what is compared at each step must have it all
        wanted = (self.defaults.keys() - _WAYS) if cls._own_slots else {*self._hyper, "maximize"}
        self._keys = tuple(k for k in self.defaults if k in wanted)
        if self._by_engine():
            refuse_names(cls, self.defaults, self._names)
            refuse_unknown(cls, self.defaults, given, made)
        self._wants_step = "step" in cls._reads
        self._advances = cls.advance is not None
        self._shown = cls.counter is not None

    def _by_engine(self) -> bool:
        """Whether the flat engine updates; False for a subclass in PyTorch's way, whose state is its own affair."""
        return self._own_update or not self._own_step

    def _add_room(self) -> None:
        self._segments.append([])
        self._laid.append(())
        self._straight.append(False)
        self._cached.append(None)
        self._known.append(self.param_groups[len(self._known)])
        if self._by_engine():
            self._lay_out(len(self._segments) - 1)

    def _regroup(self) -> None:
        """Follow :attr:`param_groups`, to which somebody added, or from which somebody took, by hand."""
        rooms = {id(g): i for i, g in enumerate(self._known)}
        before: tuple[Any, ...] = self._segments, self._laid, self._straight, self._cached
        self._segments, self._laid, self._straight, self._cached, self._known = [], [], [], [], []
        after: tuple[Any, ...] = self._segments, self._laid, self._straight, self._cached
        self._digest, self._changes = None, -1
        for group in self.param_groups:
            i = rooms.get(id(group))
            if i is None:
                self._add_room()
                if self._by_engine():
                    self._options(len(self._known) - 1, group)
                    self._take_over(len(self._known) - 1, self.state)
            else:
                self._known.append(group)
                for new, old in zip(after, before, strict=True):
                    new.append(old[i])

    def _lay_out(self, i: int) -> None:
        """Put group ``i`` into flat storage and find its segments."""
        params = self.param_groups[i]["params"]
        self._cached[i] = self._digest = None
        self._laid[i] = tuple(params)
        found = segments_of(params, storage.flatten(params), self._rule) if params else []
        self._segments[i], self._straight[i] = found, len(found) == 1 and _same(params, found[0].params)

    def _resettled(self, i: int) -> list[Segment]:
        """Lay group ``i`` out anew and take the state along."""
        if any(old.partial and old.state for old in self._segments[i]):
            whole = state_views.whole_states(self._segments[i])
            names = {name for old in self._segments[i] for name in old.state}
            for p in self.param_groups[i]["params"]:
                if self.state.get(p):  # of arrays that others had no part of yet, what was loaded, or they start anew
                    loaded = {name: v for name, v in self._taken_over.get(p, {}).items() if name in names}
                    self.state[p] = merged(self.state[p], {**loaded, **whole.get(id(p), {})}, names)
        self._lay_out(i)
        self._options(i, self.param_groups[i])
        self._take_over(i, self.state)
        return self._segments[i]

    def _settle(self) -> None:
        """Storages were made or shared since the last step: follow the parameters, and know whom to share with."""
        for i, segments in enumerate(self._segments):
            if any(segment.left() or segment.owned is not segment.storage.owned for segment in segments):
                self._resettled(i)
        found = [s.sharing for segments in self._segments for s in segments if s.sharing is not None]
        self._sharings = list({id(s): s for s in found}.values())
        self._changes = storage.changes

    def _follow(self) -> bool:
        """Whether those who share an update have gone their own ways, which this process has done then too."""
        for sharing in self._sharings:
            sharing.follow()
        if not self._sharings or self._changes == storage.changes:
            return False
        self._settle()
        return True

    # --- steps ------------------------------------------------------------------------------------------------------

    def _options(self, i: int, group: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`update` and :meth:`advance` ask for, for group ``i``, with the state they need in place."""
        self._digest = None
        self.check(group)  # a value set since the last step is as wrong as one given at the beginning
        values = tuple(map(group.__getitem__, self._keys))
        every = self._advances or self.sums
        options = {name: _number(group[name]) for name in self._hyper if every or name in self._reads}
        names = tuple(self.slots(group))
        divide = bool(group.get("maximize"))  # gradients are then negated block by block
        for segment in self._segments[i]:
            new = [name for name in names if name not in segment.state]
            segment.use(names, divide, self._makers(group, names) if self._made else NONE_MADE)
            if new and any(segment.begun):
                self._extend(i, segment, new)
        # a tensor or a list may change without ceasing to equal itself
        fixed = all(_is_constant(v) for v in values)
        self._cached[i] = (values, options) if fixed else None
        return options

    def _refuse_unfit(self) -> None:
        """Raise for an option out of bounds, before other processes wait for this one's update."""
        for group, cached in zip(self.param_groups, self._cached):  # noqa: B905 - of one length; strict costs time here
            try:
                if cached is not None and cached[0] == tuple(map(group.__getitem__, self._keys)):
                    continue
            except (RuntimeError, ValueError):  # arrays and tensors do not compare as wholes
                pass
            self.check(group)

    def _makers(self, group: dict[str, Any], names: Iterable[str]) -> dict[str, Start]:
        """Of the state ``names`` of a group what makes it, where that is a function: with the options that it reads."""
        found: dict[str, Start] = {}
        for name, reads in self._made.items():
            if name in names:
                found[name] = functools.partial(self._starts[name], **{k: _number(group[k]) for k in reads})
        return found

    def _step_group(self, i: int, group: dict[str, Any], later: Postponed | None = None) -> None:
        if group is not self._known[i]:
            self._regroup()
        segments = self._segments[i]
        params, laid = group["params"], self._laid[i]
        if self._straight[i]:
            # whole() looks at the group's own list, so that a parameter exchanged there is noticed
            intact = self.elementwise and len(params) == len(laid) and segments[0].whole(params)
        else:
            intact = self.elementwise and _same(params, laid)
            for segment in segments:
                intact = segment.whole(segment.params) and intact
        if not intact:
            if self.gradients == "dense":
                self._refuse_sparse(group)
            if not _same(params, laid) or any(segment.moved() for segment in segments):
                segments = self._resettled(i)
        cached = self._cached[i]
        try:
            same = cached is not None and cached[0] == tuple(map(group.__getitem__, self._keys))
        except (RuntimeError, ValueError):  # arrays and tensors do not compare as wholes
            same = False
        options = cached[1] if same else self._options(i, group)  # type: ignore[index]
        maximize = group["maximize"]
        for segment in segments:
            counted = self._shown or bool(segment.names)
            if segment.fresh and (counted or self.numbers):
                self._begin(i, segment)
            update = self.update
            if maximize:
                update = _uphill(update)
            if not segment.plain:
                if self.elementwise and not segment.on_host:
                    update = fused(update, type(self).__name__, self.scratch)
                update = _where_it_lies(update, segment)
            shared = segment.sharing is not None
            pieces: Iterable[Piece]
            if intact:
                segment.touch()
                if counted:
                    segment.count(self._shown)
                pieces = segment.whole_piece()
            else:
                pieces = segment.pieces(counted, None if later is None else later.copied)
            xp = segment.xp
            for first, end, blocks in pieces:
                now = options
                if self._advances:
                    now = self._advanced(segment, first, end, segment.step_of(first) if counted else 1, options)
                elif self._wants_step:
                    options["step"] = segment.step_of(first) if counted else 1
                if later is not None:
                    later.add(segment, update, maximize, blocks, segment.without_gaps(first, end, blocks), now)
                    continue
                for block in blocks:
                    if shared:
                        _share(update, segment.compiled and not maximize, xp, block, now)
                    else:
                        update(xp, *block, **now)

    def _find_digest(self) -> int:
        """What processes compare that share an update: equal where all parameters are updated alike, grouped as may be.

        Groups are added up, each as the product of what its parameters and its hyperparameters are as numbers.
        """
        total = zlib.crc32(type(self).__name__.encode()) + self._loaded
        for i, group in enumerate(self.param_groups):
            values = hash(tuple([_stable(_number(group[key])) for key in self._keys]))
            total += sum([segment.mark for segment in self._segments[i]]) * values
        self._digest = total % _PRIME or _PRIME
        return self._digest

    def _told(self) -> str:
        """The same for people."""
        groups = [", ".join(f"{key}={_number(group[key])}" for key in self._keys) for group in self.param_groups]
        told = "; ".join(f"{type(self).__name__}({options})" for options in dict.fromkeys(groups))
        return told + (f", with a loaded state (number {self._loaded:#x})" if self._loaded else "")

    def _refuse_sparse(self, group: dict[str, Any]) -> None:
        """RuntimeError where a gradient of ``group`` is sparse, before anything is updated."""
        if any(p._grad is not None and p._grad.is_sparse for p in group["params"]):
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients, please consider SparseAdam instead"
            )

    def _advanced(self, segment: Segment, first: int, end: int, step: int, options: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`update` asks for where there is :meth:`advance`, for a piece of a segment; keeps the numbers."""
        given = {**options, "step": step, **{name: float(row[first]) for name, row in segment.numbers.items()}}
        new = self.advance(**{name: given[name] for name in self._advance_reads})  # type: ignore[misc]
        for name, row in segment.numbers.items():
            if name in new:
                row[first:end] = new[name]
                new[name] = float(row[first])
        given.update(new)
        return given if self.sums else {name: given[name] for name in self._reads}

    # --- state ------------------------------------------------------------------------------------------------------

    def _start_values(self, i: int) -> dict[str, Any]:
        group = self.param_groups[i]
        starts = {name: _number(group[v]) if isinstance(v, str) else v for name, v in self._starts.items()}
        return starts | self._makers(group, starts) if self._made else starts

    def _begin(self, i: int, segment: Segment, everyone: bool = False) -> None:
        """State for the parameters that have none yet and now a gradient."""
        which = [k for k, p in enumerate(segment.params) if not segment.begun[k] and (everyone or p._grad is not None)]
        if which:
            for k in which:
                if self._states.get(segment.params[k]):  # of another shape, or it would have been taken over
                    self._take_over(i, self._states)
            state_views.begin(segment, which, self._start_values(i))
            for k in which:
                state_views.show(self._states, segment, k, self.counter)

    def _extend(self, i: int, segment: Segment, names: list[str]) -> None:
        """Arrays that options newly ask for: from what users see, if it is there, else new."""
        starts = self._start_values(i)
        segment.sync()
        for k, p in enumerate(segment.params):
            if segment.begun[k]:
                entry = self._states.get(p, {})
                left = state_views.extend(segment, k, names, entry, starts)
                state_views.show(self._states, segment, k, self.counter, left)
                if not self._shown:  # then step tells whether they are new
                    segment.steps[k] = any(entry.get(name) is not None for name in names)
        segment.reread()

    def _take_over(self, i: int, entries: Mapping[Any, Any], loading: bool = False) -> None:
        """Make what ``entries`` says of the parameters of group ``i`` its segments' state."""
        starts = self._start_values(i)
        for segment in self._segments[i]:
            segment.sync()
            for k, p in enumerate(segment.params):
                entry = entries.get(p)
                if not entry:
                    segment.forget(k)
                    continue
                try:
                    left = state_views.take_over(segment, k, entry, starts, self.counter)
                except ValueError as error:
                    if loading:
                        raise
                    if p._grad is not None:
                        raise RuntimeError(str(error)) from None
                    segment.forget(k)  # as in PyTorch, nobody looks at it until there is a gradient
                    continue
                state_views.show(self._states, segment, k, self.counter, left)
            segment.reread()

    def _take_over_all(self, loading: bool = False, in_step: bool = False) -> None:
        """Take over ``self.state``, which somebody changed or replaced.

        Users may hold what they were shown, in entries that they have moved or in a state dict: it is read before, and
        not written to.
        """
        self._adopt(self.state)
        if self._by_engine():
            entries: dict[Any, Any] = dict(self.state)
            if any(s.sharing is not None for segments in self._segments for s in segments):
                # there memory is not made anew, so what is in it is put aside
                entries = self._taken_over = {p: detached(entry) for p, entry in entries.items()}
            for i, group in enumerate(self.param_groups):
                segments = self._segments[i]
                if not any(s.sharing is not None for s in segments) or any(s.moved() for s in segments):
                    self._lay_out(i)
                self._options(i, group)
                self._take_over(i, entries, loading)
                for segment in () if in_step else self._segments[i]:  # behind a step what users hold is read anew
                    segment.asked.clear()
        self._states.touched = False

    def _new_states(self, given: Mapping[Any, Any] | None = None) -> States:
        found, me = States(dict, given or {}), weakref.ref(self)

        def follow() -> bool:
            optimizer = me()
            return optimizer is not None and optimizer._follow()

        found.follow = follow
        return found

    def _adopt(self, given: Mapping[Any, Any]) -> None:
        if given is not self._states:
            self._states = self.state = self._new_states(given)
            self._states.touched = True
